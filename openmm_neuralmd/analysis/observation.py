"""What one pass over a trajectory keeps: the ligand in the pocket's place, clashes, contacts, frames to show."""

from dataclasses import dataclass, replace

import mdtraj
import numpy as np

from openmm_neuralmd.analysis.contacts import find_contacts, find_hydrogen_bonds, list_hydrogen_bond_candidates
from openmm_neuralmd.analysis.validity import count_clashes
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.io.kept import MAX_KEPT_FRAMES, FrameKeeper, KeptFrames, Spread
from openmm_neuralmd.io.placement import PlacedFrames, Selection
from openmm_neuralmd.io.trajectories import TrajectoryFile
from openmm_neuralmd.molecule.matching import choose_order
from openmm_neuralmd.molecule.site import BindingSite

RESERVED_LABELS = ("frozen", "mean")  # of the series that reports and summaries add themselves
MAX_VIEW_FRAMES = 100  # of the report's 3D view: beyond a few megabytes a page is slow to open


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
    frames = PlacedFrames(file, site, superpose_on=superpose_on, whole_protein=True)
    probe = _Probe.build(frames.selection, site, frames.notes, file.path.name)
    keeper = None if keep is None else FrameKeeper(frames.selection.locate(keep), max_kept)
    parts: list[_Part] = []
    view = Spread(MAX_VIEW_FRAMES)
    for chunk in frames:
        parts.append(probe.measure(chunk, frames.order))
        for k in view.choose(len(chunk)):
            view.add(chunk[k, probe.view_atoms])
        if keeper is not None:
            keeper.look(chunk)
    if not parts:
        raise InputError(f"{file.path}: no frame could be read")
    n_fixed = len(frames.placer.anchors)
    return Observation(
        label=file.label,
        source=str(file.path),
        interval=file.interval,
        starts_at_zero=file.starts_at_zero,
        positions=np.concatenate([p.positions for p in parts]),
        clashes=np.concatenate([p.clashes for p in parts]) if probe.has_side_chains else None,
        contacts=np.concatenate([p.contacts for p in parts]) if probe.has_side_chains else None,
        hydrogen_bonds=np.concatenate([p.hydrogen_bonds for p in parts]) if probe.has_hydrogens else None,
        view=_join_view(view, frames.selection.topology.subset(probe.view_atoms), file),
        kept=None if keeper is None else keeper.finish(),
        superposed_on=f"{n_fixed} CA atoms of the pocket" if superpose_on == "pocket" else "all CA atoms",
        notes=tuple(frames.notes),
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
    frames = PlacedFrames(file, site, superpose_on="all", whole_protein=True)
    selection = frames.selection
    probe = _Probe.build(selection, site, [], file.path.name)
    start = frames.place_start()
    part = probe.measure(start, choose_order(selection.orders, start[0], site.pose))
    return Observation(
        label="frozen",
        source="the starting pose, never moving",
        interval=file.interval,
        positions=np.repeat(part.positions, n_frames, axis=0),
        clashes=np.repeat(part.clashes, n_frames) if probe.has_side_chains else None,
        contacts=np.repeat(part.contacts, n_frames, axis=0) if probe.has_side_chains else None,
        hydrogen_bonds=np.repeat(part.hydrogen_bonds, n_frames, axis=0) if probe.has_hydrogens else None,
        kept=None if keep is None else KeptFrames(np.zeros(1, dtype=np.int64), start[:, selection.locate(keep)]),
    )


@dataclass(frozen=True)
class _Part:
    positions: np.ndarray
    clashes: np.ndarray
    contacts: np.ndarray
    hydrogen_bonds: np.ndarray


@dataclass(frozen=True)
class _Probe:
    """What is measured in each frame; indices count within the kept atoms of a file."""

    topology: mdtraj.Topology
    elements: np.ndarray
    protein_heavy: np.ndarray
    pocket_heavy: list[np.ndarray]  # of each residue of the site's pocket; none where it is not there
    view_atoms: np.ndarray
    candidates: np.ndarray
    columns: np.ndarray
    has_side_chains: bool
    has_hydrogens: bool

    @classmethod
    def build(cls, selection: Selection, site: BindingSite, notes: list[str], source: str) -> "_Probe":
        topology, ligand = selection.topology, set(selection.ligand.tolist())
        elements = np.array([a.element.atomic_number if a.element else 0 for a in topology.atoms])
        pocket_heavy = [np.empty(0, dtype=np.int64) for _ in site.pocket]
        columns: dict[int, int] = {}
        names: set[str] = set()
        for column, i in enumerate(site.pocket.tolist()):
            if i in selection.partners:
                atoms = list(selection.partners[i].atoms)
                places = selection.locate(np.array([a.index for a in atoms]))
                pocket_heavy[column] = places[elements[places] > 1]
                columns.update(dict.fromkeys(places.tolist(), column))
                names.update(a.name for a in atoms)
        candidates, candidate_columns = list_hydrogen_bond_candidates(topology, selection.bonds, ligand, columns)
        is_ligand = np.zeros(len(elements), dtype=bool)
        is_ligand[selection.ligand] = True
        is_hydrogen = elements == 1
        has_hydrogens = bool((is_hydrogen & is_ligand).any() and (is_hydrogen & ~is_ligand).any())
        has_side_chains = "CB" in names
        if not has_side_chains:
            notes.append(f"{source}: no side chains, so no contacts, hydrogen bonds or clashes")
        elif not has_hydrogens:
            notes.append(f"{source}: no hydrogens, so no hydrogen bonds")
        return cls(
            topology=topology,
            elements=elements,
            protein_heavy=np.flatnonzero((elements > 1) & ~is_ligand),
            pocket_heavy=pocket_heavy,
            view_atoms=np.array(sorted(ligand | set(columns))),
            candidates=candidates,
            columns=candidate_columns,
            has_side_chains=has_side_chains,
            has_hydrogens=has_hydrogens and has_side_chains,
        )

    def measure(self, chunk: np.ndarray, order: np.ndarray) -> _Part:
        """Of placed frames [nm], (n_frames, n_kept, 3); ``order`` are the ligand's atoms in the site's order."""
        ligand, protein = chunk[:, order], self.protein_heavy
        return _Part(
            positions=ligand,
            clashes=count_clashes(
                ligand,
                chunk[:, protein],
                ligand_elements=self.elements[order],
                protein_elements=self.elements[protein],
            ),
            contacts=find_contacts(ligand, [chunk[:, atoms] for atoms in self.pocket_heavy]),
            hydrogen_bonds=find_hydrogen_bonds(
                mdtraj.Trajectory(chunk, self.topology), self.candidates, self.columns, len(self.pocket_heavy)
            ),
        )


def _join_view(view: Spread, topology: mdtraj.Topology, file: TrajectoryFile) -> mdtraj.Trajectory:
    times = file.interval * (np.array([k for k, _ in view.items]) + (not file.starts_at_zero))
    return mdtraj.Trajectory(np.stack([xyz for _, xyz in view.items]), topology, times)
