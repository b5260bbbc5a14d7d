"""Speed and memory on this machine, warm, as medians."""

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import openmm as mm
import torch

from openmm_neuralmd.checks import a_count, check_arguments, check_threads
from openmm_neuralmd.dynamics.threads import use_threads
from openmm_neuralmd.models.export import BUNDLED, load_bundled_model
from openmm_neuralmd.molecule.complex import Complex, load_bundled_complex
from openmm_neuralmd.simulation.arguments import bind_force
from openmm_neuralmd.simulation.force import NeuralMDForce
from openmm_neuralmd.simulation.integrators import NeuralMDIntegrator
from openmm_neuralmd.simulation.rigid import build_rigid_system
from openmm_neuralmd.units import ANGSTROM_PER_NM

_WARM_UP = 10  # TorchScript specializes during the first calls


@check_arguments(threads=lambda name, threads: check_threads(threads, name), repeats=a_count())
def measure(*, threads: int, repeats: int) -> dict[str, Any]:
    """Medians [ms] for the bundled complex and models, and the peak resident memory [GB] of this process."""
    complex_ = load_bundled_complex()
    with use_threads(threads):
        rows = [row for kind in BUNDLED for row in _measure_model(complex_, kind, threads, repeats)]
    return {
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "threads": threads},
        "versions": {"openmm": mm.Platform.getOpenMMVersion(), "torch": torch.__version__},
        "complex": f"4G3E, {complex_.ligand.n_atoms} ligand heavy atoms, {complex_.protein.n_residues} residues",
        "repeats": repeats,
        "rows": rows,
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2,
    }


def format_table(result: dict[str, Any]) -> str:
    """The numbers as text."""
    machine = result["machine"]
    lines = [
        f"{result['complex']}; {machine['threads']} threads, {result['repeats']} repeats, "
        f"OpenMM {result['versions']['openmm']}, torch {result['versions']['torch']}",
        f"{'model':6s} {'what':36s} {'median':>10s}",
    ]
    lines += [f"{r['model']:6s} {r['what']:36s} {r['median_ms']:7.2f} ms" for r in result["rows"]]
    return "\n".join([*lines, f"peak resident memory {result['peak_memory_gb']:.2f} GB"])


def _measure_model(complex_: Complex, kind: str, threads: int, repeats: int) -> list[dict[str, Any]]:
    """Rows of one bundled model."""
    bound = bind_force(load_bundled_model(kind), complex_)
    x = torch.from_numpy(complex_.ligand.positions * ANGSTROM_PER_NM).to(bound.dtype)[None]
    increments = torch.zeros(1, bound.n_noise, dtype=bound.dtype)
    with torch.inference_mode():
        medians = {
            "force evaluation": _time(lambda: bound.compute_force(x), repeats),
            "force and noise": _time(lambda: bound.compute_force_and_noise(x, increments), repeats),
        }
    for steps in (1, 2):
        name = f"snapshot through OpenMM, {steps} step{'s' * (steps > 1)}"
        medians[name] = _time_snapshot(complex_, bound, steps, threads, repeats)
    return [{"model": kind, "what": what, "median_ms": median} for what, median in medians.items()]


def _time_snapshot(complex_: Any, bound: Any, steps: int, threads: int, repeats: int) -> float:
    """Median [ms] of a snapshot inside OpenMM, bond projection included, nothing written."""
    system = build_rigid_system(complex_)
    force = NeuralMDForce(complex_, bound)
    force.add_to(system)
    integrator = NeuralMDIntegrator(force, steps_per_snapshot=steps)
    cpu = mm.Platform.getPlatformByName("CPU")
    context = mm.Context(system, integrator, cpu, {"Threads": str(threads)})
    context.setPositions(complex_.positions)
    return _time(lambda: integrator.step(steps), repeats)


def _time(call: Callable[[], Any], repeats: int) -> float:
    """Median time of a call [ms], after a warm-up."""
    for _ in range(_WARM_UP):
        call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)
