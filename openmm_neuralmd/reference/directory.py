"""The directory of a reference run: a run directory as `neuralmd compare` reads it, and what makes the run go on."""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.files import compute_sha256, read_json, write_atomically
from openmm_neuralmd.io.directory import RunFiles, RunPlace, check_sessions, collect_versions, compare_versions
from openmm_neuralmd.io.writers import START_AGAIN, write_json
from openmm_neuralmd.reference.protocol import Protocol
from openmm_neuralmd.reference.system import MolecularSystem

_log = logging.getLogger(__name__)
REFERENCE_COLUMNS = ("time_ps", "potential_kj_per_mol", "temperature_k", "volume_nm3", "density_g_per_ml")
PhaseProgress = Callable[[str, float, float], None]
"""Called with the phase, and the simulated time of the whole run, equilibration included: done and in all [ps]."""


@dataclass(frozen=True)
class ReferenceFiles(RunFiles):
    """Where the files of a reference run are."""

    engine: str = "openmm"

    @property
    def trajectory(self) -> Path:
        return self.folder / ("trajectory.dcd" if self.engine == "openmm" else "trajectory.xtc")

    @property
    def system(self) -> Path:
        return self.folder / "system.xml.gz"

    @property
    def start(self) -> Path:
        return self.folder / "start.pdb.gz"

    @property
    def energies(self) -> Path:
        return self.folder / "energies.csv"

    @property
    def gromacs(self) -> Path:
        """Folder of GROMACS' own files."""
        return self.folder / "gromacs"

    def list_existing(self) -> list[Path]:
        names = ("trajectory.dcd", "trajectory.xtc", "complex.tpr", "complex.gro")
        others = (*(self.folder / name for name in names), self.system, self.start, self.energies, self.gromacs)
        found = [*super().list_existing(), *(path for path in others if path.exists())]
        return list(dict.fromkeys(found))


Place = RunPlace[ReferenceFiles]


def write_start(files: ReferenceFiles, molecules: MolecularSystem) -> None:
    """Write topology, System and start of a new run."""
    files.folder.mkdir(parents=True, exist_ok=True)
    molecules.write(files.system, files.start)
    write_atomically(files.topology, molecules.format_complex())


def start_record(files: ReferenceFiles, molecules: MolecularSystem, protocol: Protocol, **more: Any) -> dict[str, Any]:
    """What ``run.json`` says when a run begins."""
    return {
        "status": "running",
        "engine": files.engine,
        "settings": asdict(protocol),
        "complex": molecules.source,
        "ligand": molecules.ligand,
        "force_field": molecules.force_field,
        "n_atoms": molecules.topology.getNumAtoms(),
        "n_atoms_written": len(molecules.find_complex()),
        "snapshot_interval_ps": protocol.interval_ps,
        "system_sha256": compute_sha256(files.system),
        "start_sha256": compute_sha256(files.start),
        "versions": collect_versions(),
        **more,
        "sessions": [],
    }


def read_record(files: ReferenceFiles) -> dict[str, Any]:
    """The record of an earlier run.

    Raises:
        InputError: If it is absent, damaged, of another engine, or its inputs changed.
    """
    if not files.record.is_file():
        raise InputError(f"{files.folder} holds no run to resume ({files.record.name} is missing); leave out `resume`")
    record = read_json(files.record, START_AGAIN)
    texts = ("engine", "complex", "ligand", "force_field", "system_sha256", "start_sha256")
    if not all(isinstance(record.get(name), str) for name in texts):
        raise InputError(f"{files.record}: damaged or not of a reference run; {START_AGAIN}")
    if record["engine"] != files.engine:
        raise InputError(f"{files.folder}: the run was made with `engine={record['engine']}`; resume with the same")
    check_sessions(files.record, record)
    try:
        read_protocol(record)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{files.record}: damaged, its settings cannot be used ({error}); {START_AGAIN}") from error
    for path, name in ((files.system, "system_sha256"), (files.start, "start_sha256")):
        if not path.is_file() or compute_sha256(path) != record[name]:
            raise InputError(f"{path}: missing or changed since the run began; {START_AGAIN}")
    if not files.topology.is_file():
        raise InputError(f"{files.topology}: missing; put it back, or {START_AGAIN}")
    return record


def read_protocol(record: dict[str, Any]) -> Protocol:
    """The protocol in a record."""
    return Protocol(**{f.name: record["settings"][f.name] for f in fields(Protocol)})


def end_session(
    files: ReferenceFiles, record: dict[str, Any], status: str, frames: tuple[int, int], wall: float
) -> None:
    """Write ``run.json`` when a session ends.

    Args:
        files: Of the run.
        record: Changed.
        status: "finished", "interrupted", "interrupted by SIGTERM" or "failed: ...".
        frames: Of production, before and after the session.
        wall: Time that production took [s].
    """
    first, last = frames
    session = {"from_snapshot": first, "to_snapshot": last, "wall_time_s": round(wall, 3)}
    record["sessions"].append({**session, "versions": record["versions"]})
    record["n_snapshots_done"] = last
    record["status"] = status
    write_json(files.record, record)


def note_versions(record: dict[str, Any], **more: str) -> None:
    """Put the versions of this session into the record, and say where they are not those of the last one.

    Args:
        record: Changed.
        more: Versions beside those of ``collect_versions``.
    """
    now = collect_versions(**more)
    note = compare_versions(record, now) if record["sessions"] else None
    if note is not None:
        _log.warning("note: %s", note)
    record["versions"] = now
