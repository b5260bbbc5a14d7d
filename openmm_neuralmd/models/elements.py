"""Elements that a model was not trained on, read as their nearest relatives that it was.

An embedding that training never touched is noise. A fluorine read as chlorine is wrong too, in size above all, but its
bonds, valence and place in a molecule are alike. Only elements of one group of the periodic table stand in for another.
"""

from collections.abc import Iterable, Mapping

import gemmi

_GROUPS = ((6, 14, 32), (7, 15, 33), (8, 16, 34, 52), (9, 17, 35, 53))  # atomic numbers of groups 14 to 17


def find_stand_ins(elements: Iterable[int], known: Iterable[int]) -> dict[int, int]:
    """The known element nearest in its group, for each unknown one that has such a relative.

    Args:
        elements: Atomic numbers of a ligand.
        known: Atomic numbers that the model was trained on.
    """
    known = set(known)
    stand_ins = {}
    for number in sorted(set(elements) - known):
        relatives = [z for group in _GROUPS if number in group for z in group if z in known]
        if relatives:
            stand_ins[number] = min(relatives, key=lambda z: abs(z - number))
    return stand_ins


def format_stand_ins(stand_ins: Mapping[int, int]) -> str:
    """As in "F as Cl, Se as S"."""
    names = [(gemmi.Element(a).name, gemmi.Element(b).name) for a, b in stand_ins.items()]
    return ", ".join(f"{a} as {b}" for a, b in names)
