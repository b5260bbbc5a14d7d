"""Sets of complexes for training and evaluation: from MISATO's file, or from a table of your own trajectories."""

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from openmm_neuralmd.checks import a_number, check_arguments, check_path, optional
from openmm_neuralmd.data.misato import FRAME_INTERVAL_PS, MisatoFile, iterate_records, read_split
from openmm_neuralmd.data.trajectories import LigandTrajectory, load_ligand_trajectory
from openmm_neuralmd.errors import InputError, NeuralMDError
from openmm_neuralmd.io.structures import find_structure_file, load_structure
from openmm_neuralmd.molecule.complex import Complex

PARTS = ("training", "validation", "test")
TABLE_COLUMNS = ("trajectory", "top", "ligand", "sdf", "complex", "interval", "part")
"""Of the table; ``trajectory`` and ``ligand`` are needed, and a topology where the trajectory holds none."""


class Entry(NamedTuple):
    """A complex and its trajectories, superposed on its rigid protein."""

    complex: Complex
    trajectories: Sequence[LigandTrajectory]


@check_arguments(path=check_path, split_file=check_path, frame_interval=optional(a_number(above=0.0)))
def load_misato_entries(
    path: str | Path,
    split_file: str | Path,
    skipped: dict[str, str],
    *,
    frame_interval: float | None = None,
    superpose_on: str = "all",
    progress: Callable[[int, int], None] | None = None,
) -> list[Entry]:
    """The complexes of a split list; those that cannot be used go to ``skipped`` with the reason.

    Args:
        path: ``MD.hdf5``.
        split_file: Names, one a line.
        frame_interval: [ps]; MISATO's own if None.
        progress: Called with the number of complexes read, and of how many in all.

    Raises:
        InputError: If a file cannot be read, a name is not in it, or no complex can be used.
    """
    names = read_split(split_file)
    with MisatoFile(path, frame_interval=frame_interval or FRAME_INTERVAL_PS, superpose_on=superpose_on) as file:
        records = []
        for record in iterate_records(file, names, skipped):
            records.append(record)
            if progress is not None:
                progress(len(records) + len(skipped), len(names))
    if not records:
        raise InputError(f"{split_file}: none of {len(names)} complexes can be used; the first: {skipped[names[0]]}")
    return [Entry(r.complex, [replace(r.trajectory, notes=(*r.trajectory.notes, *r.notes))]) for r in records]


@check_arguments(path=check_path, frame_interval=optional(a_number(above=0.0)))
def load_table(
    path: str | Path, *, frame_interval: float | None = None, superpose_on: str = "pocket"
) -> dict[str, list[Entry]]:
    """Complexes by part ("training" where the table has no such column) from a CSV file.

    Rows of the same complex file, ligand and SDF are trajectories of one complex; paths are relative to the table.

    Args:
        path: Columns are ``TABLE_COLUMNS``; "complex" is the rigid protein and pose, where that is not the topology.
        frame_interval: [ps], where neither file nor row says it.

    Raises:
        InputError: If the table or a file in it cannot be read; the message names the line.
    """
    path = Path(path)
    parts: dict[str, dict[tuple[str, ...], Entry]] = {}
    for line, row in _read_rows(path):
        try:
            files = {key: str(path.parent / row[key]) for key in ("trajectory", "top", "sdf", "complex") if row[key]}
            source = find_structure_file(files.get("complex"), files.get("top"), [files["trajectory"]])
            if source is None:
                raise InputError("give a topology (top) or the rigid protein with its ligand (complex)")
            entries = parts.setdefault(row["part"] or PARTS[0], {})
            key = (source, row["ligand"], row["sdf"])
            if key not in entries:
                complex_ = load_structure(
                    source,
                    row["ligand"],
                    sdf=files.get("sdf"),
                    trajectory=None if "complex" in files else files["trajectory"],
                    frame_interval=_read_interval(row["interval"]) or frame_interval,
                )
                entries[key] = Entry(complex_, [])
            trajectory = load_ligand_trajectory(
                files["trajectory"],
                files.get("top"),
                entries[key].complex,
                frame_interval=_read_interval(row["interval"]) or frame_interval,
                superpose_on=superpose_on,
            )
            entries[key] = Entry(entries[key].complex, [*entries[key].trajectories, trajectory])
        except NeuralMDError as error:
            raise InputError(f"{path}, line {line}: {error}") from error
    return {part: list(entries.values()) for part, entries in parts.items()}


def _read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a table with the columns {', '.join(TABLE_COLUMNS)}")
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file, skipinitialspace=True, restkey="too many")
        header = [name.strip() for name in reader.fieldnames or ()]
        unknown = [name for name in header if name not in TABLE_COLUMNS]
        missing = [name for name in ("trajectory", "ligand") if name not in header]
        if missing or unknown:
            what = f"no column {', '.join(missing)}" if missing else f"unknown column {', '.join(unknown)}"
            raise InputError(f"{path}: {what}; the first line names the columns, of {', '.join(TABLE_COLUMNS)}")
        reader.fieldnames = header
        rows = [
            (
                reader.line_num,
                {key: (row.get(key) or "").strip() for key in TABLE_COLUMNS}
                | {"too many": ",".join(row.get("too many") or ())},
            )
            for row in reader
            if any(value for value in row.values())
        ]
    if not rows:
        raise InputError(f"{path}: holds no trajectory; give one a line, below the names of the columns")
    for line, row in rows:
        if row["too many"]:
            raise InputError(f"{path}, line {line}: more cells than the {len(header)} columns; quote those with commas")
        empty = [key for key in ("trajectory", "ligand") if not row[key]]
        if empty:
            raise InputError(f"{path}, line {line}: {' and '.join(empty)} empty")
        if row["part"] and row["part"] not in PARTS:
            raise InputError(f"{path}, line {line}: part {row['part']!r} is none of {', '.join(PARTS)}")
    return rows


def _read_interval(text: str) -> float | None:
    try:
        interval = float(text) if text else None
    except ValueError:
        raise InputError(f"interval {text!r} is no number of ps") from None
    if interval is not None and not 0.0 < interval < math.inf:
        raise InputError(f"interval {text!r}: give more than 0 ps between frames")
    return interval
