"""What one pass over a trajectory keeps: the ligand in the pocket's place, clashes, contacts, frames to show."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import mdtraj
import numpy as np

from openmm_neuralmd.analysis.contacts import find_contacts, find_hydrogen_bonds, list_hydrogen_bond_candidates
from openmm_neuralmd.analysis.imaging import JumpGuard, Molecules, find_molecules, make_whole
from openmm_neuralmd.analysis.ligand import build_ligand, match_ligands
from openmm_neuralmd.analysis.site import SUPERPOSITIONS, BindingSite, list_residues, map_residues
from openmm_neuralmd.analysis.validity import count_clashes
from openmm_neuralmd.errors import InputError, TopologyMismatchError
from openmm_neuralmd.io.trajectories import TrajectoryFile
from openmm_neuralmd.molecule.residues import is_ligand_like, is_solvent

RESERVED_LABELS = ("frozen", "mean")  # of the series that reports and summaries add themselves
MAX_VIEW_FRAMES = 100
MAX_KEPT_FRAMES = 40
_MAX_KEPT_ON_THE_WAY = 8 * MAX_KEPT_FRAMES
MAX_START_DISTANCE_NM = 2.0
"""From the ligand to the nearest CA of the pocket, in a first frame without a box."""


@dataclass(frozen=True)
class KeptFrames:
    """Some frames with more atoms than the ligand's, in the binding site's place.

    Attributes:
        frames: Place of each in its trajectory, (n_kept,).
        positions: Of the atoms that were asked for [nm], float32, (n_kept, n_atoms, 3).
    """

    frames: np.ndarray
    positions: np.ndarray


@dataclass(frozen=True)
class Energies:
    """Of the snapshots of one trajectory, (n_snapshots,) each.

    Attributes:
        frames: Place of each snapshot in its trajectory.
        coulomb, lennard_jones: Parts of the interaction energy [kJ/mol]; None without side chains.
        shift: How far minimisation in the complex moved the ligand's heavy atoms [nm, rms]; None as above.
        strain: Of the ligand's conformation [kJ/mol], above the lowest that was found in any trajectory.
    """

    frames: np.ndarray
    coulomb: np.ndarray | None
    lennard_jones: np.ndarray | None
    shift: np.ndarray | None
    strain: np.ndarray

    @property
    def interaction(self) -> np.ndarray | None:
        if self.coulomb is None or self.lennard_jones is None:
            return None
        return self.coulomb + self.lennard_jones


@dataclass(frozen=True)
class Observation:
    """A trajectory of a ligand, in the binding site's place.

    Attributes:
        label: What tables and figures call it.
        source: Where it came from.
        interval: Between frames [ps].
        positions: Ligand heavy atoms in the site's atom order [nm], float32, (n_frames, n_atoms, 3).
        clashes: Number of clashes with this trajectory's own protein, (n_counted,); None where there is no protein.
        contacts, hydrogen_bonds: bool, (n_frames, n_pocket), columns as ``BindingSite.pocket``; None as above.
        view: At most ``MAX_VIEW_FRAMES`` frames of ligand and pocket, with their times; None as above.
        kept: Frames with the atoms that were asked for; None if none were.
        energies: Of the kept frames; None without a force field.
        superposed_on: CA atoms that the frames were laid on, in words.
        notes: What a reader must know, such as a damaged tail.
        starts_at_zero: Whether the first frame is the start, at time 0; else it is one interval after it.
    """

    label: str
    source: str
    interval: float
    positions: np.ndarray
    clashes: np.ndarray | None = None
    contacts: np.ndarray | None = None
    hydrogen_bonds: np.ndarray | None = None
    view: mdtraj.Trajectory | None = None
    kept: KeptFrames | None = None
    energies: Energies | None = None
    superposed_on: str = ""
    notes: tuple[str, ...] = ()
    starts_at_zero: bool = False

    @property
    def n_frames(self) -> int:
        return len(self.positions)

    @property
    def n_intervals(self) -> int:
        """Frames after the start."""
        return self.n_frames - self.starts_at_zero

    @property
    def length(self) -> float:
        """Time from the start to the last frame [ps]."""
        return self.interval * self.n_intervals

    @property
    def times(self) -> np.ndarray:
        """Time of each frame since the start [ps]."""
        return self.interval * (np.arange(self.n_frames) + (not self.starts_at_zero))

    def cut(self, start: int, stop: int) -> "Observation":
        """The frames from ``start`` to before ``stop``; kept frames and energies stay those of the whole."""
        part = slice(start, stop)
        return replace(
            self,
            positions=self.positions[part],
            contacts=None if self.contacts is None else self.contacts[part],
            hydrogen_bonds=None if self.hydrogen_bonds is None else self.hydrogen_bonds[part],
        )

    def resample(self, stride: int) -> "Observation":
        """The frames at multiples of the new interval, ``stride`` times the old one, the start not among them."""
        kept = slice(stride if self.starts_at_zero else stride - 1, None, stride)
        return replace(
            self,
            interval=self.interval * stride,
            starts_at_zero=False,
            positions=self.positions[kept],
            contacts=None if self.contacts is None else self.contacts[kept],
            hydrogen_bonds=None if self.hydrogen_bonds is None else self.hydrogen_bonds[kept],
        )


def observe(
    file: TrajectoryFile,
    site: BindingSite,
    *,
    superpose_on: str = "pocket",
    keep: np.ndarray | None = None,
    max_kept: int = MAX_KEPT_FRAMES,
) -> Observation:
    """Read a trajectory once, in chunks, superposing each frame on CA atoms of the site's protein.

    Args:
        file: The trajectory.
        site: Where it is brought.
        superpose_on: CA atoms of the "pocket", or of "all" residues that both have.
        keep: Atoms of which some frames are wanted whole, indices in the file's topology, no solvent among them.
        max_kept: How many frames, evenly spread; all of a shorter trajectory.

    Raises:
        InputError: If molecules are broken across the box and there is no box to mend them, no frame is left, or
            ``superpose_on`` is neither.
        TopologyMismatchError: If the ligand or the protein is another one.
    """
    notes: list[str] = []
    selection = _Selection.build(file, site, notes, superpose_on)
    parts: list[_Part] = []
    view, kept = _Spread(MAX_VIEW_FRAMES), _Spread(max(_MAX_KEPT_ON_THE_WAY, max_kept))
    wanted = None if keep is None else np.searchsorted(selection.atoms, keep)
    order = None
    guard = JumpGuard(file.path.name, file.interval)
    for chunk in file.iterate(selection.atoms, notes):
        make_whole(chunk, selection.molecules, selection.pocket_ca, file.path.name)
        if not (file.is_placed and superpose_on == "all"):
            _superpose(chunk, selection.ca, site.ca[selection.ca_places])
        if order is None:
            order = selection.choose_order(chunk.xyz[0], site.pose)
            _require_ligand_near(chunk, order, selection.pocket_ca, file.path.name)
        if chunk.unitcell_vectors is None and not file.info:  # in our own runs whatever moves is the model's doing
            guard.check(chunk.xyz[:, order])
        parts.append(_measure(chunk, selection, order, len(site.pocket)))
        for k in view.choose(len(chunk)):
            view.add(chunk.xyz[k, selection.view_atoms])
        if wanted is not None:
            for k in kept.choose(len(chunk)):
                kept.add(chunk.xyz[k, wanted])
    if not parts:
        raise InputError(f"{file.path}: no frame could be read")
    return Observation(
        label=file.label,
        source=str(file.path),
        interval=file.interval,
        starts_at_zero=file.starts_at_zero,
        positions=np.concatenate([p.positions for p in parts]),
        clashes=np.concatenate([p.clashes for p in parts]) if selection.has_side_chains else None,
        contacts=np.concatenate([p.contacts for p in parts]) if selection.has_side_chains else None,
        hydrogen_bonds=np.concatenate([p.hydrogen_bonds for p in parts]) if selection.has_hydrogens else None,
        view=_join_view(view, selection.topology.subset(selection.view_atoms), file),
        kept=None if wanted is None else _join_kept(kept, max_kept),
        superposed_on=f"{len(selection.ca)} CA atoms of the pocket" if superpose_on == "pocket" else "all CA atoms",
        notes=tuple(notes),
    )


def observe_start(
    file: TrajectoryFile, site: BindingSite, n_frames: int, *, keep: np.ndarray | None = None
) -> Observation:
    """The structure of a topology file, never moving: what a frozen ligand would score.

    Args:
        file: Its positions are the start.
        site: The binding site.
        n_frames: As many as the trajectory that it stands beside.
        keep: As in ``observe``; one frame is kept.
    """
    selection = _Selection.build(file, site, [], "all")
    start = mdtraj.Trajectory(file.positions[None, selection.atoms].astype(np.float32), selection.topology)
    _superpose(start, selection.ca, site.ca[selection.ca_places])
    part = _measure(start, selection, selection.choose_order(start.xyz[0], site.pose), len(site.pocket))
    return Observation(
        label="frozen",
        source="the starting pose, never moving",
        interval=file.interval,
        positions=np.repeat(part.positions, n_frames, axis=0),
        clashes=np.repeat(part.clashes, n_frames) if selection.has_side_chains else None,
        contacts=np.repeat(part.contacts, n_frames, axis=0) if selection.has_side_chains else None,
        hydrogen_bonds=np.repeat(part.hydrogen_bonds, n_frames, axis=0) if selection.has_hydrogens else None,
        kept=None
        if keep is None
        else KeptFrames(np.zeros(1, dtype=np.int64), start.xyz[:, np.searchsorted(selection.atoms, keep)]),
    )


@dataclass(frozen=True)
class _Selection:
    """Atoms of one topology; all indices but ``atoms`` count within ``atoms``."""

    atoms: np.ndarray
    topology: mdtraj.Topology
    matches: np.ndarray  # (n_matches, n_ligand): ligand heavy atoms in the site's order, one row per symmetry
    protein_heavy: np.ndarray
    ca: np.ndarray
    ca_places: np.ndarray  # place in site.ca of each of ``ca``
    pocket_ca: np.ndarray
    pocket_heavy: list[np.ndarray]
    view_atoms: np.ndarray
    molecules: Molecules
    candidates: np.ndarray
    columns: np.ndarray
    has_side_chains: bool
    has_hydrogens: bool

    @classmethod
    def build(cls, file: TrajectoryFile, site: BindingSite, notes: list[str], superpose_on: str) -> "_Selection":
        if superpose_on not in SUPERPOSITIONS:
            raise InputError(f"superposition on {superpose_on!r}: choose {' or '.join(SUPERPOSITIONS)}")
        full = file.topology
        residue, mapping = find_ligand(full, file.positions, file.cell, site, str(file.path))
        kept = [r for r in full.residues if r is residue or not is_solvent(r)]
        atoms = np.array(sorted(a.index for r in kept for a in r.atoms))
        topology = full.subset(atoms)
        molecules = find_molecules(topology, file.positions[atoms], file.cell)
        place = {int(old): new for new, old in enumerate(atoms)}
        ligand = {place[a.index] for a in residue.atoms}
        heavy = {a.index for a in topology.atoms if a.element is not None and a.element.atomic_number > 1}
        partners = map_residues(site, list_residues(full, residue), notes, file.path.name)
        pairs = [(k, partners[i]) for k, i in enumerate(site.pocket.tolist()) if i in partners]
        anchors = list(partners.items()) if superpose_on == "all" else [(int(site.pocket[k]), r) for k, r in pairs]
        pocket_heavy = [np.empty(0, dtype=np.int64) for _ in site.pocket]
        columns: dict[int, int] = {}
        for column, r in pairs:
            pocket_heavy[column] = np.array([place[a.index] for a in r.atoms if place[a.index] in heavy])
            columns.update({place[a.index]: column for a in r.atoms})
        candidates, candidate_columns = list_hydrogen_bond_candidates(topology, molecules.bonds, ligand, columns)
        has_hydrogens = all(
            any(
                a.element is not None and a.element.symbol == "H" for a in topology.atoms if (a.index in ligand) is side
            )
            for side in (True, False)
        )
        has_side_chains = any(a.name == "CB" for _, r in pairs for a in r.atoms)
        if not has_side_chains:
            notes.append(f"{file.path.name}: no side chains, so no contacts, hydrogen bonds or clashes")
        elif not has_hydrogens:
            notes.append(f"{file.path.name}: no hydrogens, so no hydrogen bonds")
        return cls(
            atoms=atoms,
            topology=topology,
            matches=np.vectorize(place.__getitem__)(mapping),
            protein_heavy=np.array(sorted(heavy - ligand), dtype=np.int64),
            ca=np.array([place[_find_ca(r)] for _, r in anchors]),
            ca_places=np.array([i for i, _ in anchors]),
            pocket_ca=np.array([place[_find_ca(r)] for _, r in pairs]),
            pocket_heavy=pocket_heavy,
            view_atoms=np.array(sorted(ligand | set(columns))),
            molecules=molecules,
            candidates=candidates,
            columns=candidate_columns,
            has_side_chains=has_side_chains,
            has_hydrogens=has_hydrogens and has_side_chains,
        )

    def choose_order(self, frame: np.ndarray, pose: np.ndarray) -> np.ndarray:
        """Of the symmetry-equivalent atom orders the one closest to the starting pose."""
        errors = ((frame[self.matches] - pose) ** 2).sum(axis=(1, 2))
        return self.matches[int(np.argmin(errors))]


@dataclass(frozen=True)
class _Part:
    positions: np.ndarray
    clashes: np.ndarray
    contacts: np.ndarray
    hydrogen_bonds: np.ndarray


class _Spread:
    """Evenly spread items of a series of unknown length: every k-th, k doubling whenever there are too many."""

    def __init__(self, largest: int) -> None:
        self.items: list[tuple[int, Any]] = []
        self._largest = largest
        self._stride = 1
        self._n_seen = 0

    def choose(self, n_more: int) -> Iterator[int]:
        """Which of the next ``n_more`` items to ``add``; each must be added before the next is asked for."""
        for k in range(n_more):
            self._n_seen += 1
            if (self._n_seen - 1) % self._stride == 0:
                yield k

    def add(self, item: Any) -> None:
        self.items.append((self._n_seen - 1, item))
        while len(self.items) > self._largest:
            self._stride *= 2
            self.items = [i for i in self.items if i[0] % self._stride == 0]


def _join_view(view: _Spread, topology: mdtraj.Topology, file: TrajectoryFile) -> mdtraj.Trajectory:
    times = file.interval * (np.array([k for k, _ in view.items]) + (not file.starts_at_zero))
    return mdtraj.Trajectory(np.stack([xyz for _, xyz in view.items]), topology, times)


def _join_kept(kept: _Spread, largest: int) -> KeptFrames:
    chosen = np.unique(np.linspace(0, len(kept.items) - 1, min(len(kept.items), largest)).round().astype(int))
    items = [kept.items[k] for k in chosen]
    return KeptFrames(np.array([k for k, _ in items]), np.stack([xyz for _, xyz in items]))


def find_ligand(
    topology: mdtraj.Topology, positions: np.ndarray, cell: np.ndarray | None, site: BindingSite, source: str
) -> tuple[mdtraj.core.topology.Residue, np.ndarray]:
    """The residue that is the site's ligand, by chemistry, and its atoms in the site's order.

    Args:
        topology, positions, cell: Of the structure; positions in nm, (n_atoms, 3).
        site: Its ligand is looked for.
        source: Name of the structure, for messages.

    Returns:
        The residue, and indices of its heavy atoms, int64, (n_orders, n_atoms), one row for each symmetry.

    Raises:
        TopologyMismatchError: If it is not there.
    """
    mismatch: TopologyMismatchError | None = None
    candidates = [r for r in topology.residues if r.name == site.ligand.name or is_ligand_like(r)]
    for residue in sorted(candidates, key=lambda r: r.name != site.ligand.name):
        found = build_ligand(topology, residue, positions, cell)
        try:
            matches = match_ligands(site.ligand, found)
        except TopologyMismatchError as error:
            mismatch = mismatch or error
            continue
        heavy = np.array([a.index for a in residue.atoms if a.element is not None and a.element.atomic_number > 1])
        return residue, heavy[matches]
    if mismatch is not None:
        raise TopologyMismatchError(f"{source}: {mismatch}")
    raise TopologyMismatchError(f"{source}: no residue in its topology could be the ligand {site.ligand.name}")


def _find_ca(residue: mdtraj.core.topology.Residue) -> int:
    return next(a.index for a in residue.atoms if a.name == "CA")


def _require_ligand_near(chunk: mdtraj.Trajectory, ligand: np.ndarray, pocket: np.ndarray, source: str) -> None:
    """Without a box nothing can bring a ligand back that the first frame has in another periodic image."""
    vectors = chunk.xyz[0, ligand][:, None] - chunk.xyz[0, pocket][None]
    distance = float(np.linalg.norm(vectors, axis=-1).min())
    if chunk.unitcell_vectors is None and distance > MAX_START_DISTANCE_NM:
        raise InputError(
            f"{source}: the ligand starts {distance:.1f} nm from its pocket, and the file holds no box: it may be in "
            "another periodic image; write the trajectory with its box, or bring the ligand back (gmx trjconv -pbc mol)"
        )


def _superpose(chunk: mdtraj.Trajectory, atoms: np.ndarray, target: np.ndarray) -> None:
    reference = mdtraj.Trajectory(np.zeros((1, chunk.n_atoms, 3), dtype=np.float32), chunk.topology)
    reference.xyz[0, atoms] = target
    chunk.superpose(reference, atom_indices=atoms)


def _measure(chunk: mdtraj.Trajectory, selection: _Selection, order: np.ndarray, n_pocket: int) -> _Part:
    elements = np.array([a.element.atomic_number if a.element else 0 for a in chunk.topology.atoms])
    ligand = chunk.xyz[:, order]
    protein = selection.protein_heavy
    return _Part(
        positions=ligand.copy(),
        clashes=count_clashes(
            ligand, chunk.xyz[:, protein], ligand_elements=elements[order], protein_elements=elements[protein]
        ),
        contacts=find_contacts(ligand, [chunk.xyz[:, atoms] for atoms in selection.pocket_heavy]),
        hydrogen_bonds=find_hydrogen_bonds(chunk, selection.candidates, selection.columns, n_pocket),
    )
