"""The numbers of a comparison as files for other programs: one JSON file and CSV tables."""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import openmm_neuralmd
from openmm_neuralmd.analysis.comparison import CLOSE_RATIO, Comparison, describe_overall
from openmm_neuralmd.analysis.fluctuations import compute_rmsf
from openmm_neuralmd.analysis.metrics import compute_rmsd
from openmm_neuralmd.analysis.observation import Energies
from openmm_neuralmd.text import clean_texts

SCHEMA = 1
"""Of ``metrics.json``; another number when what a program reads there changes."""
_ENERGY_COLUMNS = (
    ("interaction", "kj_per_mol"),
    ("coulomb", "kj_per_mol"),
    ("lennard_jones", "kj_per_mol"),
    ("strain", "kj_per_mol"),
    ("shift", "nm"),
)


def collect_metrics(comparison: Comparison, speeds: dict[str, float]) -> dict[str, Any]:
    """Everything the report says, as plain data; NaN becomes null."""
    series = (comparison.run, *comparison.references)
    content = {
        "schema": SCHEMA,
        "version": openmm_neuralmd.__version__,
        "overall": describe_overall(comparison),
        "ligand": comparison.site.ligand.name,
        "pocket": list(comparison.site.pocket_labels),
        "superposed_on": comparison.run.superposed_on,
        "common_interval_ps": comparison.interval,
        "block_frames": comparison.block_frames,
        "close_ratio": CLOSE_RATIO,
        "yardstick": "replicas" if comparison.has_replicas else "halves of one reference",
        "series": [
            {
                "label": o.label,
                "source": o.source,
                "n_frames": o.n_frames,
                "interval_ps": o.interval,
                "speed_ns_per_day": speeds.get(o.label),
            }
            for o in series
        ],
        "properties": {
            j.subject.key: {
                "title": j.subject.title,
                "unit": j.subject.unit,
                "meaning": j.subject.meaning,
                "run": j.run,
                "yardstick": j.yardstick,
                "frozen": j.frozen,
                "ratio": j.ratio,
                "verdict": j.verdict,
                "remark": j.remark,
            }
            for j in comparison.judgements
        },
        "integrity": {
            c.key: {"title": c.title, "values": c.values, "verdict": c.verdict, "remark": c.remark}
            for c in comparison.integrity
        },
        "path_metrics": comparison.path_metrics,
        "energies": _summarise_energies(comparison),
        "notes": list(comparison.notes),
    }
    return clean_texts(_replace_nan(content))


def _summarise_energies(comparison: Comparison) -> dict[str, Any] | None:
    physics = comparison.physics
    if physics is None:
        return None
    return {
        **physics.protocol,
        "residues": list(physics.residues),
        "units": dict(_ENERGY_COLUMNS),
        "controls": list(physics.controls),
        "series": {
            label: {
                "n_snapshots": len(e.strain),
                **{
                    name: None if values is None else {"mean": float(values.mean()), "sd": float(values.std())}
                    for name, values in ((n, getattr(e, n)) for n, _ in _ENERGY_COLUMNS)
                },
            }
            for label, e in physics.energies.items()
        },
    }


def _list_energies(label: str, energies: Energies) -> Iterator[tuple[Any, ...]]:
    columns = [getattr(energies, name) for name, _ in _ENERGY_COLUMNS]
    for k, frame in enumerate(energies.frames):
        yield (label, frame, *("" if c is None else f"{c[k]:.4f}" for c in columns))


def write_records(comparison: Comparison, folder: str | Path, *, speeds: dict[str, float] | None = None) -> list[Path]:
    """Write ``metrics.json``, ``properties.csv``, ``rmsd.csv``, ``rmsf.csv`` and, where known, ``contacts.csv`` and
    ``energies.csv``.

    Args:
        comparison: What is written.
        folder: Where.
        speeds: Simulated time per wall time [ns/day] of the series for which it is known.

    Returns:
        What was written.
    """
    folder = Path(folder)
    series = (comparison.run, *comparison.references)
    metrics = folder / "metrics.json"
    metrics.write_text(json.dumps(collect_metrics(comparison, speeds or {}), indent=2) + "\n", encoding="utf-8")
    written = [
        metrics,
        _write_csv(
            folder / "properties.csv",
            ("property", "unit", "run", "yardstick", "frozen", "verdict"),
            ((j.subject.key, j.subject.unit, j.run, j.yardstick, j.frozen, j.verdict) for j in comparison.judgements),
        ),
        _write_csv(
            folder / "rmsd.csv",
            ("series", "time_ps", "rmsd_nm"),
            (
                (o.label, f"{t:.4f}", f"{r:.6f}")
                for o in series
                for t, r in zip(o.times, compute_rmsd(o.positions, comparison.site.pose), strict=True)
            ),
        ),
        _write_csv(
            folder / "rmsf.csv",
            ("atom", *(f"{o.label}_nm" for o in series)),
            (
                (name, *(f"{v:.6f}" for v in values))
                for name, *values in zip(
                    comparison.site.ligand.atom_names, *(compute_rmsf(o.positions) for o in series), strict=True
                )
            ),
        ),
    ]
    if comparison.physics is not None:
        head = ("series", "frame", *(f"{name}_{unit}" for name, unit in _ENERGY_COLUMNS))
        lines = (line for label, e in comparison.physics.energies.items() for line in _list_energies(label, e))
        written.append(_write_csv(folder / "energies.csv", head, lines))
    if any(o.contacts is not None for o in series):
        rows = []
        for o in series:
            for kind, occupied in (("contact", o.contacts), ("hydrogen bond", o.hydrogen_bonds)):
                if occupied is not None:
                    shares = zip(comparison.site.pocket_labels, occupied.mean(axis=0), strict=True)
                    rows += [(o.label, label, kind, f"{share:.4f}") for label, share in shares]
        written.append(_write_csv(folder / "contacts.csv", ("series", "residue", "kind", "occupancy"), rows))
    return written


def _write_csv(path: Path, head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(clean_texts(head))
        writer.writerows(map(clean_texts, rows))
    return path


def _replace_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _replace_nan(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_replace_nan(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
