"""The state from which a run goes on: the ligand's positions and velocities, and the step that keys the noise.

All else is rigid or drawn by counter, so nothing of OpenMM's opaque, platform-bound checkpoints is needed.
"""

import io
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from openmm_neuralmd.errors import InputError, describe_error
from openmm_neuralmd.files import write_atomically


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
    """

    snapshot: int
    step: int
    positions: np.ndarray
    velocities: np.ndarray
    vibration: np.ndarray
    row: str

    def write(self, path: Path) -> None:
        """Replace the checkpoint file in one go."""
        write_state(path, vars(self))


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write numbers, text and arrays by name, in one go."""
    content = io.BytesIO()
    np.savez(content, **state)
    write_atomically(path, content.getvalue())


def read_state(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """What ``write_state`` wrote under these names, all as arrays.

    Raises:
        InputError: If the file is damaged or lacks one of them.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: damaged checkpoint ({describe_error(error)}); start again (--force)") from error


def read_checkpoint(path: Path, n_atoms: int) -> Checkpoint:
    """Read a checkpoint file of a ligand with so many heavy atoms.

    Raises:
        InputError: If it is damaged or of another ligand.
    """
    data = read_state(path, (f.name for f in fields(Checkpoint)))
    numbers = {"snapshot": int(data.pop("snapshot")), "step": int(data.pop("step")), "row": str(data.pop("row"))}
    found = Checkpoint(**numbers, **data)  # type: ignore[arg-type]
    if {found.positions.shape, found.velocities.shape, found.vibration.shape} != {(n_atoms, 3)}:
        raise InputError(
            f"{path}: {len(found.positions)} atoms, the ligand has {n_atoms}; resume with the same complex"
        )
    return found
