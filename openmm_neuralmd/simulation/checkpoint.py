"""The state from which a run goes on: the ligand's positions and velocities, and the step that keys the noise.

All else is rigid or drawn by counter, so nothing of OpenMM's opaque, platform-bound checkpoints is needed.
"""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.simulation.writers import write_atomically


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
        content = io.BytesIO()
        np.savez(content, **vars(self))
        write_atomically(path, content.getvalue())


def read_checkpoint(path: Path, n_atoms: int) -> Checkpoint:
    """Read a checkpoint file of a ligand with so many heavy atoms.

    Raises:
        InputError: If it is damaged or of another ligand.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            found = Checkpoint(
                snapshot=int(data["snapshot"]),
                step=int(data["step"]),
                positions=data["positions"],
                velocities=data["velocities"],
                vibration=data["vibration"],
                row=str(data["row"]),
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: damaged checkpoint ({error}); start again (--force)") from error
    if {found.positions.shape, found.velocities.shape, found.vibration.shape} != {(n_atoms, 3)}:
        raise InputError(
            f"{path}: {len(found.positions)} atoms, the ligand has {n_atoms}; resume with the same complex"
        )
    return found
