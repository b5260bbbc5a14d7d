"""Models on MD they never saw, beside what needs no model and a replica.

One trajectory: from each of the last training frames, one snapshot apart in their own phase, paths are rolled out over
the test part. Several complexes: each trajectory is rolled out whole from its first two snapshots. Either way the
prediction of a test frame uses no frame of the test part.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from openmm_neuralmd.checks import check_arguments
from openmm_neuralmd.data.entries import Entry
from openmm_neuralmd.data.leakage import find_leaks, name_complexes, read_identities
from openmm_neuralmd.data.trajectories import LigandTrajectory
from openmm_neuralmd.data.windows import compute_stride, split_in_time
from openmm_neuralmd.dynamics.ensembles import report_failures, run_ensemble
from openmm_neuralmd.errors import InputError, ModelContractError
from openmm_neuralmd.evaluation.arguments import COMPLEXES_ARGUMENTS, EVALUATION_ARGUMENTS
from openmm_neuralmd.evaluation.predictors import (
    Predictor,
    make_frozen_predictor,
    make_model_predictors,
    make_trivial_predictors,
)
from openmm_neuralmd.evaluation.scores import COLUMNS, Judge, Score, combine
from openmm_neuralmd.evaluation.table import Evaluation
from openmm_neuralmd.models.export import Model
from openmm_neuralmd.models.registry import get_kind
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.units import ANGSTROM_PER_NM, NM_PER_ANGSTROM

_OWN_COLUMNS = ("RMSF [A]", "autocorr. time [ps]", "bond dev. [A]", "worst bond [A]", "angle dev. [deg]", "clashes")
Row = dict[str, Any]


@check_arguments(**EVALUATION_ARGUMENTS)
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
    """Predict the test part of one trajectory and judge the predictions.

    Args:
        complex_: Ligand and rigid protein.
        models: All with the same snapshot interval.
        trajectory: Whole; its first ``split`` was for training.
        replicas: Other MD runs of the same length, judged on the frames of the test part.
        split: As in training.
        seeds: Of sampled paths.
        n_samples: Paths for each seed and start.

    Raises:
        InputError: If snapshot intervals differ, the test part is too short, or a model was trained on test frames.
    """
    interval = _find_interval(models)
    parts = split_in_time(len(trajectory.snapshots), split=split)
    for model in models:
        _check_not_trained_on(model, trajectory, parts.test)
    stride = compute_stride(trajectory.frame_interval, interval)
    if parts.end - parts.test < 2 or parts.test < 2 * stride:
        raise InputError(
            f"{trajectory.source}: {parts.end} frames at split {split:g} (`split`) leave too few to start or to test"
        )
    training, test = trajectory.snapshots[: parts.test], trajectory.snapshots[parts.test :]
    judge = Judge(complex_, test, stride=stride, interval=interval)
    predictors = [(p, "model") for m in models for p in make_model_predictors(m, complex_, _label(m))]
    predictors += [(p, "trivial") for p in make_trivial_predictors(training)]
    rows = [_judge_predictor(judge, p, kind, training, seeds, n_samples) for p, kind in predictors]
    own = judge.score(test[None], training.mean(axis=0))
    rows.append(_make_row("MD, the test part itself", "md", [_keep_own_columns(own)]))
    for replica in replicas:
        series = replica.snapshots[parts.test : parts.end]
        if len(series) != len(test):
            raise InputError(f"{replica.source}: {len(replica.snapshots)} frames, {parts.end} were expected")
        score = judge.score(series[None], replica.snapshots[: parts.test].mean(axis=0))
        rows.append(_make_row(f"MD, {replica.source}", "md", [score]))
    about = {
        "trajectory": f"{trajectory.source} (SHA-256 {trajectory.sha256[:12]}), frames {parts.test} to {parts.end} of "
        f"{parts.end}, {trajectory.frame_interval:g} ps apart; snapshots {interval:g} ps apart",
        "superposition": f"{trajectory.superposed_on}, on the rigid protein; ligand heavy atoms",
        **_describe_sampling(models, seeds, n_samples),
        "in brackets": "standard deviation over all sampled paths (columns up to RMSE), over seeds (the others)",
    }
    return Evaluation(rows, about)


@check_arguments(**COMPLEXES_ARGUMENTS)
def evaluate_complexes(
    entries: Sequence[Entry],
    models: Sequence[Model],
    *,
    seeds: Sequence[int],
    n_samples: int,
    skipped: dict[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Roll out every trajectory of complexes that no model was trained on, and average over complexes.

    The first two snapshots start each path; what follows is the test part. The mean structure and harmonic noise need
    frames of the same complex to learn from, so the frozen ligand is the only trivial row. Where a complex has several
    trajectories they are each other's replicas.

    Args:
        entries: Complexes with their trajectories.
        models, seeds, n_samples: As in ``evaluate``.
        skipped: Complexes left out before and why, by name; those a model cannot read are added.
        progress: Called with the number of complexes done, and of how many in all.

    Raises:
        InputError: If snapshot intervals differ, a trajectory is too short, a model was trained on one, or no complex
            can be read by all models.
    """
    interval = _find_interval(models)
    left_out = dict(skipped or {})
    by_complex: dict[str, list[Row]] = {}
    names = name_complexes([entry.complex for entry in entries])
    for done, (name, entry) in enumerate(zip(names, entries, strict=True)):
        if progress is not None:
            progress(done, len(entries))
        try:
            predictors = [(p, "model") for m in models for p in make_model_predictors(m, entry.complex, _label(m))]
        except ModelContractError as error:
            left_out[name] = str(error)
            continue
        tables = [
            _judge_whole(entry, k, models, predictors, interval=interval, seeds=seeds, n_samples=n_samples)
            for k in range(len(entry.trajectories))
        ]
        by_complex[name] = _average_trajectories(tables)
    if progress is not None:
        progress(len(entries), len(entries))
    if not by_complex:
        raise InputError(f"no complex is left to evaluate on; the first: {next(iter(left_out.values()))}")
    about = {
        "complexes": f"{len(by_complex)}, each rolled out whole from its first two snapshots, {interval:g} ps apart; "
        "mean over complexes",
        **({"left out": "; ".join(left_out.values())} if left_out else {}),
        **describe_rows(by_complex),
        **_describe_leaks(entries, models),
        "trivial rows": "the frozen ligand only: mean structure and harmonic noise are not known for an unseen complex",
        **_describe_sampling(models, seeds, n_samples),
        "in brackets": "standard deviation over complexes",
    }
    return Evaluation(average_rows(list(by_complex.values())), about, by_complex)


