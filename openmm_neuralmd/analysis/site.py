"""The binding site: the place that every trajectory is brought to before anything is compared."""

from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher

import mdtraj
import numpy as np
from scipy.spatial import cKDTree

from openmm_neuralmd.analysis.ligand import LigandGraph, build_ligand, select_ligand
from openmm_neuralmd.errors import InputError, TopologyMismatchError
from openmm_neuralmd.molecule.residues import is_amino_acid

POCKET_CUTOFF_NM = 0.6
"""A residue with a heavy atom this close to the ligand's starting pose belongs to the pocket."""
MIN_IDENTITY = 0.7
"""Below this sequence identity two proteins are not compared."""
MIN_COMMON_RESIDUES = 4

SUPERPOSITIONS = ("pocket", "all")
"""CA atoms that frames are laid on. In the pocket's place the ligand's own motion is seen; in the whole protein's,
its domains' motion besides."""

ResidueKey = tuple[str, int]


@dataclass(frozen=True)
class BindingSite:
    """Ligand, pose and protein of the structure that everything is superposed on.

    Attributes:
        ligand: The ligand's graph.
        pose: Its heavy atoms in the starting structure [nm], (n_atoms, 3).
        sequence: One letter for each residue that has a CA.
        keys: Chain and number of each such residue.
        labels: For people, such as GLU400 (with the chain where numbers repeat).
        ca: CA positions [nm], (n_residues, 3).
        pocket: Indices of the residues around the pose, int64, (n_pocket,).
    """

    ligand: LigandGraph
    pose: np.ndarray
    sequence: str
    keys: tuple[ResidueKey, ...]
    labels: tuple[str, ...]
    ca: np.ndarray
    pocket: np.ndarray

    @property
    def pocket_labels(self) -> tuple[str, ...]:
        return tuple(self.labels[k] for k in self.pocket)


def build_site(
    topology: mdtraj.Topology, positions: np.ndarray, *, ligand: str | None = None, graph: LigandGraph | None = None
) -> BindingSite:
    """The site of a structure.

    Args:
        topology: Protein and ligand.
        positions: [nm], (n_atoms, 3); molecules whole.
        ligand: Residue name; may be None if only one residue can be the ligand.
        graph: The ligand with its bond orders and reference geometry, atoms in the topology's order; from the
            topology and pose where None.

    Raises:
        InputError: If there is no ligand or no protein around it.
        TopologyMismatchError: If ``graph`` is another molecule.
    """
    residue = select_ligand(topology, ligand)
    found = build_ligand(topology, residue, positions)
    if graph is not None and not np.array_equal(graph.atomic_numbers, found.atomic_numbers):
        raise TopologyMismatchError(f"ligand {found.name}: the elements or their order differ from those of the SDF")
    residues = list_residues(topology, residue)
    if not residues:
        raise InputError("no protein: no residue has a CA atom; give a trajectory of the complex")
    tree = cKDTree(found.geometry)
    heavy = [[a.index for a in r.atoms if a.element is not None and a.element.atomic_number > 1] for r in residues]
    near = [tree.query(positions[atoms])[0].min() < POCKET_CUTOFF_NM for atoms in heavy]
    if np.count_nonzero(near) < MIN_COMMON_RESIDUES:
        raise InputError(
            f"ligand {found.name} has {np.count_nonzero(near)} residues within {POCKET_CUTOFF_NM} nm: it is not in a "
            "pocket, or it sits in another periodic image; start from a whole complex"
        )
    return BindingSite(
        ligand=graph or found,
        pose=found.geometry,
        sequence="".join(r.code or "X" for r in residues),
        keys=tuple((str(r.chain.chain_id), r.resSeq) for r in residues),
        labels=_label_residues(residues),
        ca=positions[[_get_ca(r) for r in residues]],
        pocket=np.nonzero(near)[0],
    )


def list_residues(
    topology: mdtraj.Topology, ligand: mdtraj.core.topology.Residue
) -> list[mdtraj.core.topology.Residue]:
    """Amino acids, the ligand apart."""
    return [r for r in topology.residues if r is not ligand and is_amino_acid(r)]


def map_residues(
    site: BindingSite, residues: list[mdtraj.core.topology.Residue], notes: list[str], source: str
) -> dict[int, mdtraj.core.topology.Residue]:
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
    partners = _map_by_number(site, residues)
    if partners is None:
        partners, identity = _map_by_sequence(site, residues)
        if identity < MIN_IDENTITY:
            raise TopologyMismatchError(
                f"{source}: another protein: its sequence agrees with the first structure's in {100 * identity:.0f} % "
                f"of the shorter one; {100 * MIN_IDENTITY:.0f} % are needed to compare pockets"
            )
        notes.append(f"{source}: residues matched by sequence, identity {100 * identity:.0f} %")
    common = [i for i in site.pocket.tolist() if i in partners]
    if len(common) < MIN_COMMON_RESIDUES:
        raise TopologyMismatchError(
            f"{source}: only {len(common)} of the pocket's {len(site.pocket)} residues are there; "
            f"{MIN_COMMON_RESIDUES} are needed to superpose"
        )
    if len(common) < len(site.pocket):
        notes.append(f"{source}: {len(common)} of the pocket's {len(site.pocket)} residues are there")
    return {i: residues[k] for i, k in partners.items()}


def _map_by_number(site: BindingSite, residues: list[mdtraj.core.topology.Residue]) -> dict[int, int] | None:
    """Index of the partner of each residue; None unless nine in ten of the smaller set agree in number and type."""
    for with_chain in (True, False):
        here = [key if with_chain else key[1:] for key in site.keys]
        there = [(str(r.chain.chain_id), r.resSeq) if with_chain else (r.resSeq,) for r in residues]
        if len(set(here)) < len(here) or len(set(there)) < len(there):
            continue
        places = {key: k for k, key in enumerate(there)}
        partners = {
            i: places[key]
            for i, key in enumerate(here)
            if key in places and site.sequence[i] == (residues[places[key]].code or "X")
        }
        if len(partners) >= 0.9 * min(len(here), len(there)):
            return partners
    return None


def _map_by_sequence(site: BindingSite, residues: list[mdtraj.core.topology.Residue]) -> tuple[dict[int, int], float]:
    """Partners from the longest common blocks, point mutations between them included, and the identity.

    Ratcliff and Obershelp's matching (``difflib``), which finds the right partners in proteins that differ by
    mutations, termini and missing loops; it is no alignment of remote homologues, and none is compared.
    """
    other = "".join(r.code or "X" for r in residues)
    blocks = SequenceMatcher(None, site.sequence, other, autojunk=False).get_matching_blocks()
    partners: dict[int, int] = {}
    n_same = 0
    end = (0, 0)
    for block in blocks:
        gap = block.a - end[0]
        if gap == block.b - end[1]:  # same length on both sides: mutations
            partners.update({end[0] + k: end[1] + k for k in range(gap)})
        if block.size >= 4 or len(other) < 20:
            partners.update({block.a + k: block.b + k for k in range(block.size)})
            n_same += block.size
        end = (block.a + block.size, block.b + block.size)
    return partners, n_same / max(1, min(len(other), len(site.sequence)))


def _label_residues(residues: list[mdtraj.core.topology.Residue]) -> tuple[str, ...]:
    counts = Counter(r.resSeq for r in residues)
    return tuple(
        f"{r.name}{r.resSeq}" + (f":{r.chain.chain_id or r.chain.index}" if counts[r.resSeq] > 1 else "")
        for r in residues
    )


def _get_ca(residue: mdtraj.core.topology.Residue) -> int:
    return next(a.index for a in residue.atoms if a.name == "CA")
