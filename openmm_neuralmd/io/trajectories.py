"""Trajectory files of any engine, read in chunks: OpenMM, GROMACS, Amber, HDF5, and our own run directories."""

import contextlib
import ctypes
import os
import struct
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
from mdtraj.formats import (
    DCDTrajectoryFile,
    LAMMPSTrajectoryFile,
    TRRTrajectoryFile,
    XTCTrajectoryFile,
    XYZTrajectoryFile,
)

from openmm_neuralmd.checks import an_instance, check_arguments, check_path, check_text, optional
from openmm_neuralmd.errors import InputError, TopologyMismatchError
from openmm_neuralmd.files import give_ascii_path, read_json
from openmm_neuralmd.folders import settle_folder
from openmm_neuralmd.io.formats import (
    HDF5_SUFFIXES,
    NETCDF_SUFFIXES,
    TIMED_SUFFIXES,
    TRAJECTORIES,
    TRAJECTORY_SUFFIXES,
    check_format,
    count_frames,
    find_dcd_order,
    find_suffix,
    is_hdf5,
    read_dcd_layout,
    read_n_atoms,
)
from openmm_neuralmd.io.hdf5_trajectories import HDF5Reader
from openmm_neuralmd.io.netcdf import open_netcdf
from openmm_neuralmd.io.topologies import describe_damage, load_topology

CHUNK_FRAMES = 50  # of 100,000 atoms take 60 megabytes
_AKMA_TIME_PS = 0.04888821  # CHARMM's unit of time, which DCD headers use
_SAME_TIME = 1e-3  # of an interval
_READERS = {  # the formats of ``TRAJECTORY_SUFFIXES`` that mdtraj may read
    ".dcd": DCDTrajectoryFile,
    ".xtc": XTCTrajectoryFile,
    ".trr": TRRTrajectoryFile,
    ".xyz": XYZTrajectoryFile,
    ".lammpstrj": LAMMPSTrajectoryFile,
}
_RUN_TRAJECTORIES = ("trajectory.dcd", "trajectory.xtc", "trajectory.nc", "trajectory.h5")


@dataclass(frozen=True)
class TrajectoryFile:
    """A trajectory and its topology on disk; no frame is held in memory.

    Attributes:
        path: The trajectory.
        topology: mdtraj topology of its atoms.
        positions: Of the topology file [nm], (n_atoms, 3), or of the first frame where it has none.
        cell: Box vectors of the first frame [nm], (3, 3), or None.
        interval: Between frames [ps].
        label: What tables and figures call it.
        info: ``run.json`` of one of our runs, else empty.
        is_placed: Whether its frames already stand superposed on all CA atoms of the binding site's protein.
        starts_at_zero: Whether its first frame is the start, at time 0; else it is one interval after it.
    """

    path: Path
    topology: mdtraj.Topology
    positions: np.ndarray
    cell: np.ndarray | None
    interval: float
    label: str
    info: dict[str, Any] = field(default_factory=dict)
    is_placed: bool = False
    starts_at_zero: bool = False

    def iterate(self, atoms: np.ndarray, notes: list[str]) -> Iterator[mdtraj.Trajectory]:
        """Chunks of at most ``CHUNK_FRAMES`` frames of the chosen atoms; a damaged tail is left out and noted.

        Args:
            atoms: Indices to keep, sorted, (n_kept,).
            notes: Receives one line where the file turned out to be incomplete.
        """
        n_read = 0
        for chunk in _read_chunks(self.path, self.topology, atoms, notes):
            finite = np.isfinite(chunk.xyz).all(axis=(1, 2))
            if chunk.unitcell_vectors is not None:
                finite &= np.isfinite(chunk.unitcell_vectors).all(axis=(1, 2))
            if not finite.all():
                bad = int(np.argmin(finite))
                notes.append(
                    f"{self.path.name}: NaN or infinity in frame {n_read + bad}: frames from there on left out"
                )
                if bad:
                    yield chunk[:bad]
                return
            n_read += len(chunk)
            yield chunk


