"""Predictions of what comes after the training part: every kind of model, and what needs no model at all.

A predictor gets the last snapshots of the training part and returns sampled paths. It sees nothing later.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from openmm_neuralmd.dynamics.samplers import sample_annealed_langevin, step_velocity_verlet
from openmm_neuralmd.models.export import Model
from openmm_neuralmd.models.networks.interface import build_protein_structure
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.simulation.replicas import run_replicas
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
    """What ``make_model_predictor`` makes, and for VerletMD with a force field's energy a row that moves by it."""
    predictors = [make_model_predictor(model, complex_, label)]
    if model.metadata["config"].get("has_force_field"):
        predict = _make_verlet(model, complex_, by_force_field=True)
        predictors.append(Predictor(f"{label}, force field's energy", predict, is_random=False))
    return predictors


def make_model_predictor(model: Model, complex_: Complex, label: str) -> Predictor:
    """Rollout of a model as its kind prescribes: leapfrog with bond projection for NeuralMD, plain for baselines."""
    if model.kind == "denoising":
        return Predictor(label, _make_denoising(model, complex_), is_random=True)
    if model.kind == "verlet":
        return Predictor(label, _make_verlet(model, complex_), is_random=False)
    bound = model.bind(complex_)

    def predict(previous: np.ndarray, current: np.ndarray, n_snapshots: int, seeds: Sequence[int]) -> np.ndarray:
        return run_replicas(
            complex_,
            bound,
            n_snapshots=n_snapshots,
            seeds=seeds,
            starts=current,
            velocities=(current - previous) / bound.snapshot_interval,
            projection=model.kind != "gnn",
        )

    return Predictor(label, predict, is_random=bound.n_noise > 0)


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


def _prepare(model: Model, complex_: Complex) -> tuple[Any, Any, Any]:
    net = model.restore_network()
    structure = build_protein_structure(complex_, pocket_cutoff=float(model.metadata["config"]["pocket_cutoff"]))
    with torch.no_grad():
        return net, model.build_graph(complex_), net.embed_protein(structure)  # type: ignore[operator]


def _make_denoising(model: Model, complex_: Complex) -> Predict:
    net, graph, protein = _prepare(model, complex_)

    def compute_score(x: torch.Tensor, level: float) -> torch.Tensor:
        return torch.cat([net.compute_score(part, level, graph, protein) for part in x.split(_BATCH)])

    def predict(previous: np.ndarray, current: np.ndarray, n_snapshots: int, seeds: Sequence[int]) -> np.ndarray:
        generator = torch.Generator().manual_seed(int(seeds[0]) % 2**63)
        x = torch.from_numpy(current * ANGSTROM_PER_NM).float()
        path = []
        with torch.inference_mode():
            for _ in range(n_snapshots):
                x = sample_annealed_langevin(compute_score, x, net.levels, generator)
                path.append(x.double().numpy() * NM_PER_ANGSTROM)
        return np.stack(path)

    return predict


def _make_verlet(model: Model, complex_: Complex, *, by_force_field: bool = False) -> Predict:
    net, graph, protein = _prepare(model, complex_)

    def accelerate(x: torch.Tensor) -> torch.Tensor:
        parts = x.split(_BATCH)
        if by_force_field:
            forces = [net.compute_force_field(part, graph, protein)[1] for part in parts]
        else:
            forces = [net.compute_force(part, graph, protein) for part in parts]
        return torch.cat(forces) / graph.masses[:, None]

    def predict(previous: np.ndarray, current: np.ndarray, n_snapshots: int, seeds: Sequence[int]) -> np.ndarray:
        x = torch.from_numpy(current * ANGSTROM_PER_NM).float()
        path = []
        with torch.no_grad():
            a = accelerate(x)
            v = x - torch.from_numpy(previous * ANGSTROM_PER_NM).float() + 0.5 * a
            for _ in range(n_snapshots):
                x, v, a = step_velocity_verlet(accelerate, x, v, a, 1.0)
                path.append(x.double().numpy() * NM_PER_ANGSTROM)
        return np.stack(path)

    return predict
