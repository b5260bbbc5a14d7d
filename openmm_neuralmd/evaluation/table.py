"""The table of ``neuralmd evaluate``, as markdown, CSV and JSON."""

import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openmm_neuralmd.checks import check_arguments, check_path
from openmm_neuralmd.evaluation.scores import COLUMNS
from openmm_neuralmd.folders import replace_files
from openmm_neuralmd.text import clean_texts, escape_markdown, spell_units

_JUDGED = ("paper MAE [A]", "energy score [A]", "W RMSD [A]", "W pairs [A]")


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    Attributes:
        rows: One dictionary each: ``label``, ``kind`` ("model", "trivial" or "md"), ``COLUMNS`` (None where undefined)
            and ``spread``.
        about: What it was made from.
        by_complex: Rows of each complex, where there are several.
    """

    rows: list[dict[str, Any]]
    about: dict[str, Any]
    by_complex: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @check_arguments(folder=check_path)
    def write(self, folder: str | Path) -> None:
        """Write ``metrics.md``, ``metrics.csv`` and ``metrics.json``, and ``complexes.csv`` where there are several."""
        content = clean_texts({"about": self.about, "rows": self.rows, "complexes": self.by_complex})
        files = {
            "metrics.md": self.format_markdown(),
            "metrics.csv": format_csv(self.rows),
            "metrics.json": json.dumps(content, indent=1) + "\n",
        }
        if self.by_complex:
            rows = [{"complex": name, **row} for name, each in self.by_complex.items() for row in each]
            files["complexes.csv"] = format_csv(rows, "complex")
        replace_files(Path(folder), files)

    def format_markdown(self) -> str:
        """The table, what its columns mean, and which rows a trivial prediction beats."""
        lines = ["| |" + "|".join(map(spell_units, COLUMNS)) + "|", "|---|" + "---:|" * len(COLUMNS)]
        lines += [
            "|"
            + "|".join([escape_markdown(r["label"]), *(_format(r[c], r.get("spread", {}).get(c)) for c in COLUMNS)])
            + "|"
            for r in self.rows
        ]
        notes = [f"- {escape_markdown(key)}: {escape_markdown(str(value))}" for key, value in self.about.items()]
        meanings = [f"- **{spell_units(name)}**: {meaning}." for name, meaning in COLUMNS.items()]
        return "\n".join([*lines, "", *self._compare_with_trivial(), "", *notes, "", *meanings, ""])

    def _compare_with_trivial(self) -> list[str]:
        """One sentence for each model and score that a ligand that needs no model beats."""
        trivial = [r for r in self.rows if r["kind"] == "trivial"]
        lines = []
        for row in self.rows:
            if row["kind"] != "model":
                continue
            for column in _JUDGED:
                best = min(trivial, key=lambda r: r[column])
                if row[column] is None or row[column] > best[column]:
                    names = [escape_markdown(r["label"]) for r in (row, best)]
                    lines.append(f"- {names[0]} is worse than {names[1]} in {spell_units(column)}.")
        return lines


def format_csv(rows: list[dict[str, Any]], *keys: str) -> str:
    """Rows as CSV: ``keys``, label and ``COLUMNS``."""
    file = io.StringIO()
    writer = csv.DictWriter(file, [*keys, "label", *COLUMNS], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(clean_texts, rows))
    return file.getvalue()


def _format(value: float | None, spread: float | None) -> str:
    if value is None:
        return "-"
    text = f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return text if not spread or spread < 5e-4 else f"{text} ({spread:.3f})"
