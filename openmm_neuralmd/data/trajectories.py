"""Trajectories of a complex, from any MD engine that mdtraj reads, as ligand snapshots in the rigid protein's place."""

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path

import mdtraj
import numpy as np

from openmm_neuralmd.complex import Complex
from openmm_neuralmd.errors import InputError, TopologyMismatchError

_AKMA_TIME_PS = 0.04888821  # CHARMM's time unit, which DCD headers use
_LONGEST_BOND_NM = 0.3  # C-I is 0.21; a longer one means a molecule cut by the periodic box


@dataclass(frozen=True)
class LigandTrajectory:
    """Snapshots of the ligand's heavy atoms, superposed on the CA atoms of the complex's rigid protein.

    Attributes:
        snapshots: [nm], (n_frames, n_atoms, 3).
        frame_interval: [ps].
        source: File name.
        sha256: Of the file.
    """

    snapshots: np.ndarray
    frame_interval: float
    source: str
    sha256: str


def load_ligand_trajectory(
    path: str | Path, top: str | Path, complex_: Complex, *, frame_interval: float | None = None
) -> LigandTrajectory:
    """Read a trajectory and superpose it on the rigid protein of ``complex_``.

    Args:
        path: Trajectory file (DCD, XTC, TRR, NetCDF, HDF5); molecules whole.
        top: Topology file with the trajectory's atoms (PDB, GRO, prmtop).
        complex_: Its ligand (by name, elements and order) and CA atoms must be in ``top``.
        frame_interval: [ps]; needed where the file does not carry it.

    Raises:
        InputError: If a file cannot be read, the interval is unknown, or the ligand is broken across the box.
        TopologyMismatchError: If ligand or protein differ from those of ``complex_``.
    """
    path, top = Path(path), Path(top)
    for file in (path, top):
        if not file.is_file():
            raise InputError(f"{file}: no such file")
    try:
        trajectory = mdtraj.load(str(path), top=str(top))
    except Exception as error:  # mdtraj raises whatever its readers do
        raise InputError(f"{path} with {top}: mdtraj cannot read them together: {error}") from error
    if not np.isfinite(trajectory.xyz).all():
        frame = int(np.argmin(np.isfinite(trajectory.xyz).all(axis=(1, 2))))
        raise InputError(f"{path}: frame {frame} holds NaN or infinity; remove the broken frames")
    ligand = _match_ligand(trajectory.topology, complex_, top)
    ca = _match_ca(trajectory.topology, complex_, top)
    interval = frame_interval or _read_interval(path, trajectory)
    reference = mdtraj.Trajectory(
        complex_.positions[None].astype(np.float32), mdtraj.Topology.from_openmm(complex_.topology)
    )
    trajectory.superpose(reference, atom_indices=ca, ref_atom_indices=complex_.protein.ca_indices)
    snapshots = trajectory.xyz[:, ligand].astype(np.float64)
    bonds = complex_.ligand.bonds
    longest = np.linalg.norm(snapshots[:, bonds[:, 0]] - snapshots[:, bonds[:, 1]], axis=-1).max(axis=1)
    if longest.max() > _LONGEST_BOND_NM:
        frame = int(longest.argmax())
        raise InputError(
            f"{path}: frame {frame} has a ligand bond of {longest[frame]:.2f} nm: make the molecules whole first "
            "(mdtraj image_molecules, gmx trjconv -pbc whole)"
        )
    return LigandTrajectory(snapshots, interval, path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def _match_ligand(topology: mdtraj.Topology, complex_: Complex, top: Path) -> np.ndarray:
    ligand = complex_.ligand
    residues = [r for r in topology.residues if r.name == ligand.name]
    if len(residues) != 1:
        raise TopologyMismatchError(f"{top}: ligand {ligand.name} found {len(residues)} times, expected once")
    heavy = [a for a in residues[0].atoms if a.element.atomic_number > 1]
    if [a.element.atomic_number for a in heavy] != ligand.atomic_numbers.tolist():
        raise TopologyMismatchError(
            f"{top}: the {len(heavy)} heavy atoms of {ligand.name} differ in element or order from the complex's "
            f"{ligand.n_atoms}; use the topology and complex of one preparation"
        )
    return np.array([a.index for a in heavy])


def _match_ca(topology: mdtraj.Topology, complex_: Complex, top: Path) -> np.ndarray:
    backbones = [{a.name: a.index for a in r.atoms} for r in topology.residues]
    ca = np.array([names["CA"] for names in backbones if {"N", "CA", "C"} <= names.keys()])
    if len(ca) != complex_.protein.n_residues:
        raise TopologyMismatchError(
            f"{top}: {len(ca)} residues with N, CA and C, the complex has {complex_.protein.n_residues}; "
            "use the topology and complex of one preparation"
        )
    return ca


def _read_interval(path: Path, trajectory: mdtraj.Trajectory) -> float:
    """Frame interval [ps] from the file itself; mdtraj gives frame numbers for DCD, so its header is read here."""
    interval = 0.0
    if path.suffix.lower() == ".dcd":
        with path.open("rb") as file:
            header = file.read(48)
        stride, delta = struct.unpack("<i", header[16:20])[0], struct.unpack("<f", header[44:48])[0]
        interval = round(stride * delta * _AKMA_TIME_PS, 4)
    elif len(trajectory.time) > 1:
        interval = float(trajectory.time[1] - trajectory.time[0])
    if not 0.0 < interval < 1e6:
        raise InputError(f"{path}: its frame interval is unknown; give it in ps (--interval)")
    return interval
