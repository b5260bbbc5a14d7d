#!/usr/bin/env python3
"""Bond projection on the CPU: numpy's way against torch's, medians of processor time a replica, in one run.

python benchmarks/projection.py [--repeats N]
"""

import argparse
import statistics
import time

import numpy as np
import torch

from openmm_neuralmd.dynamics.batch_projection import Projection
from openmm_neuralmd.dynamics.projection import BondProjection
from openmm_neuralmd.molecule.complex import load_bundled_complex

SIZES = (1, 8, 64, 256)  # replicas
DISPLACEMENT_NM = 0.03  # what a step of the bundled models puts bonds out of place by, or more


def measure(n_replicas: int, *, repeats: int) -> tuple[float, float]:
    """Milliseconds a replica with numpy and with torch."""
    ligand = load_bundled_complex().ligand
    arrays, tensors = BondProjection(ligand), Projection(ligand)
    shift = np.random.default_rng(0).normal(size=(n_replicas, ligand.n_atoms, 3)) * DISPLACEMENT_NM / 3**0.5
    batch = ligand.geometry + shift
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 1):
        for k, call in enumerate((arrays.project_each, lambda x: tensors.project_tensors(torch.from_numpy(x)))):
            start = time.process_time()
            call(batch)
            times[k].append(1e3 * (time.process_time() - start) / n_replicas)
    return statistics.median(times[0][1:]), statistics.median(times[1][1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7, help="timed calls of each (default: %(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("replicas  numpy [ms]  torch [ms]  ratio")
    for n in SIZES:
        first, second = measure(n, repeats=args.repeats)
        print(f"{n:8d}  {first:10.2f}  {second:10.2f}  {second / first:5.1f}")


if __name__ == "__main__":
    main()
