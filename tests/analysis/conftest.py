"""A small random path, as numbers and as an mdtraj trajectory."""

import mdtraj
import numpy as np
import pytest


@pytest.fixture
def random_path() -> np.ndarray:
    """Eight carbons that wander about fixed places [nm], (60, 8, 3), float64."""
    rng = np.random.default_rng(7)
    steps = rng.normal(scale=0.02, size=(60, 8, 3))
    path = np.zeros_like(steps)
    for k in range(1, len(path)):
        path[k] = 0.9 * path[k - 1] + steps[k]
    return path + rng.uniform(0.0, 0.8, size=(8, 3))


@pytest.fixture
def random_trajectory(random_path: np.ndarray) -> mdtraj.Trajectory:
    topology = mdtraj.Topology()
    residue = topology.add_residue("LIG", topology.add_chain())
    for k in range(random_path.shape[1]):
        topology.add_atom(f"C{k + 1}", mdtraj.element.carbon, residue)
    return mdtraj.Trajectory(random_path.astype(np.float32), topology)
