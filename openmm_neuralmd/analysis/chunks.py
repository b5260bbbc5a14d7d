"""Functions of single frames, applied to long trajectories a part at a time, so that temporaries stay small."""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

import numpy as np

FRAMES = 2000
"""Of a part: enough that the calls cost nothing beside the work, and few enough for the memory of any machine."""

_Atoms = TypeVar("_Atoms")


def in_chunks(function: Callable[[np.ndarray, _Atoms], np.ndarray]) -> Callable[[np.ndarray, _Atoms], np.ndarray]:
    """Call ``function(positions, atoms)`` for parts of ``positions``, (n_frames, ...), and join what it returns."""

    @wraps(function)
    def chunked(positions: np.ndarray, atoms: _Atoms) -> np.ndarray:
        if len(positions) <= FRAMES:
            return function(positions, atoms)
        parts = [function(positions[k : k + FRAMES], atoms) for k in range(0, len(positions), FRAMES)]
        return np.concatenate(parts)

    return chunked
