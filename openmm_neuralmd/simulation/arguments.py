"""What the functions that run a model take: a checker for each argument, by its name."""

from openmm_neuralmd.checks import (
    MOST_SNAPSHOTS,
    Check,
    a_count,
    a_sequence,
    check_callable,
    check_flag,
    check_path,
    check_text,
    check_threads,
    optional,
)
from openmm_neuralmd.complex import A_COMPLEX
from openmm_neuralmd.models.export import A_MODEL
from openmm_neuralmd.solvers.dynamics import check_steps_per_snapshot
from openmm_neuralmd.solvers.noise import check_seed

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