@check_arguments(directory=check_path, label=optional(check_text))
def open_run(directory: str | Path, *, label: str | None = None) -> TrajectoryFile:
    """Open a run directory: ``topology.pdb``, ``trajectory.dcd`` (or .xtc, .nc, .h5) and ``run.json``.

    Raises:
        InputError: If a file is missing or unreadable.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory; give a run directory, written by neuralmd simulate")
    settle_folder(directory)
    found = [directory / name for name in _RUN_TRAJECTORIES if (directory / name).is_file()]
    if not found or not (directory / "topology.pdb").is_file():
        raise InputError(
            f"{directory}: not a run directory: it must hold topology.pdb and trajectory.dcd (or .xtc, .nc, .h5); "
            "for other trajectories give the file itself and `top`"
        )
    record = directory / "run.json"
    info = read_json(record, "put it back, or remove it") if record.is_file() else {}
    return open_trajectory(found[0], directory / "topology.pdb", label=label or directory.name, info=info)


@check_arguments(
    path=check_path,
    top=optional(check_path),
    label=optional(check_text),
    interval=optional(an_instance(Real, of="a time in ps")),
)
def open_trajectory(
    path: str | Path,
    top: str | Path | None = None,
    *,
    label: str | None = None,
    interval: float | None = None,
    info: dict[str, Any] | None = None,
) -> TrajectoryFile:
    """Open a trajectory file with its topology.

    Args:
        path: DCD, XTC, TRR, NetCDF, HDF5, XYZ or LAMMPS' lammpstrj.
        top: PDB, PDBx/mmCIF, GRO, prmtop, HDF5, or TPR (through MDAnalysis); HDF5 trajectories carry their own.
        label: What tables call it; the file's name by default.
        interval: Between frames [ps]; needed where the file does not carry it.
        info: ``run.json`` of one of our runs.

    Raises:
        InputError: If a file is missing or unreadable, or the interval is unknown.
        TopologyMismatchError: If the two have different numbers of atoms.
    """
    path = Path(path)
    suffix = check_format(path, TRAJECTORY_SUFFIXES, "trajectory", TRAJECTORIES)
    if interval is not None and not 0.0 < interval < float("inf"):
        raise InputError(f"{path}: an interval of {interval:g} ps: give more than 0 ps between frames (`interval`)")
    if top is None and not is_hdf5(path):
        raise InputError(f"{path}: give its topology (`top`), a PDB, PDBx, GRO, prmtop or TPR file of the same atoms")
    topology, positions = load_topology(Path(top) if top is not None else path)
    notes: list[str] = []
    first = next(_read_chunks(path, topology, None, notes, size=2), None)
    if first is None or len(first) == 0:
        raise InputError(f"{path}: holds no complete frame; give a finished trajectory")
    starts_at_zero = False
    if suffix in TIMED_SUFFIXES and len(first) > 1 and float(first.time[0]) == 0.0:
        told = float(first.time[1])  # 1 where mdtraj wrote frame numbers, which are no times
        starts_at_zero = interval is None or abs(told - interval) < _SAME_TIME * interval
    if interval is None:
        interval = _read_interval(path, suffix, first)
    return TrajectoryFile(
        path=path,
        topology=topology,
        positions=first.xyz[0].astype(np.float64) if positions is None else positions,
        cell=None if first.unitcell_vectors is None else first.unitcell_vectors[0],
        interval=interval,
        label=label or path.stem,
        info=info or {},
        starts_at_zero=starts_at_zero,
    )


def read_frames(path: Path, topology: mdtraj.Topology) -> Iterator[mdtraj.Trajectory]:
    """Chunks of all atoms of a file's whole frames, as they stand; they end where damage begins.

    Raises:
        InputError: If the file cannot be opened.
        TopologyMismatchError: If it has another number of atoms.
    """
    yield from _read_chunks(path, topology, None, [])


def _read_chunks(
    path: Path, topology: mdtraj.Topology, atoms: np.ndarray | None, notes: list[str], size: int = CHUNK_FRAMES
) -> Iterator[mdtraj.Trajectory]:
    n_read = 0
    with contextlib.ExitStack() as stack:
        n_safe, is_whole = sys.maxsize, True
        if check_format(path, TRAJECTORY_SUFFIXES, "trajectory", TRAJECTORIES) in (".xtc", ".trr"):
            n_atoms = read_n_atoms(path, find_suffix(path))
            _require_atoms(path, None, topology.n_atoms if n_atoms is None else n_atoms, topology.n_atoms)
            n_safe, is_whole = count_frames(path, find_suffix(path), topology.n_atoms)
            if n_safe == 0:
                return
        file, promised = _open(path, stack.enter_context(give_ascii_path(path)), topology.n_atoms)
        stack.enter_context(file)
        while True:
            size = min(size, n_safe - n_read)
            if size == 0:
                if n_read and not is_whole:
                    notes.append(f"{path.name}: damaged or cut after frame {n_read}; the frames before are used")
                return
            try:
                with _silence():
                    chunk = file.read_as_traj(topology, n_frames=size, atom_indices=atoms)
            except Exception as error:
                if atoms is None and n_read == 0 and ("atom" in str(error) or "shape" in str(error)):
                    raise TopologyMismatchError(
                        f"{path}: does not fit its topology of {topology.n_atoms} atoms ({describe_damage(error)}); "
                        "give the topology this trajectory was written with"
                    ) from error
                if size > 1 and _can_seek(file, n_read):  # the chunk ran into the damage
                    size = 1  # take its good frames one by one
                    continue
                if n_read:
                    notes.append(f"{path.name}: damaged or cut after frame {n_read}; the frames before are used")
                return
            if len(chunk) == 0:
                if n_read < promised:
                    notes.append(f"{path.name}: cut after frame {n_read} of {promised}; the frames before are used")
                return
            n_read += len(chunk)
            yield chunk


def _can_seek(file: Any, frame: int) -> bool:
    """Go to a frame; False where even the first is incomplete, which some readers refuse to look for."""
    try:
        with _silence():
            file.seek(frame)
    except Exception:  # readers raise whatever the damage led to
        return False
    return True


def _open(path: Path, name: str, n_atoms: int) -> tuple[Any, int]:
    """A reader for the file of this name, and how many frames its header promises (0 where it does not).

    Raises:
        InputError: If it cannot be read as what its name says.
        TopologyMismatchError: If its header tells another number of atoms.
    """
    suffix = check_format(path, TRAJECTORY_SUFFIXES, "trajectory", TRAJECTORIES)
    try:
        with warnings.catch_warnings(), _silence():
            warnings.simplefilter("ignore")  # advice on speed, and on what the checks below tell
            if suffix in HDF5_SUFFIXES:
                file: Any = HDF5Reader(path)
                return _require_atoms(path, file, file.n_atoms, n_atoms), 0
            if suffix in NETCDF_SUFFIXES:
                file, promised = open_netcdf(path)
                return _require_atoms(path, file, file.n_atoms, n_atoms), promised
            found = read_n_atoms(path, suffix)
            _require_atoms(path, None, n_atoms if found is None else found, n_atoms)
            promised = 0
            if suffix == ".dcd":
                promised = _read_dcd_header(path)[0]
                layout = read_dcd_layout(path)
                if layout is not None and path.stat().st_size < layout[0] + 3 * (4 * n_atoms + 8):  # mdtraj opens none
                    raise InputError(f"{path}: holds no complete frame; give a finished trajectory")
            return _READERS[suffix](name), promised
    except (InputError, TopologyMismatchError):
        raise
    except Exception as error:  # readers raise whatever the damage led to
        raise InputError(
            f"{path}: cannot be read as a trajectory: {describe_damage(error)}; give a whole file of {TRAJECTORIES}"
        ) from error


def _require_atoms(path: Path, file: Any, found: int, expected: int) -> Any:
    """The open file, closed if its atoms are not those of its topology."""
    if found == expected:
        return file
    if file is not None:
        file.close()
    raise TopologyMismatchError(
        f"{path}: does not fit its topology of {expected} atoms: it has {found}; give the topology this trajectory was "
        "written with"
    )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what mdtraj's C code prints out of our output and error line, which programs may read."""
    try:
        saved = [os.dup(number) for number in (1, 2)]
    except OSError:  # no standard output at all
        yield
        return
    _flush()
    with open(os.devnull, "wb") as nowhere:
        for number in (1, 2):
            os.dup2(nowhere.fileno(), number)
    try:
        yield
    finally:
        _flush()
        for number, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, number)
            os.close(copy)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with contextlib.suppress(TypeError, AttributeError, OSError):  # C's buffers, where the platform names them
        ctypes.CDLL(None).fflush(None)


