"""A run directory: which files it holds, whether a run may start there, and repair before it goes on."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.files import check_writable
from openmm_neuralmd.simulation.checkpoint import Checkpoint
from openmm_neuralmd.simulation.writers import CSVWriter, DCDWriter

LOG_COLUMNS = ("snapshot", "time_ps", "ligand_rmsd_nm", "max_bond_deviation_nm", "projection_iterations")
COPY_FORMATS = ("xtc", "nc", "h5")  # beside the DCD


@dataclass(frozen=True)
class RunFiles:
    """Where the files of a run are."""

    folder: Path

    @property
    def topology(self) -> Path:
        return self.folder / "topology.pdb"

    @property
    def trajectory(self) -> Path:
        return self.folder / "trajectory.dcd"

    @property
    def log(self) -> Path:
        return self.folder / "log.csv"

    @property
    def record(self) -> Path:
        return self.folder / "run.json"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    def get_copy(self, format_: str) -> Path:
        """The trajectory in another of ``COPY_FORMATS``."""
        return self.trajectory.with_suffix(f".{format_}")

    def list_existing(self) -> list[Path]:
        names = (self.topology, self.trajectory, self.log, self.record, self.checkpoint)
        return [path for path in (*names, *map(self.get_copy, COPY_FORMATS)) if path.exists()]


def check_folder(files: RunFiles, *, resume: bool, overwrite: bool) -> None:
    """Check, before anything is computed or written, that a run may use the folder.

    Raises:
        InputError: If there is a run and neither ``resume`` nor ``overwrite`` is said, or nothing to resume.
    """
    if resume and overwrite:
        raise InputError("resume and overwrite exclude each other: say --resume to go on or --force to start again")
    check_writable(files.folder)
    existing = files.list_existing()
    if existing and not (resume or overwrite):
        raise InputError(
            f"{files.folder} already holds a run ({existing[0].name}): say --resume to go on, --force to replace it, "
            "or give another directory"
        )
    if resume and not files.record.exists():
        raise InputError(f"{files.folder} holds no run to resume ({files.record.name} is missing); leave out --resume")


def read_earlier_sessions(files: RunFiles, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The earlier sessions of a run, once its settings are known to be the same.

    Args:
        files: Of the run.
        settings: What must be equal for the same path to the byte.

    Raises:
        InputError: If ``run.json`` is damaged or a setting differs.
    """
    try:
        record = json.loads(files.record.read_text())
        earlier, sessions = record["settings"], list(record["sessions"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{files.record}: damaged ({error}); start again (--force)") from error
    for name, value in settings.items():
        if earlier.get(name) != value:
            raise InputError(
                f"{files.folder}: the run was made with {name} {earlier.get(name)!r}, now it is {value!r}; resume with "
                "the same settings or start again (--force)"
            )
    return sessions


def repair_files(trajectory: DCDWriter, log: CSVWriter, checkpoint: Checkpoint, positions: np.ndarray) -> None:
    """Make trajectory and log end exactly at the checkpoint.

    What was written after it is cut off, and the checkpoint's own frame and row are written again, so damage to the
    last ones does not matter.

    Args:
        trajectory, log: Open for appending.
        checkpoint: The state the run goes on from.
        positions: Of all atoms in that state [nm], (n_atoms, 3).

    Raises:
        InputError: If earlier frames or rows are missing.
    """
    kept = max(checkpoint.snapshot - 1, 0)
    if trajectory.n_frames < kept:
        raise InputError(
            f"{trajectory.path}: damaged, it holds {trajectory.n_frames} of {kept} frames; start again (--force)"
        )
    trajectory.truncate(kept)
    log.truncate(kept)
    if checkpoint.snapshot > 0:
        trajectory.write(positions)
        log.write(checkpoint.row)


def count_iterations(log: Path) -> dict[str, int]:
    """How often the bond projection acted, from the log of a run."""
    column = LOG_COLUMNS.index("projection_iterations")
    counts = [int(line.split(",")[column]) for line in log.read_text().splitlines()[1:]]
    return {"snapshots_with_iterations": sum(n > 0 for n in counts), "iterations": sum(counts)}
