"""A run directory: which files it holds, whether a run may start or go on there, and how it replaces another."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.files import check_writable, read_json
from openmm_neuralmd.folders import abandon_replacement, begin_replacement, finish_replacement
from openmm_neuralmd.io.copy_format import list_copy_formats
from openmm_neuralmd.io.writers import START_AGAIN, check_csv, check_dcd, count_dcd_frames
from openmm_neuralmd.signals import Terminated
from openmm_neuralmd.version import __version__

LOG_COLUMNS = ("snapshot", "time_ps", "ligand_rmsd_nm", "max_bond_deviation_nm", "projection_iterations")


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
        """The trajectory in another of ``list_copy_formats``."""
        return self.trajectory.with_suffix(f".{format_}")

    def list_existing(self) -> list[Path]:
        names = (self.topology, self.trajectory, self.log, self.record, self.checkpoint)
        return [path for path in (*names, *map(self.get_copy, list_copy_formats())) if path.exists()]


Files = TypeVar("Files", bound=RunFiles)


def check_folder(files: RunFiles, *, resume: bool, overwrite: bool) -> None:
    """Check, before anything is computed or written, that a run may use the folder.

    Raises:
        InputError: If there is a run and neither ``resume`` nor ``overwrite`` is said, or nothing to resume.
    """
    if resume and overwrite:
        raise InputError(
            "resume and overwrite exclude each other: say `resume=True` to go on or `overwrite=True` to start again"
        )
    check_writable(files.folder)
    existing = files.list_existing()
    if existing and not (resume or overwrite):
        raise InputError(
            f"{files.folder} already holds a run ({existing[0].name}): say `resume=True` to go on, "
            "`overwrite=True` to replace it, or give another directory"
        )
    if resume and not files.record.exists():
        raise InputError(f"{files.folder} holds no run to resume ({files.record.name} is missing); leave out `resume`")


def read_earlier_record(files: RunFiles, settings: dict[str, Any]) -> dict[str, Any]:
    """The record of an earlier run, once its settings are known to be the same.

    Args:
        files: Of the run.
        settings: What must be equal for the same path to the byte.

    Raises:
        InputError: If ``run.json`` is damaged or a setting differs.
    """
    record = read_json(files.record, START_AGAIN)
    check_sessions(files.record, record)
    earlier = record.get("settings")
    if not isinstance(earlier, dict):
        raise InputError(f"{files.record}: damaged, it names no settings; {START_AGAIN}")
    for name, value in settings.items():
        if earlier.get(name) == value:
            continue
        if name == "model_sha256":
            raise InputError(
                f"{files.folder}: the run was made with another model than this one: give the file it was made with as "
                f"`model` ({record.get('model_path')} then, SHA-256 {str(earlier.get(name))[:12]}), or start again "
                "(`overwrite=True`)"
            )
        if name == "noise":
            raise InputError(
                f"{files.folder}: the run was made with an earlier version, which drew other noise from a seed: its "
                f"path cannot go on here; {START_AGAIN}"
            )
        if name == "complex_sha256":
            raise InputError(
                f"{files.folder}: the run was made with another complex ({record.get('complex')}) than this one: give "
                f"the file it was made with, or {START_AGAIN}"
            )
        raise InputError(
            f"{files.folder}: the run was made with {name} {earlier.get(name)!r}, now it is {value!r}; resume with "
            "the same settings or start again (`overwrite=True`)"
        )
    return record


def check_sessions(path: Path, record: Mapping[str, Any]) -> None:
    """Raise InputError if the sessions in the record of a run are not what ``run.json`` must hold."""
    sessions = record.get("sessions")
    if not isinstance(sessions, list) or not all(_is_session(s) for s in sessions):
        raise InputError(f"{path}: damaged, its sessions are not what a run writes there; {START_AGAIN}")


def _is_session(session: Any) -> bool:
    if not isinstance(session, dict):
        return False
    numbers = [session.get(name) for name in ("from_snapshot", "to_snapshot", "wall_time_s")]
    return all(isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v < math.inf for v in numbers)


def collect_versions(**more: str) -> dict[str, str]:
    """What takes part in every run, and ``more`` that takes part in this one."""
    from openmm import Platform

    return {
        "openmm_neuralmd": __version__,
        "openmm": Platform.getOpenMMVersion(),
        **more,
        "numpy": np.__version__,
        "python": sys.version.split()[0],
    }


def compare_versions(record: Mapping[str, Any], now: Mapping[str, str]) -> str | None:
    """What to tell of a run that goes on with other versions than its last session had; None if they are the same."""
    before = (record["sessions"] or [{}])[-1].get("versions") or record.get("versions")
    if not isinstance(before, dict):
        return "the run does not say with which versions it was made: what follows may differ in the last digits"
    changed = [f"{k} {before.get(k)} (now {v})" for k, v in now.items() if k != "python" and before.get(k) != v]
    if not changed:
        return None
    return (
        f"the run was made with {', '.join(changed)}: what follows may differ in the last digits from a run without "
        "interruption"
    )


class Digests(Protocol):
    """What a checkpoint keeps of the frames and rows before it: their running digests."""

    @property
    def trajectory_digest(self) -> str: ...

    @property
    def log_digest(self) -> str: ...


def check_files(
    files: RunFiles,
    checkpoint: Digests,
    n_frames: int,
    *,
    n_atoms: int,
    interval: float,
    columns: tuple[str, ...] = LOG_COLUMNS,
    has_box: bool = False,
) -> None:
    """Check that trajectory and log begin with what was written before a checkpoint; nothing is changed.

    Args:
        files: Of the run.
        checkpoint: The state the run goes on from.
        n_frames: That its digests are of; what follows them does not matter.
        n_atoms, interval, has_box: Of the frames, as in ``DCDWriter``.
        columns: Of the log.

    Raises:
        InputError: If frames or rows are missing or changed.
    """
    digest = checkpoint.trajectory_digest
    check_dcd(files.trajectory, n_atoms, n_frames, digest, frame_interval=interval, has_box=has_box)
    check_csv(files.log, columns, n_frames, checkpoint.log_digest)


def check_nothing_is_lost(files: RunFiles, n_atoms: int, *, has_box: bool = False) -> None:
    """Raise InputError if a run without a checkpoint has more than the one frame that is written before the first."""
    if files.trajectory.exists() and count_dcd_frames(files.trajectory, n_atoms, has_box=has_box) > 1:
        raise InputError(
            f"{files.checkpoint}: damaged, it is not there, though the run has frames; put it back, or {START_AGAIN}"
        )


class RunPlace(Generic[Files]):
    """Where a run is written: its folder, or beside an earlier run there until it has its first snapshot.

    Args:
        files: Where the run belongs.
        replaces: Whether there is an earlier run, to be replaced.

    Attributes:
        files: Where the files are now.
        is_beside: Whether the earlier run is still there.
    """

    def __init__(self, files: Files, *, replaces: bool) -> None:
        self._target, self.is_beside = files, replaces
        self.files = replace(files, folder=begin_replacement(files.folder)) if replaces else files

    def settle(self) -> Files:
        """The first snapshot is there: the earlier run goes, the new one takes its place; files stay open."""
        if self.is_beside:
            finish_replacement(self._target.folder, self._target.list_existing())
            self.files, self.is_beside = self._target, False
        return self.files

    def leave(self) -> None:
        """The run has ended: if it had no snapshot, the earlier one stays."""
        if self.is_beside:
            abandon_replacement(self._target.folder)


def describe_end(error: BaseException) -> str:
    """The status of a run that did not finish."""
    if isinstance(error, Terminated):
        return f"interrupted by {error.name}"
    return f"failed: {error}" if isinstance(error, Exception) else "interrupted"


def count_iterations(log: Path) -> dict[str, int]:
    """How often the bond projection acted, from the log of a run."""
    column = LOG_COLUMNS.index("projection_iterations")
    counts = [int(line.split(",")[column]) for line in log.read_text().splitlines()[1:]]
    return {"snapshots_with_iterations": sum(n > 0 for n in counts), "iterations": sum(counts)}
