#!/usr/bin/env python3
"""Hold out one protein after another: train on the others, judge on all its complexes, write one table.

python scripts/evaluate_complexes.py COMPLEXES.csv --work build/complexes --out docs/results/complexes

COMPLEXES.csv has the columns of `neuralmd train --complexes` but "part", and beside them "protein" (what is held out
together) and "md" (how the MD was made, for the table). Each step is a command of `neuralmd`, printed before it runs;
models that are there already are not trained again. OUT/whole: every trajectory from its first two snapshots.
OUT/second_half: from the middle on, beside a mean structure and harmonic noise that know the first half.
"""

import argparse
import csv
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from openmm_neuralmd.cli import main
from openmm_neuralmd.data.entries import TABLE_COLUMNS
from openmm_neuralmd.evaluation.evaluate import average_rows, describe_rows
from openmm_neuralmd.evaluation.table import Evaluation
from openmm_neuralmd.models.applicability import assess_applicability
from openmm_neuralmd.models.export import load_model
from openmm_neuralmd.molecule.complex import load_complex
from openmm_neuralmd.units import ANGSTROM_PER_NM

Row = dict[str, str]


def run(*words: object) -> None:
    """One command of ``neuralmd``; stops this script where it fails."""
    text = [str(w) for w in words]
    print(shlex.join(["neuralmd", *text]), flush=True)
    if main(text) != 0:
        sys.exit(1)


def read_table(path: Path) -> list[Row]:
    """The rows, files relative to the table made absolute."""
    with path.open(newline="") as file:
        rows = [{key: value.strip() for key, value in row.items()} for row in csv.DictReader(file)]
    for row in rows:
        row.update({key: str(path.parent.resolve() / row[key]) for key in ("trajectory", "top", "sdf", "complex")})
    return rows


def write_part(path: Path, rows: Sequence[Row], part: str) -> Path:
    """A table for ``neuralmd --complexes``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, TABLE_COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "part": part} for row in rows)
    return path


def train_fold(held: str, rows: Sequence[Row], options: argparse.Namespace) -> list[Path]:
    """Models trained on all proteins but ``held``."""
    folder = options.work / held
    training = write_part(folder / "training.csv", [r for r in rows if r["protein"] != held], "training")
    models = [folder / f"{kind}.pt" for kind in options.kinds.split(",")]
    for model in models:
        if not model.exists():
            run(
                "train", "--complexes", training, "--kind", model.stem, "--lag", options.lag, "--split", 1,
                "--iterations", options.iterations, "--threads", 1, "--quiet", "--out", model,
            )  # fmt: skip
    return models


def judge_whole(models: Sequence[Path], rows: Sequence[Row], samples: str) -> dict[str, Any]:
    """What ``neuralmd evaluate --complexes`` says of complexes."""
    folder = models[0].parent
    test = write_part(folder / "test.csv", rows, "test")
    run("evaluate", *models, "--complexes", test, "--samples", samples, "--out", folder / "whole")
    return dict(json.loads((folder / "whole" / "metrics.json").read_text()))


def judge_second_half(models: Sequence[Path], rows: Sequence[Row], samples: str) -> list[dict[str, Any]]:
    """Rows of ``neuralmd evaluate --trajectory`` for one complex, whose second trajectory is the replica."""
    row, folder = rows[0], models[0].parent / f"second_half_{rows[0]['ligand']}"
    replica = ["--replica", rows[1]["trajectory"]] if len(rows) > 1 else []
    run(
        "evaluate", *models, "--trajectory", row["trajectory"], *replica, "--top", row["top"], "--complex",
        row["complex"], "--ligand", row["ligand"], "--sdf", row["sdf"], "--split", 0.5, "--samples", samples,
        "--out", folder,
    )  # fmt: skip
    return [
        {**r, "label": "MD, replica" if r["kind"] == "md" and "itself" not in r["label"] else r["label"]}
        for r in json.loads((folder / "metrics.json").read_text())["rows"]
    ]


def try_model(row: Row, options: argparse.Namespace) -> str:
    """How far the complex is from the training data of its fold, and how 20 snapshots of the model go there."""
    model, out = options.work / row["protein"] / "sde.pt", options.work / row["protein"] / f"run_{row['ligand']}"
    complex_ = load_complex(row["complex"], row["ligand"], sdf=row["sdf"])
    run(
        "simulate", row["complex"], "--ligand", row["ligand"], "--sdf", row["sdf"], "--model", model,
        "--snapshots", 20, "--quiet", "--force", "--out", out,
    )  # fmt: skip
    known = assess_applicability(complex_, load_model(model).metadata)
    log = np.genfromtxt(out / "log.csv", delimiter=",", names=True)
    worst = ANGSTROM_PER_NM * np.max(log["max_bond_deviation_nm"])
    return (
        f"ligand similarity {known.ligand_similarity:.2f}, sequence identity {known.sequence_identity:.2f}; 20 "
        f"snapshots of NeuralMD SDE through OpenMM: {len(log)} written, all finite, worst bond {worst:.2f} A off"
    )


def evaluate_all() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("complexes", type=Path, metavar="COMPLEXES.csv")
    parser.add_argument("--work", type=Path, default=Path("build/complexes"), help="where models go")
    parser.add_argument("--kinds", default="sde,ode,gnn,verlet", help="of models (default: %(default)s)")
    parser.add_argument("--lag", default="8", help="snapshot interval [ps] (default: %(default)s)")
    parser.add_argument("--iterations", default="600", help="default: %(default)s")
    parser.add_argument("--samples", default="16", help="paths a seed and start (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = read_table(options.complexes)
    whole: dict[str, list[dict[str, Any]]] = {}
    halves: dict[str, list[dict[str, Any]]] = {}
    about: dict[str, str] = {}
    for held in dict.fromkeys(row["protein"] for row in rows):
        own = [row for row in rows if row["protein"] == held]
        models = train_fold(held, rows, options)
        found = judge_whole(models, own, options.samples)
        leaks = {text for key, text in found["about"].items() if key.startswith("leakage")}
        about |= {"seeds": found["about"]["seeds"], f"leakage, {held} held out": "; ".join(leaks)}
        for ligand, table in zip(dict.fromkeys(r["ligand"] for r in own), found["complexes"].values(), strict=True):
            same = [row for row in own if row["ligand"] == ligand]
            name = f"{held} with {ligand}"
            whole[name], halves[name] = table, judge_second_half(models, same, options.samples)
            about[f"MD of {name}"] = "; ".join(row["md"] for row in same)
            about[f"run on {name}"] = try_model(same[0], options)
    for name, by_complex, text in (
        ("whole", whole, "each trajectory rolled out whole from its first two snapshots"),
        ("second_half", halves, "each trajectory from its middle on; the trivial rows alone know its first half"),
    ):
        notes = {"complexes": f"{len(by_complex)}, {text}; mean over complexes"} | describe_rows(by_complex) | about
        evaluation = Evaluation(average_rows(list(by_complex.values())), notes, by_complex)
        notes["in brackets"] = "standard deviation over complexes"
        evaluation.write(options.out / name)
        print(evaluation.format_markdown())


if __name__ == "__main__":
    evaluate_all()
