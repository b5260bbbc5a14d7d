"""The state from which a run goes on: the ligand's positions and velocities, and the step that keys the noise.

All else is rigid or drawn by counter, so nothing of OpenMM's opaque, platform-bound checkpoints is needed. A model that
is no force adds what its propagator keeps.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from openmm_neuralmd.errors import InputError, describe_error
from openmm_neuralmd.files import write_atomically

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_DIGEST = "digest"
_Fields = TypeVar("_Fields", bound="DataclassInstance")


@dataclass(frozen=True)
class Checkpoint:
    """State after a snapshot.

    Attributes:
        snapshot: Snapshots done.
        step: Steps taken.
        positions: Ligand heavy atoms [nm], float64, (n_atoms, 3).
        velocities: [nm/ps], float64, (n_atoms, 3).
        vibration: Part of the positions that the next step takes away [nm], float64, (n_atoms, 3).
        row: The snapshot's line in the log; empty at the start.
        trajectory_digest, log_digest: Running digests of the frames and rows before this snapshot's own.
        kept: What the propagator of a model that is no force keeps; empty for a force.
    """

    snapshot: int
    step: int
    positions: np.ndarray
    velocities: np.ndarray
    vibration: np.ndarray
    row: str
    trajectory_digest: str = ""
    log_digest: str = ""
    kept: Mapping[str, np.ndarray] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Replace the checkpoint file in one go."""
        write_state(path, vars(self))


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write numbers, text, arrays and groups of arrays by name, with a digest of all of them, in one go."""
    content = io.BytesIO()
    arrays: dict[str, np.ndarray] = {}
    for name, value in state.items():
        group = {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, Mapping) else {name: value}
        arrays.update({k: np.asarray(v) for k, v in group.items()})
    arrays[_DIGEST] = np.asarray(_compute_digest(arrays))
    np.savez(content, **arrays)  # type: ignore[arg-type]
    write_atomically(path, content.getvalue())


def read_state(path: Path, names: Iterable[str], groups: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """What ``write_state`` wrote under these names and in these groups, all as arrays; in a group as GROUP.NAME.

    Raises:
        InputError: If the file is damaged, was edited, or lacks one of them.
    """
    try:
        _check_size(path)
        with np.load(path, allow_pickle=False) as data:
            if _DIGEST not in data and "positions" in data:
                raise InputError(
                    f"{path}: of an earlier openmm_neuralmd, without digests that would show whether the run is whole; "
                    "go on with that version, or start again (`overwrite=True`)"
                )
            grouped = [name for name in data.files if name.startswith(tuple(f"{group}." for group in groups))]
            found = {name: data[name] for name in (*names, *grouped, _DIGEST)}
    except InputError:
        raise
    except Exception as error:  # zipfile's and NumPy's readers raise whatever the damage led to
        raise InputError(
            f"{path}: damaged checkpoint ({describe_error(error)}); start again (`overwrite=True`)"
        ) from error
    if str(found.pop(_DIGEST)) != _compute_digest(found):
        raise InputError(f"{path}: damaged checkpoint (it is not as it was written); start again (`overwrite=True`)")
    return found


def _check_size(path: Path) -> None:
    """Before anything is unpacked: what was written is stored as it is, never smaller."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{entry.filename} is compressed")


def _compute_digest(state: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, values in sorted(state.items()):
        digest.update(f"{name} {values.dtype.str} {values.shape} ".encode() + np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def read_fields(
    path: Path, kind: type[_Fields], shapes: Mapping[str, tuple[int, ...]], groups: tuple[str, ...] = ()
) -> _Fields:
    """A dataclass of whole numbers, texts and arrays that ``write_state`` wrote, its numbers checked.

    Args:
        path: The file.
        kind: The dataclass.
        shapes: Of its arrays, which must be float64 and finite.
        groups: Its fields that hold numbers or arrays of numbers by name, of any shape; they may be empty.

    Raises:
        InputError: If the file is damaged or of something else.
    """
    found = read_state(path, (f.name for f in fields(kind) if f.name not in groups), groups)
    values: dict[str, Any] = {}
    for f in fields(kind):
        if f.name in groups:
            start = f"{f.name}."
            values[f.name] = {k.removeprefix(start): v for k, v in found.items() if k.startswith(start)}
            continue
        array = found[f.name]
        if f.name not in shapes:
            is_right = array.shape == () and array.dtype.kind == ("i" if f.type is int else "U")
            values[f.name] = array.item() if is_right else None
            is_right = is_right and not (f.type is int and values[f.name] < 0)
        elif is_right := array.dtype == np.float64 and bool(np.isfinite(array).all()):
            values[f.name] = array
            if array.shape != shapes[f.name]:
                raise InputError(
                    f"{path}: {f.name} of shape {array.shape}, {shapes[f.name]} was expected; resume with the same "
                    "complex"
                )
        if not is_right:
            raise InputError(
                f"{path}: damaged checkpoint ({f.name} is not what it must be); start again (`overwrite=True`)"
            )
    return kind(**values)


def read_checkpoint(path: Path, n_atoms: int) -> Checkpoint:
    """Read a checkpoint file of a ligand with so many heavy atoms.

    Raises:
        InputError: If it is damaged or of another ligand.
    """
    shapes = dict.fromkeys(("positions", "velocities", "vibration"), (n_atoms, 3))
    return read_fields(path, Checkpoint, shapes, ("kept",))
