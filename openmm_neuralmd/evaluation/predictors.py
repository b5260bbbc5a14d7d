"""Predictions of what comes after the training part: every kind of model, and what needs no model at all.

A predictor gets the last snapshots of the training part and returns sampled paths. It sees nothing later.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from openmm_neuralmd.dynamics.propagator import Propagator, propagate
from openmm_neuralmd.models.export import Model
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.units import ANGSTROM_PER_NM, NM_PER_ANGSTROM

Predict = Callable[[np.ndarray, np.ndarray, int, Sequence[int]], np.ndarray]
_BATCH = 16  # replicas evaluated at once: 640 do not fit the processor's caches, and cost twice as much each
_SHRINKAGE = 0.05  # of the harmonic baseline's covariance towards its diagonal: fewer frames than coordinates


@dataclass(frozen=True)
class Predictor:
    """A row of the table.

    Attributes:
        label: Its name.
        predict: previous, current [nm] (n, n_atoms, 3), number of snapshots, one seed for each of the n starts ->
            positions [nm], (n_snapshots, n, n_atoms, 3).
        is_random: Whether the seed matters.
    """

    label: str
    predict: Predict
    is_random: bool


def make_model_predictors(model: Model, complex_: Complex, label: str) -> list[Predictor]:
    """A row for each propagator that the kind has judged: its own, as the kind prescribes it, and variants."""
    bound = model.bind(complex_)
    return [
        Predictor(f"{label}, {variant}" if variant else label, _roll_out(propagator), propagator.is_random)
        for variant, propagator in bound.list_propagators().items()
    ]


def _roll_out(propagator: Propagator) -> Predict:
    def predict(previous: np.ndarray, current: np.ndarray, n_snapshots: int, seeds: Sequence[int]) -> np.ndarray:
        history = ANGSTROM_PER_NM * torch.from_numpy(np.stack([previous, current], axis=1))
        paths = []
        with torch.inference_mode():
            for k in range(0, len(history), _BATCH):
                batch = slice(k, k + _BATCH)
                path, _ = propagate(propagator, propagator.start(history[batch], seeds[batch]), n_snapshots)
                paths.append(NM_PER_ANGSTROM * path.numpy())
        return np.concatenate(paths, axis=1)

    return predict


def make_frozen_predictor() -> Predictor:
    """The last pose before the test part, for ever."""

    def freeze(previous: np.ndarray, current: np.ndarray, n_snapshots: int, seeds: Sequence[int]) -> np.ndarray:
        return np.broadcast_to(current[-1], (n_snapshots, *current.shape))

    return Predictor("frozen ligand", freeze, is_random=False)


def make_trivial_predictors(training: np.ndarray) -> list[Predictor]:
    """The last training pose frozen, the mean structure, and harmonic noise around it, from training snapshots [nm]."""
    mean = training.mean(axis=0)
    deviations = (training - mean).reshape(len(training), -1)
    covariance = deviations.T @ deviations / len(training)
    covariance = (1.0 - _SHRINKAGE) * covariance + _SHRINKAGE * np.diag(np.diag(covariance))
    factor = np.linalg.cholesky(covariance)

    def average(previous: np.ndarray, current: np.ndarray, n_snapshots: int, seeds: Sequence[int]) -> np.ndarray:
        return np.broadcast_to(mean, (n_snapshots, *current.shape))

    def vibrate(previous: np.ndarray, current: np.ndarray, n_snapshots: int, seeds: Sequence[int]) -> np.ndarray:
        draws = [np.random.default_rng(seed).standard_normal((n_snapshots, len(factor))) for seed in seeds]
        return mean + (np.stack(draws, axis=1) @ factor.T).reshape(n_snapshots, *current.shape)

    return [
        make_frozen_predictor(),
        Predictor("mean structure", average, is_random=False),
        Predictor("harmonic noise", vibrate, is_random=True),
    ]
