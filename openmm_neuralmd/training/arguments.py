"""What the functions that train and judge models take: a checker for each argument, by its name."""

from typing import Any

import torch

from openmm_neuralmd.checks import (
    Check,
    a_choice,
    a_count,
    a_mapping,
    a_number,
    a_sequence,
    an_instance,
    check_callable,
    check_flag,
    check_path,
    describe,
    optional,
)
from openmm_neuralmd.complex import A_COMPLEX, Complex
from openmm_neuralmd.data.trajectories import LigandTrajectory
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.models.export import Model
from openmm_neuralmd.models.registry import KINDS
from openmm_neuralmd.solvers.noise import check_seed
from openmm_neuralmd.training.labels import ForceFieldLabels
from openmm_neuralmd.training.loop import TrainingSettings

_A_TRAJECTORY = an_instance(LigandTrajectory, of="a LigandTrajectory, load_ligand_trajectory(...)")


def check_entry(name: str, value: Any) -> Any:
    """A complex and its trajectories, an ``Entry``."""
    if not isinstance(value, tuple) or len(value) != 2 or not isinstance(value[0], Complex):
        raise InputError(f"{name} is {describe(value)}; give an Entry(complex, trajectories)")
    a_sequence(_A_TRAJECTORY, of="trajectories", least=1)(f"{name}.trajectories", value[1])
    return value


_MODELS = a_sequence(an_instance(Model, of="a model, load_model(...)"), of="models", least=1)
_SEEDS = a_sequence(lambda name, seed: check_seed(seed, name), of="seeds", least=1)

TRAINING_ARGUMENTS: dict[str, Check] = {
    "entries": a_sequence(check_entry, of="entries", least=1),
    "out": check_path,
    "kind": a_choice(KINDS),
    "snapshot_interval": a_number(above=0.0),
    "held_out": a_sequence(check_entry, of="entries"),
    "skipped": optional(a_mapping(of="reasons")),
    "split": a_number(above=0.0, most=1.0),
    "config": optional(a_mapping(of="arguments of the network")),
    "settings": an_instance(TrainingSettings, of="TrainingSettings(...)"),
    "device": an_instance(torch.device, of="a torch.device"),
    "labels": a_sequence(an_instance(ForceFieldLabels, of="ForceFieldLabels"), of="labels"),
    "resume": check_flag,
    "report": optional(check_callable),
}
"""Of ``train_model``."""

EVALUATION_ARGUMENTS: dict[str, Check] = {
    "complex_": A_COMPLEX,
    "models": _MODELS,
    "trajectory": _A_TRAJECTORY,
    "replicas": a_sequence(_A_TRAJECTORY, of="trajectories"),
    "split": a_number(above=0.0, most=1.0),
    "seeds": _SEEDS,
    "n_samples": a_count(),
}
"""Of ``evaluate``."""

COMPLEXES_ARGUMENTS: dict[str, Check] = {
    "entries": a_sequence(check_entry, of="entries", least=1),
    **{name: EVALUATION_ARGUMENTS[name] for name in ("models", "seeds", "n_samples")},
    "skipped": optional(a_mapping(of="reasons")),
}
"""Of ``evaluate_complexes``."""