def _read_dcd_header(path: Path) -> tuple[int, float]:
    """Number of frames and their interval [ps]; the interval is 0 where the header does not tell."""
    with path.open("rb") as file:
        header = file.read(48)
    order = find_dcd_order(header)
    n_frames, _, stride = struct.unpack(f"{order}3i", header[8:20])
    delta = struct.unpack(f"{order}f", header[44:48])[0]
    if (stride, delta) == (1, 1.0):  # what mdtraj's DCD writer puts there, whatever the interval was
        return n_frames, 0.0
    return n_frames, round(stride * delta * _AKMA_TIME_PS, 4)


def _read_interval(path: Path, suffix: str, first: mdtraj.Trajectory) -> float:
    """Frame interval [ps]; mdtraj gives frame numbers as the times of a DCD, so its header is read here."""
    interval = 0.0
    if suffix == ".dcd":
        interval = _read_dcd_header(path)[1]
    elif suffix in TIMED_SUFFIXES and len(first) > 1:
        interval = round(float(first.time[1] - first.time[0]), 4)
    if len(first) < 2 and not interval:
        raise InputError(f"{path}: holds 1 frame; give a trajectory")
    if not 0.0 < interval < 1e6:
        raise InputError(f"{path}: does not say how far its frames are apart; give the interval in ps (`interval`)")
    return interval
