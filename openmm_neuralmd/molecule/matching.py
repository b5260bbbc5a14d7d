"""Which atom is which in another file: the ligand by its graph, residues by number and type or by sequence.

Names and order of atoms are never asked: GROMACS, Amber, the PDB and RDKit each have their own.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from openmm_neuralmd.errors import TopologyMismatchError
from openmm_neuralmd.molecule.bonds import perceive_bonds
from openmm_neuralmd.molecule.chemistry import match_graphs
from openmm_neuralmd.molecule.images import find_nearest_image
from openmm_neuralmd.molecule.ligand import Ligand, build_ligand, describe_formula
from openmm_neuralmd.molecule.residues import RESIDUE_LETTERS, RESIDUE_TYPES, is_ligand_like
from openmm_neuralmd.molecule.site import MIN_POCKET, BindingSite, get_ca, get_place, list_residues, read_sequence

MIN_IDENTITY = 0.7
"""Sequence identity from which two chains count as the same protein: their pockets are the same place.

Cores of proteins that are 50 % identical and more are within 0.1 nm of each other (Chothia and Lesk 1986,
doi:10.1002/j.1460-2075.1986.tb04288.x); the margin is for loops, of which pockets have many. A stricter number would
refuse mutants and orthologues whose pockets can be compared, and would let their likes pass as new in a split."""
_SAME_NUMBERING = 0.9  # of the residues of the smaller protein, for numbers to be believed
_LEAST_LIKES = 4  # residues in a row: shorter blocks match by chance in any two proteins
_SHORT_SEQUENCE = 20  # peptides, whose blocks may be shorter
_IN_POCKET = 1.5  # of the pose's mean distance from the pocket's CA atoms, about 0.9 nm; further off is elsewhere
_NAMES = dict(zip(RESIDUE_LETTERS, RESIDUE_TYPES, strict=False))


def match_ligands(wanted: Ligand, found: Ligand) -> np.ndarray:
    """All ways (at most 256) in which ``found`` is the same molecule as ``wanted``.

    Args:
        wanted: Its atom order is kept.
        found: Any atom order and names.

    Returns:
        Index in ``found`` of each atom of ``wanted``, int64, (n_matches, n_atoms); more than one row where the
        molecule is symmetric.

    Raises:
        TopologyMismatchError: If it is another molecule.
    """
    matches = match_graphs(wanted.atomic_numbers, wanted.bonds, found.atomic_numbers, found.bonds)
    if not len(matches):
        raise TopologyMismatchError(
            f"{found.name} ({describe_formula(found)}, {len(found.bonds)} bonds between heavy atoms) is another "
            f"molecule than {wanted.name} ({describe_formula(wanted)}, {len(wanted.bonds)} bonds); compare "
            "trajectories of the same ligand"
        )
    return matches


def choose_order(orders: np.ndarray, frame: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Of the orders of a symmetric ligand the one that is closest to the pose.

    Args:
        orders: Atoms of the frame in the pose's order, int64, (n_orders, n_atoms).
        frame: [nm], (n_all, 3); in the pose's place.
        pose: [nm], (n_atoms, 3).
    """
    errors = ((frame[orders] - pose) ** 2).sum(axis=(1, 2))
    return np.asarray(orders[int(np.argmin(errors))])


def find_ligand(
    topology: Any, positions: np.ndarray, cell: np.ndarray | None, site: BindingSite, source: str
) -> tuple[Any, np.ndarray]:
    """The residue that is the site's ligand, by chemistry, and its atoms in the site's order.

    Of several copies it is the one with the ligand's chain and number if that is in the site's pocket, which it need
    not be, since programs name chains and number residues anew; else the one nearest to the pocket.

    Args:
        topology, positions, cell: Of the structure; mdtraj's topology, positions in nm, (n_atoms, 3).
        site: Its ligand is looked for.
        source: Name of the structure, for messages.

    Returns:
        The residue, and indices of its heavy atoms, int64, (n_orders, n_atoms), one row for each symmetry.

    Raises:
        TopologyMismatchError: If it is not there.
    """
    mismatch: TopologyMismatchError | None = None
    matched: list[tuple[Any, np.ndarray]] = []
    wanted = sorted(site.ligand.atomic_numbers.tolist())
    candidates = [r for r in topology.residues if r.name == site.ligand.name or is_ligand_like(r)]
    for residue in sorted(candidates, key=lambda r: r.name != site.ligand.name):
        if matched and residue.name != matched[0][0].name:
            break
        numbers = (a.element.atomic_number for a in residue.atoms if a.element is not None)
        if mismatch is not None and sorted(n for n in numbers if n > 1) != wanted:
            continue  # another molecule at first sight; the first such one is told of in full
        try:
            matched.append((residue, _match_residue(topology, residue, positions, cell, site.ligand)))
        except TopologyMismatchError as error:
            mismatch = mismatch or error
    if len(matched) == 1:
        return matched[0]
    if matched:
        return _choose_copy(matched, topology, positions, cell, site, source)
    if mismatch is not None:
        raise TopologyMismatchError(f"{source}: {mismatch}")
    there = ", ".join(sorted({r.name for r in candidates})) or "no molecule but protein and solvent"
    raise TopologyMismatchError(
        f"{source}: no residue in its topology could be the ligand {site.ligand.name}; it holds {there}"
    )


def _match_residue(
    topology: Any, residue: Any, positions: np.ndarray, cell: np.ndarray | None, wanted: Ligand
) -> np.ndarray:
    """By the bonds that are recorded; where these are incomplete, by distances."""
    found = build_ligand(topology, residue, positions, cell)
    try:
        matches = match_ligands(wanted, found)
    except TopologyMismatchError:
        seen = perceive_bonds(found.atomic_numbers, found.positions, cell)
        matches = match_graphs(wanted.atomic_numbers, wanted.bonds, found.atomic_numbers, seen)
        if not len(matches):
            raise
    return np.asarray(found.atom_indices[matches])


