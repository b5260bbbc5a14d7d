"""Predictions of what comes after the training part: every kind of model, and what needs no model at all.

A predictor goes on from the last two snapshots of the training part and sees nothing later.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from openmm_neuralmd.dynamics.propagator import Propagator
from openmm_neuralmd.dynamics.trivial import Frozen, HarmonicNoise
from openmm_neuralmd.models.export import Model
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.units import ANGSTROM_PER_NM

_LEAST_VARIANCE = 1e-12  # [nm^2]; of a coordinate that never changed it is 0, and L has to exist
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
    """A row for each propagator that the kind has judged: its own, as the kind prescribes it, and variants."""
    propagators = model.bind(complex_).list_propagators()
    return [
        Predictor(f"{label}, {variant}" if variant else label, propagator)
        for variant, propagator in propagators.items()
    ]


def make_frozen_predictor(history: np.ndarray) -> Predictor:
    """The last pose before the test part for ever, from snapshots [nm], (n_snapshots, n_atoms, 3)."""
    return Predictor("frozen ligand", Frozen(_convert(history[-1])))


def make_trivial_predictors(training: np.ndarray) -> list[Predictor]:
    """The last training pose frozen, the mean structure, and harmonic noise around it, from training snapshots [nm]."""
    mean = training.mean(axis=0)
    deviations = (training - mean).reshape(len(training), -1)
    covariance = deviations.T @ deviations / len(training)
    covariance = (1.0 - _SHRINKAGE) * covariance + _SHRINKAGE * np.diag(np.diag(covariance) + _LEAST_VARIANCE)
    factor = np.linalg.cholesky(covariance)
    return [
        make_frozen_predictor(training),
        Predictor("mean structure", Frozen(_convert(mean))),
        Predictor("harmonic noise", HarmonicNoise(_convert(mean), _convert(factor))),
    ]


def _convert(values: np.ndarray) -> Tensor:
    return ANGSTROM_PER_NM * torch.from_numpy(np.array(values, dtype=np.float64))
