"""What the functions that run a model take: a checker for each argument, by its name."""

from typing import cast

from openmm_neuralmd.checks import (
    MOST_SNAPSHOTS,
    Check,
    a_count,
    a_sequence,
    an_instance,
    check_callable,
    check_flag,
    check_path,
    check_text,
    check_threads,
    optional,
)
from openmm_neuralmd.dynamics.equation import check_steps_per_snapshot
from openmm_neuralmd.dynamics.noise import check_seed
from openmm_neuralmd.errors import ModelContractError
from openmm_neuralmd.models.bound import BoundForce, BoundModel, BoundPropagator
from openmm_neuralmd.models.export import Model
from openmm_neuralmd.molecule.complex import A_COMPLEX, Complex

A_MODEL = an_instance(
    Model,
    BoundModel,
    of="a model, load_model(...) or load_bundled_model(...)",
    has=("make_propagator", "ligand", "snapshot_interval"),
)
"""Checker of a model, bound or not; whatever makes propagators as ``BoundModel`` does is one."""

FORCE_ARGUMENTS: dict[str, Check] = {
    "complex_": A_COMPLEX,
    "model": A_MODEL,
    "seed": lambda name, seed: check_seed(seed, name),
    "projection": check_flag,
    "backend": check_text,
}
"""Of ``NeuralMDForce``."""

RUN_ARGUMENTS: dict[str, Check] = {
    **FORCE_ARGUMENTS,
    "out": check_path,
    "n_snapshots": a_count(most=MOST_SNAPSHOTS),
    "steps_per_snapshot": optional(lambda _, steps: check_steps_per_snapshot(steps)),
    "scheme": optional(check_text),
    "platform": check_text,
    "threads": lambda name, threads: check_threads(threads, name),
    "resume": check_flag,
    "overwrite": check_flag,
    "formats": a_sequence(check_text, of="names of formats"),
    "progress": optional(check_callable),
}
"""Of ``simulate``."""

REPLICA_ARGUMENTS: dict[str, Check] = {
    **{name: FORCE_ARGUMENTS[name] for name in ("complex_", "model", "projection")},
    "seeds": a_sequence(FORCE_ARGUMENTS["seed"], of="seeds"),
    "steps_per_snapshot": RUN_ARGUMENTS["steps_per_snapshot"],
    "scheme": RUN_ARGUMENTS["scheme"],
}
"""Of ``run_replicas``."""


def bind_model(model: Model | BoundModel, complex_: Complex) -> BoundModel:
    """The model itself if it is bound to the complex already; else bound to it.

    Raises:
        ModelContractError: If it does not fit the ligand, or is bound to another complex.
    """
    bound = model.bind(complex_) if isinstance(model, Model) else model
    if isinstance(bound, BoundModel):
        bound.check_complex(complex_)
    elif bound.ligand.n_atoms != complex_.ligand.n_atoms:  # whatever makes propagators as a bound model does
        raise ModelContractError(
            f"the model is bound to {bound.ligand.n_atoms} atoms, ligand {complex_.ligand.name} has "
            f"{complex_.ligand.n_atoms} heavy atoms: bind it to this complex"
        )
    return bound


def bind_force(model: Model | BoundModel, complex_: Complex) -> BoundForce:
    """As ``bind_model``, of a kind that is a force.

    Raises:
        ModelContractError: As there, or if it is none.
    """
    bound = bind_model(model, complex_)
    if isinstance(bound, BoundPropagator):
        raise ModelContractError(f"{bound.path}: a model of kind {bound.kind} is no force")
    return cast(BoundForce, bound)
