#!/usr/bin/env python3
"""This checkout against an older one in one run: time and memory of a snapshot, alone in OpenMM and of 64 replicas.

    git worktree add ../before COMMIT
    python benchmarks/versions.py ../before [--threads N] [--repeats N] [--json F]

Each version does each task in a process of its own; the processes take turns, so that whatever else the machine does
reaches both. The workers use public names alone, which older versions have too.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
N_SNAPSHOTS = 30  # in one timed call
N_REPLICAS = 64
_WARM_UP = 3


@dataclass(frozen=True)
class Comparison:
    """Medians of both versions: milliseconds of a replica's snapshot, wall and processor time, and memory [MB]."""

    task: str
    before: tuple[float, float, float]
    after: tuple[float, float, float]

    def format(self) -> str:
        """Three lines of a table."""
        names = ("wall [ms]", "processor [ms]", "memory [MB]")
        rows = zip(names, self.before, self.after, strict=True)
        return "\n".join(f"{self.task:10s} {n:15s} {b:9.3f} {a:9.3f} {a / b:7.3f}" for n, b, a in rows)


def make_openmm_task(threads: int) -> Callable[[], int]:
    """A lone run through OpenMM; the call returns how many snapshots it made."""
    import openmm as mm

    from openmm_neuralmd import NeuralMDForce, NeuralMDIntegrator, load_bundled_complex, load_bundled_model
    from openmm_neuralmd.simulation.rigid import build_rigid_system

    complex_ = load_bundled_complex()
    model = load_bundled_model("sde").bind(complex_)
    system = build_rigid_system(complex_)
    force = NeuralMDForce(complex_, model)
    force.add_to(system)
    integrator = NeuralMDIntegrator(force)
    context = mm.Context(system, integrator, mm.Platform.getPlatformByName("CPU"), {"Threads": str(threads)})
    steps = N_SNAPSHOTS * model.steps_per_snapshot

    def run() -> int:
        context.setPositions(complex_.positions)  # from the same start each time, with the noise of later steps
        context.setVelocities(0.0 * complex_.positions)
        integrator.step(steps)
        return N_SNAPSHOTS

    return run


def make_replicas_task(threads: int) -> Callable[[], int]:  # noqa: ARG001
    """Many replicas without OpenMM."""
    from openmm_neuralmd import load_bundled_complex, load_bundled_model, run_replicas

    complex_ = load_bundled_complex()
    model = load_bundled_model("sde").bind(complex_)

    def run() -> int:
        run_replicas(complex_, model, n_snapshots=N_SNAPSHOTS, seeds=range(N_REPLICAS))
        return N_SNAPSHOTS * N_REPLICAS

    return run


TASKS = {"openmm": make_openmm_task, "replicas": make_replicas_task}


def work(task: str, threads: int) -> None:
    """Time one call for each line that comes in."""
    import torch

    torch.set_num_threads(threads)
    run = TASKS[task](threads)
    for _ in sys.stdin:
        wall, processor = time.perf_counter(), time.process_time()
        n = run()
        times = [1e3 * (time.perf_counter() - wall) / n, 1e3 * (time.process_time() - processor) / n]
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps([*times, memory]), flush=True)


def _start(version: Path, task: str, threads: int) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--work", task, "--threads", str(threads)]
    environment = {**os.environ, "PYTHONPATH": str(version)}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=version
    )


def _ask(worker: subprocess.Popen[str]) -> list[float]:
    if worker.stdin is None or worker.stdout is None:
        raise RuntimeError("the worker has no pipes")
    worker.stdin.write("\n")
    worker.stdin.flush()
    return json.loads(worker.stdout.readline())


def compare(before: Path, task: str, *, threads: int, repeats: int) -> Comparison:
    """Both versions at one task, in turns."""
    workers = [_start(version, task, threads) for version in (before.resolve(), HERE)]
    found: tuple[list[list[float]], list[list[float]]] = ([], [])
    try:
        for k in range(_WARM_UP + repeats):
            for worker, answers in zip(workers, found, strict=True):
                answer = _ask(worker)
                if k >= _WARM_UP:
                    answers.append(answer)
    finally:
        for worker in workers:
            worker.communicate()
    medians = [tuple(map(statistics.median, zip(*answers, strict=True))) for answers in found]
    return Comparison(task, *medians)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", nargs="?", type=Path, help="folder of the older checkout")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=10, help="timed calls of each (default: %(default)s)")
    parser.add_argument("--json", metavar="F", help="write the numbers to this file too")
    parser.add_argument("--work", choices=TASKS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.work, args.threads)
        return
    if args.before is None:
        parser.error("give the folder of an older checkout")
    found = [compare(args.before, task, threads=args.threads, repeats=args.repeats) for task in TASKS]
    print(f"{args.threads} threads, {args.repeats} repeats; a replica's snapshot, target at most 1.05")
    print(f"{'task':10s} {'':15s} {'before':>9s} {'after':>9s} {'ratio':>7s}")
    print("\n".join(c.format() for c in found))
    if args.json:
        Path(args.json).write_text(json.dumps([asdict(c) for c in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
