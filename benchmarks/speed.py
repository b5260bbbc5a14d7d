#!/usr/bin/env python3
"""What a snapshot costs, and what it does not depend on: medians and their ratios, warm, in one run.

    python benchmarks/speed.py [--threads N] [--repeats N] [--json F]

Each pair of numbers is measured in turns, so that whatever else the machine does reaches both.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import openmm as mm
import torch
from openmm.app import Element

from openmm_neuralmd.models.bound import BoundForce
from openmm_neuralmd.models.export import load_bundled_model
from openmm_neuralmd.molecule.complex import Complex, Protein, load_bundled_complex
from openmm_neuralmd.simulation.computation import LigandComputation
from openmm_neuralmd.simulation.force import NeuralMDForce
from openmm_neuralmd.simulation.integrators import NeuralMDIntegrator
from openmm_neuralmd.simulation.replicas import run_replicas
from openmm_neuralmd.simulation.rigid import build_rigid_system
from openmm_neuralmd.units import ANGSTROM_PER_NM

N_REPLICAS = 64
SIZES = (300, 3000)  # residues
N_ATOMS = (5_200, 50_000)  # particles of the System
N_SOLVATED = 40_000  # particles of a System with other forces
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
_N_SNAPSHOTS = 30  # in one timed call, of which setting a replica up is a small part
_WARM_UP = 3


@dataclass(frozen=True)
class Ratio:
    """Two medians [ms] and their ratio, with the target."""

    what: str
    first: str
    first_ms: float
    second: str
    second_ms: float
    ratio: float
    target: str


def measure_openmm_overhead(complex_: Complex, model: BoundForce, *, threads: int, repeats: int, clock: str) -> Ratio:
    """A snapshot through OpenMM against one of the rollout in torch, one replica, bond projection included."""
    context = _create_context(complex_, model, threads)
    inside, outside = _time_in_turns(
        lambda: context.getIntegrator().step(_N_SNAPSHOTS * model.steps_per_snapshot),
        lambda: run_replicas(complex_, model, n_snapshots=_N_SNAPSHOTS, seeds=[0]),
        repeats,
        CLOCKS[clock],
    )
    return _compare("OpenMM over torch", "OpenMM", inside / _N_SNAPSHOTS, "torch", outside / _N_SNAPSHOTS, "<= 1.25")


def measure_replicas(
    complex_: Complex, model: BoundForce, *, repeats: int, clock: str, n_replicas: int = N_REPLICAS
) -> Ratio:
    """A snapshot of one replica alone against one of a replica among many."""
    alone, together = _time_in_turns(
        lambda: run_replicas(complex_, model, n_snapshots=_N_SNAPSHOTS, seeds=[0]),
        lambda: run_replicas(complex_, model, n_snapshots=_N_SNAPSHOTS, seeds=range(n_replicas)),
        repeats,
        CLOCKS[clock],
    )
    many = f"each of {n_replicas}"
    return _compare(
        "replicas at once", "alone", alone / _N_SNAPSHOTS, many, together / _N_SNAPSHOTS / n_replicas, ">= 8"
    )


def measure_protein_size(complex_: Complex, *, repeats: int, clock: str, sizes: tuple[int, int] = SIZES) -> Ratio:
    """Force and noise in a large protein against a small one with the same pocket."""
    calls = []
    for n_residues in sizes:
        grown = replace(complex_, protein=grow_protein(complex_.protein, n_residues))
        model = load_bundled_model("sde").bind(grown)
        x = torch.from_numpy(complex_.ligand.positions * ANGSTROM_PER_NM).to(model.dtype)[None]
        increments = torch.zeros(1, model.n_noise, dtype=model.dtype)
        calls.append(lambda m=model, p=x, i=increments: m.compute_force_and_noise(p, i))
    with torch.inference_mode():
        small, large = _time_in_turns(calls[0], calls[1], 10 * repeats, CLOCKS[clock])
    return _compare("protein size", f"{sizes[1]} residues", large, f"{sizes[0]} residues", small, "<= 1.10")


def measure_frozen_atoms(
    complex_: Complex, model: BoundForce, *, threads: int, repeats: int, clock: str, sizes: tuple[int, int] = N_ATOMS
) -> Ratio:
    """A snapshot in a large System against one in a small System: the time from OpenMM's calls to their answers.

    The calls do the same in both, with the ligand's positions alone. What they take longer for is caches that OpenMM's
    copying has emptied.
    """
    small, large = (_create_context(add_atoms(complex_, n), model, threads) for n in sizes)
    n_steps = _N_SNAPSHOTS * model.steps_per_snapshot
    with _time_own_code(CLOCKS[clock]) as own:
        second, first = _time_in_turns(
            lambda: small.getIntegrator().step(n_steps), lambda: large.getIntegrator().step(n_steps), 3 * repeats, own
        )
    names = [f"{n} particles" for n in sizes]
    return _compare("frozen atoms", names[1], first / _N_SNAPSHOTS, names[0], second / _N_SNAPSHOTS, "<= 1.10")


def measure_other_forces(
    complex_: Complex,
    model: BoundForce,
    *,
    threads: int,
    repeats: int,
    clock: str,
    attach: bool,
    n_atoms: int = N_SOLVATED,
) -> Ratio:
    """A step in a System dense as water with nonbonded forces against one without; each step is read, as reporters do.

    Attached, steps are taken beside the first System's Context (``NeuralMDIntegrator.attach``); else inside it.
    """
    solvated = add_atoms(complex_, n_atoms, spacing=0.22, row=round(n_atoms ** (1 / 3)))
    full = _create_context(solvated, model, threads, has_other_forces=True)
    if attach:
        full.integrator.attach(full)
    bare = _create_context(solvated, model, threads)

    def run(context: mm.Context) -> None:
        for _ in range(_N_SNAPSHOTS):
            context.integrator.step(1)
            context.getState(positions=True).getPositions(asNumpy=True)

    first, second = _time_in_turns(lambda: run(full), lambda: run(bare), repeats, CLOCKS[clock])
    how, target = ("attached", "<= 1.5") if attach else ("not attached", "OpenMM's")
    return _compare("other forces", how, first / _N_SNAPSHOTS, "without", second / _N_SNAPSHOTS, target)


@contextmanager
def _time_own_code(clock: Callable[[], float]) -> Iterator[Callable[[], float]]:
    """A clock that runs only while OpenMM waits for the learned force, its projection or its vibration."""
    spent = 0.0
    call = LigandComputation.__call__

    def timed(self: LigandComputation, *args: Any) -> Any:
        nonlocal spent
        start = clock()
        try:
            return call(self, *args)
        finally:
            spent += clock() - start

    with patch.object(LigandComputation, "__call__", timed):
        yield lambda: spent


def grow_protein(protein: Protein, n_residues: int) -> Protein:
    """The first residues of a protein, then copies of it 10 nm apart until there are enough."""
    n_copies = -(-n_residues // protein.n_residues)
    shifts = 10.0 * np.arange(n_copies)[:, None, None, None] * np.array([1.0, 0.0, 0.0])
    backbone = (protein.backbone[None] + shifts).reshape(-1, 3, 3)
    return Protein(
        np.tile(protein.residue_types, n_copies)[:n_residues],
        backbone[:n_residues],
        np.tile(protein.is_linked, n_copies)[:n_residues],
        np.tile(protein.ca_indices, n_copies)[:n_residues],
    )


def add_atoms(complex_: Complex, n_atoms: int, *, spacing: float = 0.5, row: int = 100) -> Complex:
    """The complex beside more atoms, one a residue, in layers of rows; they take no part but stand in the System.

    Args:
        complex_: The complex.
        n_atoms: Atoms it shall have then.
        spacing: Between the added ones [nm].
        row: Added atoms in a row, and rows in a layer.
    """
    topology = deepcopy(complex_.topology)
    chain = topology.addChain()
    n_more = n_atoms - topology.getNumAtoms()
    for _ in range(n_more):
        topology.addAtom("AR", Element.getBySymbol("Ar"), topology.addResidue("AR", chain))
    k = np.arange(n_more)
    more = np.array([20.0, 0.0, 0.0]) + spacing * np.column_stack([k % row, k // row % row, k // row**2])
    return replace(complex_, topology=topology, positions=np.concatenate([complex_.positions, more]))


def _create_context(
    complex_: Complex, model: BoundForce, threads: int, *, has_other_forces: bool = False
) -> mm.Context:
    system = build_rigid_system(complex_)
    if has_other_forces:
        other = mm.NonbondedForce()
        other.setNonbondedMethod(mm.NonbondedForce.CutoffNonPeriodic)
        other.setCutoffDistance(0.9)
        for _ in range(system.getNumParticles()):
            other.addParticle(0.0, 0.1, 0.0)
        system.addForce(other)
    force = NeuralMDForce(complex_, model)
    force.add_to(system)
    integrator = NeuralMDIntegrator(force)
    context = mm.Context(system, integrator, mm.Platform.getPlatformByName("CPU"), {"Threads": str(threads)})
    context.setPositions(complex_.positions)
    context.integrator = integrator  # getIntegrator() hands back a plain CustomIntegrator
    return context


def _time_in_turns(
    first: Callable[[], Any], second: Callable[[], Any], repeats: int, clock: Callable[[], float]
) -> tuple[float, float]:
    """Median times of two calls [ms], after a warm-up."""
    times: tuple[list[float], list[float]] = ([], [])
    for k in range(_WARM_UP + repeats):
        for call, found in zip((first, second), times, strict=True):
            start = clock()
            call()
            if k >= _WARM_UP:
                found.append(1e3 * (clock() - start))
    return statistics.median(times[0]), statistics.median(times[1])


def _compare(what: str, first: str, first_ms: float, second: str, second_ms: float, target: str) -> Ratio:
    return Ratio(what, first, first_ms, second, second_ms, first_ms / second_ms, target)


def measure(*, threads: int, repeats: int, clock: str) -> list[Ratio]:
    """All comparisons, with the bundled complex and Langevin model."""
    torch.set_num_threads(threads)
    complex_ = load_bundled_complex()
    model = load_bundled_model("sde").bind(complex_)
    return [
        measure_openmm_overhead(complex_, model, threads=threads, repeats=repeats, clock=clock),
        measure_replicas(complex_, model, repeats=repeats, clock=clock),
        measure_protein_size(complex_, repeats=repeats, clock=clock),
        measure_frozen_atoms(complex_, model, threads=threads, repeats=repeats, clock=clock),
        *(
            measure_other_forces(complex_, model, threads=threads, repeats=repeats, clock=clock, attach=attach)
            for attach in (True, False)
        ),
    ]


def format_table(ratios: list[Ratio]) -> str:
    """The comparisons as text, a line each."""
    lines = [f"{'what':18s} {'median':>30s}   {'median':>30s} {'ratio':>7s}  target"]
    for r in ratios:
        first, second = f"{r.first} {r.first_ms:.2f} ms", f"{r.second} {r.second_ms:.2f} ms"
        lines.append(f"{r.what:18s} {first:>30s} / {second:>30s} {r.ratio:7.2f}  {r.target}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=10, help="timed calls of each kind (default: %(default)s)")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: processor time, where other work disturbs the wall clock"
    )
    parser.add_argument("--json", metavar="F", help="write the numbers to this file too")
    args = parser.parse_args()
    ratios = measure(threads=args.threads, repeats=args.repeats, clock=args.clock)
    print(f"{args.threads} threads, {args.repeats} repeats, {args.clock} time, a replica's snapshot each")
    print(format_table(ratios))
    if args.json:
        Path(args.json).write_text(json.dumps([asdict(r) for r in ratios], indent=1) + "\n")


if __name__ == "__main__":
    main()
