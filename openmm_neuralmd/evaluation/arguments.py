"""What the functions that judge models take: a checker for each argument, by its name."""

from openmm_neuralmd.checks import (
    Check,
    a_count,
    a_mapping,
    a_number,
    a_sequence,
    an_instance,
    check_callable,
    optional,
)
from openmm_neuralmd.data.arguments import A_TRAJECTORY, check_entry
from openmm_neuralmd.dynamics.noise import check_seed
from openmm_neuralmd.models.export import Model
from openmm_neuralmd.molecule.complex import A_COMPLEX

_MODELS = a_sequence(an_instance(Model, of="a model, load_model(...)"), of="models", least=1)
_SEEDS = a_sequence(lambda name, seed: check_seed(seed, name), of="seeds", least=1)

EVALUATION_ARGUMENTS: dict[str, Check] = {
    "complex_": A_COMPLEX,
    "models": _MODELS,
    "trajectory": A_TRAJECTORY,
    "replicas": a_sequence(A_TRAJECTORY, of="trajectories"),
    "split": a_number(above=0.0, most=1.0),
    "seeds": _SEEDS,
    "n_samples": a_count(),
}
"""Of ``evaluate``."""

COMPLEXES_ARGUMENTS: dict[str, Check] = {
    "entries": a_sequence(check_entry, of="entries", least=1),
    **{name: EVALUATION_ARGUMENTS[name] for name in ("models", "seeds", "n_samples")},
    "skipped": optional(a_mapping(of="reasons")),
    "progress": optional(check_callable),
}
"""Of ``evaluate_complexes``."""
