"""``neuralmd benchmark``: speed and memory on this machine, warm, as medians."""

import argparse
import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openmm as mm
import torch

from openmm_neuralmd.checks import a_count, check_arguments, check_threads
from openmm_neuralmd.dynamics.threads import use_threads
from openmm_neuralmd.files import check_output_file, write_atomically
from openmm_neuralmd.models.export import BUNDLED, load_bundled_model
from openmm_neuralmd.molecule.complex import load_bundled_complex
from openmm_neuralmd.options import threads, whole
from openmm_neuralmd.simulation.arguments import bind_force
from openmm_neuralmd.simulation.force import NeuralMDForce
from openmm_neuralmd.simulation.integrators import NeuralMDIntegrator
from openmm_neuralmd.simulation.rigid import build_rigid_system
from openmm_neuralmd.units import ANGSTROM_PER_NM

_WARM_UP = 10  # TorchScript specializes during the first calls


def add_benchmark_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``neuralmd benchmark``."""
    parser.add_argument("--threads", **threads(), default=os.cpu_count(), help="CPU threads (default: %(default)s)")
    parser.add_argument("--repeats", **whole(), default=100, help="timed calls of each kind (default: %(default)s)")
    parser.add_argument("--json", metavar="F", help="write the numbers to this file too")


def run_benchmark(args: argparse.Namespace) -> None:
    """Measure, print a table, write JSON where asked."""
    if args.json:
        check_output_file(args.json, "--json")
    with use_threads(args.threads):
        result = measure(threads=args.threads, repeats=args.repeats)
    print(format_table(result))
    if args.json:
        write_atomically(Path(args.json), json.dumps(result, indent=1) + "\n")


@check_arguments(threads=lambda name, threads: check_threads(threads, name), repeats=a_count())
def measure(*, threads: int, repeats: int) -> dict[str, Any]:
    """Medians [ms] for the bundled complex and models, and the peak resident memory [GB] of this process."""
    complex_ = load_bundled_complex()
    rows = []
    for kind in BUNDLED:
        model = load_bundled_model(kind)
        bound = bind_force(model, complex_)
        x = torch.from_numpy(complex_.ligand.positions * ANGSTROM_PER_NM).to(bound.dtype)[None]
        increments = torch.zeros(1, bound.n_noise, dtype=bound.dtype)
        with torch.inference_mode():
            force = _time(lambda b=bound, p=x: b.compute_force(p), repeats)  # type: ignore[misc]
            step = _time(lambda b=bound, p=x, i=increments: b.compute_force_and_noise(p, i), repeats)  # type: ignore[misc]
        rows.append({"model": kind, "what": "force evaluation", "median_ms": force})
        rows.append({"model": kind, "what": "force and noise", "median_ms": step})
        for steps in (1, 2):
            snapshot = _time_snapshot(complex_, bound, steps, threads, repeats)
            name = f"snapshot through OpenMM, {steps} step{'s' * (steps > 1)}"
            rows.append({"model": kind, "what": name, "median_ms": snapshot})
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
