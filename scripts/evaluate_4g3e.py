#!/usr/bin/env python3
"""Make docs/results/4g3e: the bundled models, the baselines and MD's second replica on the test part of r1.

python scripts/evaluate_4g3e.py [--work build/baselines]

Needs ../shared/data/4g3e. Trains the baselines first where they are absent (about 20 minutes on one core).
"""

import argparse
import sys
from pathlib import Path

from openmm_neuralmd.cli import main

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "4g3e"
SERIES = {
    "8ps": ("r{}_ligand_backbone_8ps.dcd", "ligand_backbone.pdb"),
    "80ps": ("r{}_complex_80ps.dcd", "complex.pdb"),
}
COMPLEX = ["--complex", "bundled", "--ligand", "0WC"]


def run(*words: str | Path) -> None:
    """One command of ``neuralmd``; stops this script where it fails."""
    if main([str(w) for w in words]) != 0:
        sys.exit(1)


def evaluate_all() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "baselines", help="where trained baselines are")
    parser.add_argument("--samples", default="64", help="paths a seed and start (default: %(default)s)")
    options = parser.parse_args()
    baselines = [options.work / f"{kind}.pt" for kind in ("gnn", "denoising", "verlet")]
    pattern, top = SERIES["8ps"]
    for model in baselines:
        if not model.exists():
            trajectory = [DATA / pattern.format(1), "--top", DATA / top, *COMPLEX]
            run("train", *trajectory, "--kind", model.stem, "--iterations", "1200", "--quiet", "--out", model)
    for name, (pattern, top) in SERIES.items():
        run(
            "evaluate", "ode", "sde", *baselines, "--trajectory", DATA / pattern.format(1),
            "--replica", DATA / pattern.format(2), "--top", DATA / top, *COMPLEX,
            "--samples", options.samples, "--out", ROOT / "docs" / "results" / "4g3e" / name,
        )  # fmt: skip


if __name__ == "__main__":
    evaluate_all()
