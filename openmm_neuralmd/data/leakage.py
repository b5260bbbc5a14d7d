"""What a split by complexes lets through: held-out complexes whose protein or ligand the training part knows."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
from rdkit import Chem, rdBase

from openmm_neuralmd.models.applicability import (
    compute_word_overlaps,
    get_sequence,
    index_words,
)
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.molecule.matching import MIN_IDENTITY, compute_sequence_identity

# of words of three letters; three tenths of the residues changed one by one leave 0.34, chance gives 0.05
_MIN_OVERLAP = 0.15
_PLAIN_STEMS = frozenset(
    "complex system topology top topol structure start solvated protein "
    "md npt nvt em conf confout prod prepared ready run out".split()
)
"""Names of files and folders that say nothing of what is in them; the folder above is named then."""


@dataclass(frozen=True)
class Leak:
    """A held-out complex and the training complexes that give away its protein, its ligand's scaffold, or both."""

    name: str
    same_protein: tuple[str, ...]
    same_scaffold: tuple[str, ...]

    def __str__(self) -> str:
        parts = [
            f"{what} as {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
            for what, names in (("same protein", self.same_protein), ("same scaffold", self.same_scaffold))
            if names
        ]
        return f"{self.name}: {'; '.join(parts)}"


class Identity(NamedTuple):
    """What two complexes are compared by."""

    sequence: str
    scaffold: str


def name_complexes(complexes: Sequence[Complex]) -> list[str]:
    """A short name for each, no two alike: PDB identifier, file or folder, then the ligand, a number at last."""
    paths = [_find_path(c.source) for c in complexes]
    ways: list[Callable[[int], str]] = [
        lambda k: next((part for part in reversed(paths[k].parts) if _tells(part)), paths[k].name),
        lambda k: "/".join(paths[k].parts[-2:]),
        lambda k: f"{names[k]} {complexes[k].ligand.name}",
    ]
    names = [ways[0](k) for k in range(len(complexes))]
    for way in ways[1:]:
        counts = Counter(names)
        changed = [way(k) if counts[name] > 1 else name for k, name in enumerate(names)]
        if way is ways[1] and len(set(changed)) == len(set(names)):
            continue  # the same file in each case: its folder tells nothing
        names = changed
    seen: Counter[str] = Counter()
    for k, name in enumerate(names):
        seen[name] += 1
        names[k] = f"{name} ({seen[name]})" if seen[name] > 1 else name
    return names


def _find_path(source: str) -> PurePath:
    """Of what a complex was read from, without suffix; of a prepared one, what it was prepared from."""
    prepared = re.search(r"\(prepared from (.*)\)$", source)
    path = PurePath(prepared[1] if prepared else source.removeprefix("bundled "))
    return path.with_suffix("") if path.suffix else path


def _tells(part: str) -> bool:
    return part.lower() not in _PLAIN_STEMS and part.strip("./\\") != ""


def identify(complex_: Complex) -> Identity:
    """Sequence and scaffold of a complex."""
    return Identity(get_sequence(complex_), compute_scaffold(complex_.ligand.bonds))


def read_identities(metadata: Mapping[str, Any]) -> dict[str, Identity]:
    """Those of a model's training complexes, by name, from its metadata."""
    identities = {}
    for k, known in enumerate(metadata.get("training", {}).get("complexes", [])):
        with rdBase.BlockLogs():
            molecule = Chem.MolFromSmiles(known["ligand_smiles"], sanitize=False)
        bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds()]
        scaffold = compute_scaffold(np.array(bonds, dtype=np.int64).reshape(-1, 2))
        identities[known.get("name", known.get("source", f"training complex {k + 1}"))] = Identity(
            known["sequence"], scaffold
        )
    return identities


def find_split_leaks(training: Sequence[Complex], held_out: Sequence[Complex]) -> list[Leak]:
    """``find_leaks`` of complexes under the names that ``name_complexes`` gives to all of them together."""
    complexes = [*training, *held_out]
    named = list(zip(name_complexes(complexes), complexes, strict=True))
    return find_leaks(dict(named[: len(training)]), dict(named[len(training) :]))


def find_leaks(training: Mapping[str, Complex | Identity], held_out: Mapping[str, Complex]) -> list[Leak]:
    """The held-out complexes that are not new; an empty list means a clean split.

    Args:
        training, held_out: Complexes by name.
    """
    known = {name: c if isinstance(c, Identity) else identify(c) for name, c in training.items()}
    names_by_sequence: dict[str, list[str]] = {}
    for name, other in known.items():
        names_by_sequence.setdefault(other.sequence, []).append(name)
    sequences = list(names_by_sequence)
    words = index_words(sequences) if sequences else None
    leaks = []
    for name, complex_ in held_out.items():
        own = identify(complex_)
        overlaps = np.zeros(0) if words is None else compute_word_overlaps(own.sequence, words)
        possible = np.flatnonzero(overlaps >= _MIN_OVERLAP)
        similar = [sequences[k] for k in possible if _are_similar(sequences[k], own.sequence)]
        leak = Leak(
            name,
            tuple(n for sequence in similar for n in names_by_sequence[sequence]),
            tuple(n for n, other in known.items() if own.scaffold and other.scaffold == own.scaffold),
        )
        if leak.same_protein or leak.same_scaffold:
            leaks.append(leak)
    return leaks


def compute_scaffold(bonds: np.ndarray) -> str:
    """Rings and the chains between them as a graph without elements and bond orders; empty without rings.

    Args:
        bonds: Atom pairs, int64, (n_bonds, 2).

    Source: molecular frameworks of Bemis and Murcko (1996), doi:10.1021/jm9602928.
    """
    while True:
        degree = np.bincount(bonds.ravel())
        inner = (degree[bonds] > 1).all(axis=1)
        if inner.all():
            break
        bonds = bonds[inner]
    molecule = Chem.RWMol()
    index = {int(k): molecule.AddAtom(Chem.Atom(0)) for k in np.unique(bonds)}
    for a, b in bonds.tolist():
        molecule.AddBond(index[a], index[b], Chem.BondType.SINGLE)
    return str(Chem.MolToSmiles(molecule))


def _are_similar(first: str, second: str) -> bool:
    """Same protein; lengths decide first, since the identity is over the shorter sequence."""
    if min(len(first), len(second)) < MIN_IDENTITY / 2 * max(len(first), len(second)):
        return False
    return first == second or compute_sequence_identity(first, second) >= MIN_IDENTITY
