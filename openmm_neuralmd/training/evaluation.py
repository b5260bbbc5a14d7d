"""``neuralmd evaluate``: models on the part of a trajectory they never saw, beside what needs no model and a replica.

From each of the last training frames, one snapshot apart in their own phase, paths are rolled out over the test part;
the prediction of a test frame uses no frame of the test part. Metrics are those of ``analysis``.
"""

import argparse
import csv
import io
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openmm_neuralmd.analysis.fluctuations import compute_energy_score, compute_rmsf, compute_wasserstein_distances
from openmm_neuralmd.analysis.metrics import (
    compute_pair_distances,
    compute_published_metrics,
    compute_rmsd,
    compute_textbook_metrics,
)
from openmm_neuralmd.analysis.validity import compute_angles, compute_bond_deviations, count_clashes, find_angles
from openmm_neuralmd.complex import Complex
from openmm_neuralmd.data.trajectories import LigandTrajectory
from openmm_neuralmd.data.windows import Split, compute_stride, split_in_time
from openmm_neuralmd.errors import InputError, NonFiniteStateError
from openmm_neuralmd.models.export import BUNDLED, Model, load_bundled_model, load_model
from openmm_neuralmd.training.options import add_data_options, load_data
from openmm_neuralmd.training.predictors import Predictor, make_model_predictor, make_trivial_predictors

