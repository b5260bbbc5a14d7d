"""Copies of a run's trajectory in other formats, made from the DCD file whenever a session ends.

The DCD is what a run writes snapshot by snapshot and resumes to the byte; a copy is rewritten as a whole, so it can
neither be cut short nor fall behind. Equal runs have equal copies: there is no date, no name of a computer and no
version of another library in them. A copy is read again before it takes its place, because mdtraj's XTC writer does not
notice a full disk.
"""

from collections.abc import Sequence
from pathlib import Path

import mdtraj
import numpy as np

from openmm_neuralmd.errors import InputError, NeuralMDError, describe_error
from openmm_neuralmd.files import give_ascii_path, require_room, require_storage, write_whole
from openmm_neuralmd.io.copy_format import CopyFormat, get_copy_format, list_copy_formats
from openmm_neuralmd.io.directory import RunFiles
from openmm_neuralmd.io.writers import read_dcd_frames
from openmm_neuralmd.units import NM_PER_ANGSTROM

_CHUNK = 500  # frames in memory
_TOLERANCE_NM = 6e-4  # XTC rounds to 0.001 nm; float32 is 1e-4 only beyond 1,000 nm


def check_formats(formats: Sequence[str]) -> None:
    """Raise InputError for a format that is not one of ``list_copy_formats``, or whose package is broken."""
    known = list_copy_formats()
    for name in formats:
        if name not in known:
            raise InputError(f"unknown trajectory format {name!r}; choose of {', '.join(known)} (dcd is always)")
        get_copy_format(name)


def write_copies(files: RunFiles, formats: Sequence[str], *, interval: float) -> None:
    """Write ``trajectory.<format>`` for each format, and again for each copy that is there already.

    Nothing where the run has no frames yet.

    Args:
        files: Of the run; its DCD must hold whole frames only.
        formats: Of ``list_copy_formats``.
        interval: Between frames [ps]; the first is at one interval.
    """
    if not files.log.exists() or len(files.log.read_text().splitlines()) < 2:
        return
    for name in list_copy_formats():
        target = files.get_copy(name)
        if name in formats or target.exists():
            with write_whole(target) as temporary:
                _convert(files, get_copy_format(name), temporary, interval)


def _convert(files: RunFiles, format_: CopyFormat, target: Path, interval: float) -> None:
    topology = mdtraj.load_topology(str(files.topology))
    frames = read_dcd_frames(files.trajectory, topology.n_atoms)
    copy = files.get_copy(format_.name)
    remedy = "resume the run (`resume=True`), which writes it again"
    try:
        with give_ascii_path(target, write=True) as ascii_target, format_.open(ascii_target, topology) as write:
            for first in range(0, len(frames), _CHUNK):
                xyz = np.ascontiguousarray(frames[first : first + _CHUNK])  # A
                numbers = np.arange(first + 1, first + 1 + len(xyz), dtype=np.int32)
                write(xyz, (interval * numbers).astype(np.float32), numbers)
    except NeuralMDError:
        raise
    except Exception as error:  # of libraries, and of formats of other packages
        require_storage(error, copy)
        raise InputError(f"{copy}: cannot be written: {describe_error(error)}; {remedy}") from error
    if not _is_whole(target, topology, frames, format_):
        require_room(copy)  # XTC's writer does not say it
        raise InputError(f"{copy}: does not hold what was written to it; {remedy}")


def _is_whole(path: Path, topology: mdtraj.Topology, frames: np.ndarray, format_: CopyFormat) -> bool:
    """Whether a copy holds all frames [A], (n_frames, n_atoms, 3), and no other ones."""
    n_read = 0
    try:
        for chunk in format_.read(path, topology):
            expected = NM_PER_ANGSTROM * frames[n_read : n_read + len(chunk)]
            if len(expected) < len(chunk) or not np.allclose(chunk, expected, rtol=1e-6, atol=_TOLERANCE_NM):
                return False
            n_read += len(chunk)
    except Exception:  # readers raise whatever the damage led to
        return False
    return n_read == len(frames)