def _judge_whole(
    entry: Entry,
    chosen: int,
    models: Sequence[Model],
    predictors: Sequence[tuple[Predictor, str]],
    *,
    interval: float,
    seeds: Sequence[int],
    n_samples: int,
) -> list[Row]:
    """Rows for one trajectory of a complex, from its third snapshot on."""
    trajectory = entry.trajectories[chosen]
    for model in models:
        _check_not_trained_on(model, trajectory, 0)
    stride = compute_stride(trajectory.frame_interval, interval)
    start = 2 * stride
    history, test = trajectory.snapshots[:start], trajectory.snapshots[start:]
    if len(test) < 2:
        raise InputError(
            f"{trajectory.source}: {len(trajectory.snapshots)} frames are too few: two snapshots to start from and two "
            f"to predict, {interval:g} ps apart, are needed"
        )
    judge = Judge(entry.complex, test, stride=stride, interval=interval)
    judged = [*predictors, (make_frozen_predictor(history), "trivial")]
    rows = [_judge_predictor(judge, p, kind, history, seeds, n_samples) for p, kind in judged]
    rows.append(_make_row("MD itself", "md", [_keep_own_columns(judge.score(test[None]))]))
    others = [t for k, t in enumerate(entry.trajectories) if k != chosen and len(t.snapshots) == start + len(test)]
    if others:
        rows.append(_make_row("MD, replica", "md", [judge.score(t.snapshots[None, start:]) for t in others]))
    return rows


def _judge_predictor(
    judge: Judge, predictor: Predictor, kind: str, history: np.ndarray, seeds: Sequence[int], n_samples: int
) -> Row:
    scores, speeds = [], []
    for seed in seeds if predictor.is_random else seeds[:1]:
        paths, speed = _predict(predictor, history, len(judge.test), judge.stride, seed, n_samples)
        scores.append(judge.score(paths))
        speeds.append(speed)
    row = _make_row(predictor.label, kind, scores)
    return {**row, "snapshots/s": float(np.mean(speeds))} if kind == "model" else row


def _make_row(label: str, kind: str, scores: Sequence[Score]) -> Row:
    mean, spread = combine(scores)
    return {"label": label, "kind": kind, **mean, "spread": spread}


def _keep_own_columns(score: Score) -> Score:
    """Without the columns that compare with the test part, for the test part itself."""
    return Score({name: value if name in _OWN_COLUMNS else None for name, value in score.values.items()})


def average_rows(tables: Sequence[Sequence[Row]]) -> list[Row]:
    """Rows of the same label averaged over tables, each column over those where it is defined."""
    labels = {row["label"]: row["kind"] for table in tables for row in table}
    averaged = []
    for label, kind in labels.items():
        rows = _find_rows(tables, label)
        known = {name: [row[name] for row in rows if row[name] is not None] for name in COLUMNS}
        mean = {name: float(np.mean(values)) if values else None for name, values in known.items()}
        spread = {name: float(np.std(values)) for name, values in known.items() if len(values) > 1}
        averaged.append({"label": label, "kind": kind, **mean, "spread": spread})
    return averaged


