"""The table of an evaluation: names in it are text, in markdown, CSV and JSON."""

import csv
import json
from pathlib import Path

from openmm_neuralmd.evaluation.scores import COLUMNS
from openmm_neuralmd.evaluation.table import Evaluation

HOSTILE = "a|b`c`\n<img src=x> $x$ [u](v) \x1b[31m\udcff"
SHOWN = "a|b`c` <img src=x> $x$ [u](v) \ufffd[31m\ufffd"


def make_row(label: str, kind: str, value: float) -> dict[str, object]:
    return {"label": label, "kind": kind, **dict.fromkeys(COLUMNS, value)}


def test_names_do_not_break_the_table(tmp_path: Path) -> None:
    rows = [make_row(HOSTILE, "model", 2.0), make_row("frozen", "trivial", 1.0)]
    evaluation = Evaluation(rows, {f"leakage, {HOSTILE}": HOSTILE, "seeds": "0, 1"}, {HOSTILE: rows})
    evaluation.write(tmp_path)
    lines = (tmp_path / "metrics.md").read_text(encoding="utf-8").split("\n")
    n_cells = lines[0].count("|")
    assert [line.replace("\\|", "").count("|") for line in lines[:4]] == [n_cells] * 4
    assert lines[2].startswith(r"|a\|b\`c\` \<img src=x\> \$x\$ \[u\](v) " + "\ufffd")
    assert "- seeds: 0, 1" in lines
    assert sum(line.startswith(r"- a\|b\`c\` \<img") for line in lines) == 4
    for name, column in (("metrics.csv", "label"), ("complexes.csv", "complex")):
        with (tmp_path / name).open(encoding="utf-8", newline="") as file:
            assert next(csv.DictReader(file))[column] == SHOWN
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content["rows"][0]["label"] == SHOWN
    assert list(content["complexes"]) == [SHOWN]


def test_plain_names_stay_as_they_are(tmp_path: Path) -> None:
    label = "MD, r2_complex_80ps.dcd (SHA-256 0a1b2c)"
    text = Evaluation([make_row(label, "md", 1.0)], {"trajectory": label}).format_markdown()
    assert f"|{label}|" in text
    assert f"- trajectory: {label}" in text
