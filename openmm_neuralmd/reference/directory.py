"""The directory of a reference run: a run directory as `neuralmd compare` reads it, and what makes the run go on."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import openmm as mm

import openmm_neuralmd
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.files import write_atomically
from openmm_neuralmd.reference.protocol import Protocol
from openmm_neuralmd.reference.system import MolecularSystem
from openmm_neuralmd.simulation.directory import RunFiles
from openmm_neuralmd.simulation.writers import write_json

LOG_COLUMNS = ("time_ps", "potential_kj_per_mol", "temperature_k", "volume_nm3", "density_g_per_ml")
Progress = Callable[[str, float, float], None]
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

    def clear(self) -> None:
        """Remove an earlier run, of either engine."""
        for path in self.list_existing():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


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
        "system_sha256": hash_file(files.system),
        "start_sha256": hash_file(files.start),
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
        raise InputError(f"{files.folder} holds no run to resume ({files.record.name} is missing); leave out --resume")
    try:
        record = json.loads(files.record.read_text())
        engine, hashes = record["engine"], (record["system_sha256"], record["start_sha256"])
        read_protocol(record)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{files.record}: damaged or not of a reference run ({error!r}); start again (--force)"
        ) from error
    if engine != files.engine:
        raise InputError(f"{files.folder}: the run was made with --engine {engine}; resume with the same")
    for path, expected in zip((files.system, files.start), hashes, strict=True):
        if not path.is_file() or hash_file(path) != expected:
            raise InputError(f"{path}: missing or changed since the run began; start again (--force)")
    return dict(record)


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
        status: "finished", "interrupted" or "failed: ...".
        frames: Of production, before and after the session.
        wall: Time that production took [s].
    """
    first, last = frames
    record["sessions"].append({"from_snapshot": first, "to_snapshot": last, "wall_time_s": round(wall, 3)})
    record["n_snapshots_done"] = last
    record["status"] = status
    write_json(files.record, record)


def hash_file(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def collect_versions() -> dict[str, str]:
    """Of what takes part in every engine."""
    return {
        "openmm_neuralmd": openmm_neuralmd.__version__,
        "openmm": mm.Platform.getOpenMMVersion(),
        "numpy": np.__version__,
        "python": sys.version.split()[0],
    }
