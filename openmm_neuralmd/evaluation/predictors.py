"""Predictions of what comes after the training part: every kind of model, and what needs no model at all.

A predictor goes on from the last two snapshots of the training part and sees nothing later.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openmm_neuralmd.dynamics.annealed import AnnealedLangevin
from openmm_neuralmd.dynamics.propagator import Propagator
from openmm_neuralmd.dynamics.trivial import Frozen, HarmonicNoise
from openmm_neuralmd.dynamics.verlet import VelocityVerlet
from openmm_neuralmd.models.export import Model
from openmm_neuralmd.models.networks.interface import build_protein_structure
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.units import ANGSTROM_PER_NM

_SHRINKAGE = 0.05  # of the harmonic baseline's covariance towards its diagonal: fewer frames than coordinates


@dataclass(frozen=True)
class Predictor:
    """A row of the table: its name, and what advances its paths."""

    label: str
    propagator: Propagator

    @property
    def is_random(self) -> bool:
        """Whether the seed matters."""
        return self.propagator.is_random


def make_model_predictors(model: Model, complex_: Complex, label: str) -> list[Predictor]:
    """Rollouts of a model as its kind prescribes, one row each.

    VerletMD with a force field's energy has a row that moves by it, too.
    """
    propagators = _make_propagators(model, complex_)
    return [Predictor(label + ending, propagator) for ending, propagator in propagators.items()]


def make_frozen_predictor(history: np.ndarray) -> Predictor:
    """The last pose before the test part for ever, from snapshots [nm], (n_snapshots, n_atoms, 3)."""
    return Predictor("frozen ligand", Frozen(_convert(history[-1])))


def make_trivial_predictors(training: np.ndarray) -> list[Predictor]:
    """The last training pose frozen, the mean structure, and harmonic noise around it, from training snapshots [nm]."""
    mean = training.mean(axis=0)
    deviations = (training - mean).reshape(len(training), -1)
    covariance = deviations.T @ deviations / len(training)
    covariance = (1.0 - _SHRINKAGE) * covariance + _SHRINKAGE * np.diag(np.diag(covariance))
    factor = np.linalg.cholesky(covariance)
    return [
        make_frozen_predictor(training),
        Predictor("mean structure", Frozen(_convert(mean))),
        Predictor("harmonic noise", HarmonicNoise(_convert(mean), _convert(factor))),
    ]


def _convert(values: np.ndarray) -> Tensor:
    return ANGSTROM_PER_NM * torch.from_numpy(np.array(values, dtype=np.float64))


def _make_propagators(model: Model, complex_: Complex) -> dict[str, Propagator]:
    """By how their labels end: bonds are projected for NeuralMD, baselines move as their papers say."""
    if model.kind not in ("denoising", "verlet"):
        return {"": model.bind(complex_).make_propagator(projection=model.kind != "gnn")}
    net: Any = model.restore_network()
    structure = build_protein_structure(complex_, pocket_cutoff=float(model.metadata["config"]["pocket_cutoff"]))
    with torch.no_grad():
        graph, protein = model.build_graph(complex_), net.embed_protein(structure)
    if model.kind == "denoising":
        return {"": _make_annealed(net, graph, protein)}
    propagators: dict[str, Propagator] = {"": _make_verlet(net.compute_force, graph, protein)}
    if model.metadata["config"].get("has_force_field"):
        by_force_field = _make_verlet(lambda *inputs: net.compute_force_field(*inputs)[1], graph, protein)
        propagators[", force field's energy"] = by_force_field
    return propagators


def _make_annealed(net: Any, graph: Any, protein: Any) -> AnnealedLangevin:
    def compute_score(x: Tensor, level: float) -> Tensor:
        return net.compute_score(x.float(), level, graph, protein).to(x)

    return AnnealedLangevin(compute_score, net.levels)


def _make_verlet(compute_force: Any, graph: Any, protein: Any) -> VelocityVerlet:
    def accelerate(x: Tensor) -> Tensor:
        with torch.inference_mode(mode=False), torch.no_grad():  # a force is a gradient, which inference mode has not
            return (compute_force(x.float().clone(), graph, protein) / graph.masses[:, None]).to(x)

    return VelocityVerlet(accelerate)
