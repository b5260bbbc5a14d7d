"""Copies in formats that this package reads anyway."""

from collections.abc import Iterator
from pathlib import Path

import mdtraj
import numpy as np

from openmm_neuralmd.io.trajectories import read_frames


def read_positions(path: Path, topology: mdtraj.Topology) -> Iterator[np.ndarray]:
    """Positions [nm], (n_frames, n_atoms, 3), some frames at a time."""
    for chunk in read_frames(path, topology):
        yield chunk.xyz
