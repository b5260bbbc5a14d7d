"""Counter-based noise: the increments of a step depend on the seed and the step's number, on nothing else.

So a path is the same alone, beside others, interrupted and resumed, and in torch as in OpenMM.
"""

from typing import Any

import numpy as np

from openmm_neuralmd.checks import is_count
from openmm_neuralmd.errors import InputError

_LARGEST_SEED = 2**64 - 1
_SHOWN = 60  # characters of what is no seed


def draw_increments(seed: int, step: int, n_noise: int) -> np.ndarray:
    """Independent standard normals of one step.

    Args:
        seed: 0 to 2^64 - 1; one for each replica.
        step: Steps taken before this one.
        n_noise: How many.

    Returns:
        float64, (n_noise,).

    Source: Philox4x64-10, Salmon et al. (2011), doi:10.1145/2063384.2063405, keyed by (seed, step).
    """
    return np.random.Generator(np.random.Philox(key=[seed, step])).standard_normal(n_noise)


def check_seed(seed: Any, name: str = "seed") -> int:
    """The seed itself; InputError where Philox cannot take it."""
    if not is_count(seed) or not 0 <= seed <= _LARGEST_SEED:
        raise InputError(f"{name} {repr(seed)[:_SHOWN]}: give an integer from 0 to 2^64 - 1")
    return int(seed)