def describe_rows(by_complex: Mapping[str, Sequence[Row]]) -> dict[str, str]:
    """For ``Evaluation.about``: which rows do not speak of all complexes, models that broke and rows that some lack."""
    tables = list(by_complex.values())
    labels = {row["label"]: row["kind"] for table in tables for row in table}
    broken = {k: sum(map(_is_broken, _find_rows(tables, k))) for k, kind in labels.items() if kind == "model"}
    present = {k: len(_find_rows(tables, k)) for k in labels}
    found = {
        "not finite, and left out of the mean": {k: n for k, n in broken.items() if n},
        "rows of some complexes only": {k: n for k, n in present.items() if n < len(tables)},
    }
    return {
        key: "; ".join(f"{label} in {n} of {len(tables)}" for label, n in counts.items())
        for key, counts in found.items()
        if counts
    }


def _average_trajectories(tables: Sequence[Sequence[Row]]) -> list[Row]:
    """Rows of one complex, over its trajectories; a model that broke on one of them is broken."""
    rows = average_rows(tables)
    for row in rows:
        if row["kind"] == "model" and any(map(_is_broken, _find_rows(tables, row["label"]))):
            row.update(dict.fromkeys(COLUMNS), spread={})
    return rows


def _find_rows(tables: Sequence[Sequence[Row]], label: str) -> list[Row]:
    return [row for table in tables for row in table if row["label"] == label]


def _is_broken(row: Row) -> bool:
    return row["paper MAE [A]"] is None


def _predict(
    predictor: Predictor, history: np.ndarray, n_test: int, stride: int, seed: int, n_samples: int
) -> tuple[np.ndarray, float]:
    """Sampled paths over the test part [nm], (n_samples, n_test, n_atoms, 3), and snapshots a second.

    The last ``stride`` frames before it start one path each; together, a snapshot apart, they meet every test frame.
    A path that breaks is NaN from there on.
    """
    n_samples = n_samples if predictor.is_random else 1
    n_snapshots = -(-n_test // stride)
    last = np.stack([history[-2 * stride : -stride], history[-stride:]], axis=1)
    starts = ANGSTROM_PER_NM * torch.from_numpy(np.tile(last, (n_samples, 1, 1, 1)))
    seeds = np.random.default_rng(seed).integers(2**63, size=len(starts)).tolist()
    begun = time.perf_counter()
    ensemble = run_ensemble(predictor.propagator, starts, seeds, n_snapshots)
    speed = n_snapshots * len(starts) / (time.perf_counter() - begun)
    report_failures(ensemble)
    by_sample = NM_PER_ANGSTROM * ensemble.path.unflatten(1, (n_samples, stride)).transpose(0, 1)
    return by_sample.flatten(1, 2)[:, :n_test].numpy(), speed


def _label(model: Model) -> str:
    return get_kind(model.kind).label


def _find_interval(models: Sequence[Model]) -> float:
    intervals = {float(m.metadata["snapshot_interval"]) for m in models}
    if len(intervals) != 1:
        raise InputError(f"the models have different snapshot intervals ({sorted(intervals)} ps); evaluate them apart")
    return intervals.pop()


def _check_not_trained_on(model: Model, trajectory: LigandTrajectory, first: int) -> None:
    """Raise InputError if a model saw frames of a trajectory from ``first`` on."""
    for used in model.metadata.get("training", {}).get("trajectories", []):
        if used["sha256"] == trajectory.sha256 and used["frames_validation"][1] > first:
            raise InputError(
                f"{model.path}: trained on frames up to {used['frames_validation'][1]} of {trajectory.source}, the "
                f"test part begins at {first}; "
                + ("give the `split` it was trained with" if first else "give complexes that it was not trained on")
            )


def _describe_sampling(models: Sequence[Model], seeds: Sequence[int], n_samples: int) -> dict[str, str]:
    return {
        "seeds": f"{', '.join(map(str, seeds))}; {n_samples} paths each",
        "models": ", ".join(f"{_label(m)} {m.path.name} ({m.sha256[:12]})" for m in models),
    }


def _describe_leaks(entries: Sequence[Entry], models: Sequence[Model]) -> dict[str, str]:
    """What the models' training complexes give away of these; one entry for each set of training complexes."""
    described: dict[str, str] = {}
    for model in models:
        known = read_identities(model.metadata)
        complexes = [entry.complex for entry in entries]
        leaks = find_leaks(known, dict(zip(name_complexes(complexes), complexes, strict=True)))
        told = f"{len(leaks)} of {len(entries)} share protein or scaffold with its {len(known)} training complexes"
        text = "the model file does not say what it was trained on" if not known else told
        described[f"leakage, {model.path.name}"] = "; ".join([text, *map(str, leaks[:10])])
    return described