ANGSTROM = 10.0
LABELS = {
    "ode": "NeuralMD ODE",
    "sde": "NeuralMD SDE",
    "gnn": "GNN-MD",
    "denoising": "DenoisingLD",
    "verlet": "VerletMD",
}
COLUMNS = {
    "paper MAE [A]": "mean |error| summed over x, y, z (the paper's MAE)",
    "paper RMSE [A]": "mean displacement (the paper's RMSE)",
    "Matching [A]": "root mean square difference of all N x N distances, mean over frames (the paper's)",
    "Stability [%]": "of N x N distances within 0.5 A (the paper's)",
    "MAE [A]": "mean |error| of a coordinate",
    "RMSE [A]": "root mean square displacement",
    "energy score [A]": "proper score of the sampled poses for each test pose; RMSD where there is one sample",
    "RMSF [A]": "mean over atoms, all sampled frames",
    "RMSF error [A]": "mean absolute difference from the test part's RMSF",
    "RMSF r": "correlation with the test part's RMSF over atoms",
    "W RMSD [A]": "Wasserstein distance of ligand RMSD (to the holo pose) to the test part's",
    "W pairs [A]": "Wasserstein distance of pair distances to the test part's, mean over pairs",
    "memory": "autocorrelation about the training mean over one snapshot interval",
    "bond dev. [A]": "root mean square deviation of bond lengths from the reference geometry",
    "worst bond [A]": "largest deviation of a bond length",
    "angle dev. [deg]": "root mean square deviation of bond angles from the reference geometry",
    "clashes": "protein-ligand clashes a frame, in the rigid protein",
    "snapshots/s": "all paths together, model evaluation and projection, this machine",
}


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``neuralmd evaluate``."""
    parser.add_argument("models", nargs="+", metavar="M.pt", help="model files, or bundled sde and ode")
    parser.add_argument("--trajectory", required=True, help="the one the models were trained on, whole")
    parser.add_argument("--replica", help="a second MD run of the same length: the floor")
    add_data_options(parser)
    parser.add_argument("--seeds", default="0,42,123", help="of sampled paths (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=64, help="paths a seed and start (default: %(default)s)")
    parser.add_argument("--out", required=True, help="folder for metrics.md, metrics.csv, metrics.json")


def run_evaluate(args: argparse.Namespace) -> None:
    """Evaluate, write the three files and print the table."""
    try:
        seeds = [int(s) for s in args.seeds.split(",")]
    except ValueError:
        raise InputError(f"--seeds {args.seeds!r}: give whole numbers with commas between, such as 0,42,123") from None
    models = [load_bundled_model(m) if m in BUNDLED else load_model(m) for m in args.models]
    data = load_data(args, [args.trajectory, *([args.replica] if args.replica else [])], part="test")
    complex_, trajectories = data.parts["test"][0]
    evaluation = evaluate(
        complex_, models, trajectories[0], trajectories[1:], split=args.split, seeds=seeds, n_samples=args.samples
    )
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("metrics.md", evaluation.format_markdown()),
        ("metrics.csv", evaluation.format_csv()),
        ("metrics.json", json.dumps({"about": evaluation.about, "rows": evaluation.rows}, indent=1) + "\n"),
    ):
        temporary = out / f".{name}.tmp"
        temporary.write_text(text)
        os.replace(temporary, out / name)
    print(evaluation.format_markdown())


@dataclass(frozen=True)
class Evaluation:
    """The table: one dictionary a row, ``label`` and ``COLUMNS`` (None where undefined), and what it was made from."""

    rows: list[dict[str, Any]]
    about: dict[str, Any]

    def format_markdown(self) -> str:
        """The table, what its columns mean, and which rows a trivial prediction beats."""
        lines = ["| |" + "|".join(COLUMNS) + "|", "|---|" + "---:|" * len(COLUMNS)]
        lines += [
            "|" + "|".join([r["label"], *(_format(r[c], r.get("spread", {}).get(c)) for c in COLUMNS)]) + "|"
            for r in self.rows
        ]
        notes = [f"- {key}: {value}" for key, value in self.about.items()]
        meanings = [f"- **{name}**: {meaning}." for name, meaning in COLUMNS.items()]
        return "\n".join([*lines, "", *self._compare_with_trivial(), "", *notes, "", *meanings, ""])

    def format_csv(self) -> str:
        """The same numbers, a row each."""
        file = io.StringIO()
        writer = csv.DictWriter(file, ["label", *COLUMNS], extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return file.getvalue()

    def _compare_with_trivial(self) -> list[str]:
        """One sentence for each model and score that a ligand that needs no model beats."""
        trivial = [r for r in self.rows if r["kind"] == "trivial"]
        lines = []
        for row in self.rows:
            if row["kind"] != "model":
                continue
            for column in ("paper MAE [A]", "energy score [A]", "W RMSD [A]", "W pairs [A]"):
                best = min(trivial, key=lambda r: r[column])
                if row[column] is None or row[column] > best[column]:
                    lines.append(f"- {row['label']} is worse than {best['label']} in {column}.")
        return lines


def evaluate(
    complex_: Complex,
    models: Sequence[Model],
    trajectory: LigandTrajectory,
    replicas: Sequence[LigandTrajectory],
    *,
    split: float,
    seeds: Sequence[int],
    n_samples: int,
) -> Evaluation:
    """Predict the test part and judge the predictions.

    Args:
        complex_: Ligand and rigid protein.
        models: All with the same snapshot interval.
        trajectory: Whole; its first ``split`` was for training.
        replicas: Other MD runs of the same length, judged on the frames of the test part.
        split: As in training.
        seeds: Of sampled paths; means and spreads are over them.
        n_samples: Paths for each seed and start.

    Raises:
        InputError: If snapshot intervals differ, the test part is too short, or a model was trained on test frames.
    """
    intervals = {float(m.metadata["snapshot_interval"]) for m in models}
    if len(intervals) != 1:
        raise InputError(f"the models have different snapshot intervals ({sorted(intervals)} ps); evaluate them apart")
    parts = split_in_time(len(trajectory.snapshots), split=split)
    for model in models:
        _check_not_trained_on_test(model, trajectory, parts)
    stride = compute_stride(trajectory.frame_interval, intervals.pop())
    if parts.end - parts.test < 2 or parts.test < 2 * stride:
        raise InputError(f"{trajectory.source}: {parts.end} frames at split {split} leave too few to start or to test")
    training, test = trajectory.snapshots[: parts.test], trajectory.snapshots[parts.test :]
    judge = _Judge(complex_, training.mean(axis=0), test, stride)
    predictors = [(make_model_predictor(m, complex_, LABELS[m.kind]), "model") for m in models]
    predictors += [(p, "trivial") for p in make_trivial_predictors(training)]
    rows = []
    for predictor, kind in predictors:
        scored = []
        for seed in seeds if predictor.is_random else seeds[:1]:
            paths, speed = _predict(predictor, training, len(test), stride, seed, n_samples)
            scored.append({**judge.score(paths), "snapshots/s": speed if kind == "model" else None})
        rows.append({"label": predictor.label, "kind": kind, **_average(scored)})
    for replica in replicas:
        series = replica.snapshots[parts.test : parts.end]
        if len(series) != len(test):
            raise InputError(f"{replica.source}: {len(replica.snapshots)} frames, {parts.end} were expected")
        rows.append({"label": f"MD, {replica.source}", "kind": "md", **judge.score(series[None]), "snapshots/s": None})
    about = {
        "trajectory": f"{trajectory.source} (SHA-256 {trajectory.sha256[:12]}), frames {parts.test} to {parts.end} of "
        f"{parts.end}, {trajectory.frame_interval:g} ps apart; snapshots {stride * trajectory.frame_interval:g} ps"
        " apart",
        "superposition": f"{trajectory.superposed_on}, on the rigid protein; ligand heavy atoms",
        "seeds": f"{', '.join(map(str, seeds))}; {n_samples} paths each, mean (and standard deviation over seeds)",
        "models": ", ".join(f"{LABELS[m.kind]} {m.path.name} ({m.sha256[:12]})" for m in models),
    }
    return Evaluation(rows, about)


class _Judge:
    """All metrics of predicted paths against one test part."""

    def __init__(self, complex_: Complex, mean: np.ndarray, test: np.ndarray, stride: int) -> None:
        ligand = complex_.ligand
        self.ligand, self.mean, self.test, self.stride = ligand, mean, test, stride
        self.pairs = np.stack(np.triu_indices(ligand.n_atoms, k=1), axis=1)
        self.angles = find_angles(ligand.bonds)
        own = {*ligand.atom_indices.tolist(), *ligand.hydrogen_indices.tolist()}
        protein = [a for a in complex_.topology.atoms() if a.index not in own and a.element.atomic_number > 1]
        self.protein = complex_.positions[[a.index for a in protein]]
        self.protein_elements = np.array([a.element.atomic_number for a in protein])

    def score(self, paths: np.ndarray) -> dict[str, float | None]:
        """Metrics of sampled paths [nm], (n_samples, n_frames, n_atoms, 3)."""
        if not np.isfinite(paths).all() or np.abs(paths).max() > 1e4:
            return dict.fromkeys(COLUMNS)
        published = _mean_dict([compute_published_metrics(p, self.test) for p in paths])
        textbook = _mean_dict([compute_textbook_metrics(p, self.test, self.ligand.bonds) for p in paths])
        pooled = paths.reshape(-1, *paths.shape[2:])
        thinned = pooled[:: max(1, len(pooled) // 2000)]
        pose = self.ligand.positions
        rmsf, expected = compute_rmsf(pooled), compute_rmsf(self.test)
        deviations = compute_bond_deviations(pooled, self.ligand.geometry, self.ligand.bonds)
        turned = compute_angles(thinned, self.angles) - compute_angles(self.ligand.geometry[None], self.angles)
        rmsds = [compute_rmsd(x, pose)[:, None] for x in (pooled, self.test)]
        distances = [compute_pair_distances(x, self.pairs) for x in (thinned, self.test)]
        d = paths - self.mean
        memory = (d[:, self.stride :] * d[:, : -self.stride]).sum() / max((d**2).sum(), 1e-12)
        memory *= paths.shape[1] / (paths.shape[1] - self.stride)
        clashes = count_clashes(
            thinned,
            self.protein,
            ligand_elements=self.ligand.atomic_numbers,
            protein_elements=self.protein_elements,
        )
        scores = [compute_energy_score(paths[:, k], self.test[k]) for k in range(len(self.test))]
        return {
            "paper MAE [A]": ANGSTROM * published["mae_nm"],
            "paper RMSE [A]": ANGSTROM * published["rmse_nm"],
            "Matching [A]": ANGSTROM * published["matching_nm"],
            "Stability [%]": published["stability_percent"],
            "MAE [A]": ANGSTROM * textbook["mae_nm"],
            "RMSE [A]": ANGSTROM * textbook["rmse_nm"],
            "energy score [A]": ANGSTROM * float(np.mean(scores)),
            "RMSF [A]": ANGSTROM * float(rmsf.mean()),
            "RMSF error [A]": ANGSTROM * float(np.abs(rmsf - expected).mean()),
            "RMSF r": float(np.corrcoef(rmsf, expected)[0, 1]) if rmsf.std() > 1e-9 else None,
            "W RMSD [A]": ANGSTROM * float(compute_wasserstein_distances(*rmsds)[0]),
            "W pairs [A]": ANGSTROM * float(compute_wasserstein_distances(*distances).mean()),
            "memory": float(memory) if (d**2).sum() > 1e-9 else None,
            "bond dev. [A]": ANGSTROM * float(np.sqrt((deviations**2).mean())),
            "worst bond [A]": ANGSTROM * float(np.abs(deviations).max()),
            "angle dev. [deg]": math.degrees(float(np.sqrt((turned**2).mean()))),
            "clashes": float(clashes.mean()),
        }


def _predict(
    predictor: Predictor, training: np.ndarray, n_test: int, stride: int, seed: int, n_samples: int
) -> tuple[np.ndarray, float]:
    """Sampled paths over the test part [nm], (n_samples, n_test, n_atoms, 3), and snapshots a second.

    The last ``stride`` training frames start one path each; together, a snapshot apart, they meet every test frame.
    """
    n_samples = n_samples if predictor.is_random else 1
    current, previous = training[-stride:], training[-2 * stride : -stride]
    n_snapshots = -(-n_test // stride)
    seeds = np.random.default_rng(seed).integers(2**63, size=n_samples * stride).tolist()
    repeat = (n_samples, 1, 1)
    start = time.perf_counter()
    try:
        path = predictor.predict(np.tile(previous, repeat), np.tile(current, repeat), n_snapshots, seeds)
    except NonFiniteStateError:
        path = np.full((n_snapshots, n_samples * stride, *training.shape[1:]), np.nan)
    speed = n_snapshots * n_samples * stride / (time.perf_counter() - start)
    by_sample = path.reshape(n_snapshots, n_samples, stride, *training.shape[1:]).swapaxes(0, 1)
    return by_sample.reshape(n_samples, n_snapshots * stride, *training.shape[1:])[:, :n_test], speed


def _check_not_trained_on_test(model: Model, trajectory: LigandTrajectory, parts: Split) -> None:
    for used in model.metadata.get("training", {}).get("trajectories", []):
        if used["sha256"] == trajectory.sha256 and used["frames_validation"][1] > parts.test:
            raise InputError(
                f"{model.path}: trained on frames up to {used['frames_validation'][1]} of {trajectory.source}, the "
                f"test part begins at {parts.test}; give the --split it was trained with"
            )


def _mean_dict(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def _average(scored: Sequence[dict[str, float | None]]) -> dict[str, Any]:
    """Mean over seeds, and their standard deviation as ``spread``."""
    mean: dict[str, Any] = {}
    spread: dict[str, float] = {}
    for key in scored[0]:
        values = [row[key] for row in scored]
        known = [v for v in values if v is not None]
        mean[key] = float(np.mean(known)) if len(known) == len(values) else None
        if len(known) == len(values) > 1:
            spread[key] = float(np.std(known))
    return {**mean, "spread": spread}


def _format(value: float | None, spread: float | None) -> str:
    if value is None:
        return "-"
    text = f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return text if not spread or spread < 5e-4 else f"{text} ({spread:.3f})"