def _choose_copy(
    matched: Sequence[tuple[Any, np.ndarray]],
    topology: Any,
    positions: np.ndarray,
    cell: np.ndarray | None,
    site: BindingSite,
    source: str,
) -> tuple[Any, np.ndarray]:
    partners = map_residues(site, list_residues(topology, matched[0][0]), [], source)
    there = [i for i in site.pocket.tolist() if i in partners] or list(partners)  # a ligand may be in no pocket
    ca = positions[[get_ca(partners[i]) for i in there]]

    def measure(pair: tuple[Any, np.ndarray]) -> float:
        vectors = ca - positions[pair[1][0]].mean(axis=0)
        return float(np.linalg.norm(vectors if cell is None else find_nearest_image(vectors, cell), axis=1).mean())

    own = float(np.linalg.norm(site.ca[there] - site.pose.mean(axis=0), axis=1).mean())
    named = [pair for pair in matched if get_place(pair[0]) == site.key and measure(pair) < _IN_POCKET * own]
    return named[0] if len(named) == 1 else min(matched, key=measure)


def map_residues(site: BindingSite, residues: Sequence[Any], notes: list[str], source: str) -> dict[int, Any]:
    """The residue of another topology that stands for each of the site's, where there is one.

    By residue number and type where these agree, else by aligning the sequences.

    Args:
        site: The site that was built from the first structure.
        residues: Of another topology, as from ``list_residues``.
        notes: Receives one line on anything but a full match.
        source: Name of the other topology, for messages.

    Raises:
        TopologyMismatchError: If the proteins are different; the message tells the sequence identity.
    """
    sequence = read_sequence(residues)
    partners = _map_by_number(site, residues, sequence)
    if partners is None:
        partners, identity = align_sequences(site.sequence, sequence)
        if identity < MIN_IDENTITY:
            raise TopologyMismatchError(
                f"{source}: another protein: its sequence agrees with the first structure's in {100 * identity:.0f} % "
                f"of the shorter one; {100 * MIN_IDENTITY:.0f} % are needed for the pocket to be the same place"
            )
        notes.append(f"{source}: residues matched by sequence, identity {100 * identity:.0f} %")
    common = [i for i in site.pocket.tolist() if i in partners]
    if len(common) < min(MIN_POCKET, len(site.pocket)):
        raise TopologyMismatchError(
            f"{source}: only {len(common)} of the pocket's {len(site.pocket)} residues are there; "
            f"{MIN_POCKET} are needed to superpose"
        )
    if len(common) < len(site.pocket):
        notes.append(f"{source}: {len(common)} of the pocket's {len(site.pocket)} residues are there")
    return {i: residues[k] for i, k in partners.items()}


def _map_by_number(site: BindingSite, residues: Sequence[Any], sequence: str) -> dict[int, int] | None:
    """Index of the partner of each residue; None unless nine in ten of the smaller set agree in number and type."""
    places = [get_place(r) for r in residues]
    for with_chain in (True, False):
        here = [key if with_chain else key[1:] for key in site.keys]
        there = [place if with_chain else place[1:] for place in places]
        if len(set(here)) < len(here) or len(set(there)) < len(there):
            continue
        index = {key: k for k, key in enumerate(there)}
        partners = {
            i: index[key] for i, key in enumerate(here) if key in index and site.sequence[i] == sequence[index[key]]
        }
        if len(partners) >= _SAME_NUMBERING * min(len(here), len(there)):
            return partners
    return None


def align_sequences(first: str, second: str) -> tuple[dict[int, int], float]:
    """Partners in the second sequence of residues of the first, mutations included, and the identity.

    The identity is that of a global alignment (BLOSUM62, gap 10 + 1 per residue) over the shorter sequence.

    Args:
        first, second: One letter for each residue.
    """
    import gemmi

    a, b = ([_NAMES.get(letter, "UNK") for letter in sequence] for sequence in (first, second))
    if not a or not b:
        return {}, 0.0
    alignment = gemmi.align_string_sequences(a, b, [], gemmi.AlignmentScoring("b"))
    partners: dict[int, int] = {}
    stretch: list[tuple[int, int]] = []
    i = j = 0
    ends = ("-", "-")
    for x, y in (*zip(alignment.add_gaps(first, 1), alignment.add_gaps(second, 2), strict=True), ends):
        if x != "-" and y != "-":
            stretch.append((i, j))
        else:
            partners.update(_trim(stretch, first, second))
            stretch = []
        i, j = i + (x != "-"), j + (y != "-")
    return partners, float(alignment.match_count / min(len(a), len(b)))


def _trim(stretch: list[tuple[int, int]], first: str, second: str) -> list[tuple[int, int]]:
    """Partners without gap from the first identical ones to the last: mutations have likes on both sides.

    A stretch with few of them, as at ends that only look alike, tells nothing, unless a sequence is hardly longer.
    """
    same = [k for k, (i, j) in enumerate(stretch) if first[i] == second[j]]
    least = _LEAST_LIKES if min(len(first), len(second)) >= _SHORT_SEQUENCE else 1
    return stretch[same[0] : same[-1] + 1] if len(same) >= least else []


def compute_sequence_identity(first: str, second: str) -> float:
    """Identical residues of two sequences, over the shorter one, as ``align_sequences`` counts them."""
    return align_sequences(first, second)[1]
