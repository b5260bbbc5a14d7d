"""Trajectories of a complex, from OpenMM, GROMACS or Amber, as ligand snapshots in the rigid protein's place."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from openmm_neuralmd.checks import a_number, check_arguments, check_path, optional
from openmm_neuralmd.errors import InputError, TopologyMismatchError
from openmm_neuralmd.files import compute_sha256
from openmm_neuralmd.io.kept import FrameKeeper, KeptFrames
from openmm_neuralmd.io.placement import PlacedFrames
from openmm_neuralmd.io.trajectories import TrajectoryFile, open_trajectory
from openmm_neuralmd.molecule.complex import A_COMPLEX, Complex
from openmm_neuralmd.molecule.ligand import Ligand

_LONGEST_BOND_NM = 0.3  # C-I is 0.21
_BOND_TOLERANCE_NM = 0.06  # of a mean over frames; the second neighbour of an atom is 0.1 nm farther than the first


@dataclass(frozen=True)
class LigandTrajectory:
    """Snapshots of the ligand's heavy atoms, superposed on CA atoms of the complex's rigid protein.

    Attributes:
        snapshots: [nm], (n_frames, n_atoms, 3), atoms in the complex's order.
        frame_interval: [ps].
        source: File name.
        sha256: Of the file.
        superposed_on: "all" or "pocket" CA atoms, and how many.
        notes: What a reader must know, such as a damaged tail that was left out.
        kept: Some frames with the atoms that were asked for; None if none were.
    """

    snapshots: np.ndarray
    frame_interval: float
    source: str
    sha256: str
    superposed_on: str = "all"
    notes: tuple[str, ...] = ()
    kept: KeptFrames | None = field(default=None, repr=False, compare=False)


ReadTrajectory = Callable[..., LigandTrajectory]
"""What takes the arguments of ``load_ligand_trajectory``."""


@check_arguments(
    path=check_path, top=optional(check_path), complex_=A_COMPLEX, frame_interval=optional(a_number(above=0.0))
)
def load_ligand_trajectory(
    path: str | Path,
    top: str | Path | None,
    complex_: Complex,
    *,
    frame_interval: float | None = None,
    superpose_on: str = "pocket",
) -> LigandTrajectory:
    """Read a trajectory and superpose it on the rigid protein of ``complex_``.

    Args:
        path: DCD, XTC, TRR, NetCDF or HDF5.
        top: Its topology: PDB, mmCIF, GRO, prmtop or TPR; None for HDF5, which holds its own.
        complex_: Its ligand (by its graph) and residues (by number or sequence) must be in ``top``.
        frame_interval: [ps]; needed where the file does not carry it, checked where it does.
        superpose_on: CA atoms of the "pocket" (see ``BindingSite``) or of "all" residues.

    Raises:
        InputError: If a file cannot be read, the interval is unknown, uneven or contradicted, or molecules are broken
            and the file has no box to mend them.
        TopologyMismatchError: If ligand or protein differ from those of ``complex_``, or atoms are ordered otherwise
            than in the topology.
    """
    complex_.site.choose_anchors(superpose_on)
    return extract_snapshots(open_trajectory(path, top, interval=frame_interval), complex_, superpose_on=superpose_on)


def extract_snapshots(
    file: TrajectoryFile,
    complex_: Complex,
    *,
    superpose_on: str = "pocket",
    keep: np.ndarray | None = None,
    max_kept: int = 0,
) -> LigandTrajectory:
    """Ligand snapshots of an open trajectory, in one pass; as in ``load_ligand_trajectory``.

    Args:
        file: The trajectory.
        complex_: The rigid protein and the ligand.
        superpose_on: CA atoms of the "pocket" or of "all" residues.
        keep: Atoms of which some frames are wanted besides, indices in the file's topology.
        max_kept: How many frames, evenly spread.
    """
    frames = PlacedFrames(file, complex_.site, superpose_on=superpose_on, whole_protein=keep is not None)
    check = BondCheck(complex_.ligand, file.path.name)
    keeper = None if keep is None else FrameKeeper(frames.selection.locate(keep), max_kept)
    parts = []
    for chunk in frames:
        snapshots = chunk[:, frames.order]
        check.look(snapshots)
        parts.append(snapshots)
        if keeper is not None:
            keeper.look(chunk)
    if not parts:
        raise InputError(f"{file.path}: no frame could be read{': ' + frames.notes[0] if frames.notes else ''}")
    return LigandTrajectory(
        snapshots=np.concatenate(parts).astype(np.float64),
        frame_interval=file.interval,
        source=file.path.name,
        sha256=compute_sha256(file.path),
        superposed_on=f"{superpose_on}, {len(frames.placer.anchors)} CA atoms",
        notes=tuple(frames.notes),
        kept=None if keeper is None else keeper.finish(),
    )


class BondCheck:
    """Sees that a ligand's bonds are those of the complex: what is learned from must not be broken.

    Args:
        ligand: Its pose tells how long bonds are.
        source: Of the frames, for messages.
    """

    def __init__(self, ligand: Ligand, source: str) -> None:
        self.bonds, self.source = ligand.bonds, source
        first, second = self.bonds.T
        self.lengths = np.linalg.norm(ligand.positions[first] - ligand.positions[second], axis=-1)

    def look(self, ligand: np.ndarray) -> None:
        """At further frames [nm], (n_frames, n_atoms, 3).

        Raises:
            TopologyMismatchError: If bonds are too long or not those of the complex.
        """
        lengths = np.linalg.norm(ligand[:, self.bonds[:, 0]] - ligand[:, self.bonds[:, 1]], axis=-1)
        if lengths.max() > _LONGEST_BOND_NM:
            raise TopologyMismatchError(
                f"{self.source}: a ligand bond {lengths.max():.2f} nm long in a frame: the atoms are ordered otherwise "
                "than in the topology, or the simulation broke"
            )
        means = lengths.mean(axis=0)
        worst = int(np.abs(means - self.lengths).argmax())
        if abs(means[worst] - self.lengths[worst]) > _BOND_TOLERANCE_NM:
            raise TopologyMismatchError(
                f"{self.source}: a ligand bond is {means[worst]:.2f} nm long on average, {self.lengths[worst]:.2f} nm "
                "in the complex: the ligand's atoms are ordered otherwise than in the topology; use topology and "
                "trajectory of one run"
            )
