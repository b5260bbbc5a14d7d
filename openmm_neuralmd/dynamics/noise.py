"""Counter-based noise: the normals of a step depend on the seed and the step's number, on nothing else.

So a path is the same alone, beside others, interrupted and resumed, on the CPU and on a GPU. Random words come from
Philox4x64-10 keyed by (seed, step); they are equal to the bit everywhere. One fixed transform makes normals of them.

Source: Salmon et al. (2011), doi:10.1145/2063384.2063405; Box and Muller (1958), doi:10.1214/aoms/1177706645.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openmm_neuralmd.checks import LARGEST_SEED, is_count
from openmm_neuralmd.errors import InputError

NOISE = "Philox4x64-10 and Box-Muller"
"""What makes the noise of a seed; a run that was made with another one cannot go on."""
_SHOWN = 60  # characters of what is no seed
_ROUNDS = 10  # the 10 of Philox4x64-10
_WORDS = 4  # of one counter
# of Philox4x64: Salmon et al. (2011), table 2 and section 4.3
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_INCREMENTS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)  # of the key, each round
_LOW = 0xFFFFFFFF  # the lower half of a word
_MANTISSA = 53  # bits of a double


def draw_normals(seeds: Sequence[int], step: int, n: int, *, device: torch.device | str = "cpu") -> Tensor:
    """Independent standard normals of one step.

    Args:
        seeds: 0 to 2^64 - 1, one for each replica.
        step: Steps taken before this one.
        n: How many for each replica.
        device: Where they are made.

    Returns:
        float64, (n_replicas, n).
    """
    n_words = 2 * -(-n // 2)
    if torch.device(device).type != "cpu":
        return make_normals(compute_words(seeds, step, n_words, device=device))[:, :n]
    return torch.from_numpy(_make_normals_in_numpy(_draw_raw(seeds, step, n_words))[:, :n])


def compute_words(seeds: Sequence[int], step: int, n: int, *, device: torch.device | str = "cpu") -> Tensor:
    """Random words of one step from integer arithmetic in torch: 64 bits each, in int64, (n_replicas, n)."""
    signed = [_sign(seed) for seed in seeds]
    keys = [torch.tensor(signed, device=device)[:, None], torch.tensor(_sign(step), device=device)]
    count = torch.arange(1, -(-n // _WORDS) + 1, device=device).expand(len(signed), -1)  # NumPy counts from 1
    c0, c1, c2, c3 = count, torch.zeros_like(count), torch.zeros_like(count), torch.zeros_like(count)
    for _ in range(_ROUNDS):
        high0, low0 = _multiply(_MULTIPLIERS[0], c0)
        high1, low1 = _multiply(_MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ keys[0], low1, high0 ^ c3 ^ keys[1], low0
        keys = [key + _sign(increment) for key, increment in zip(keys, _INCREMENTS, strict=True)]
    return torch.stack([c0, c1, c2, c3], dim=-1).flatten(1)[:, :n]


def make_normals(words: Tensor) -> Tensor:
    """Standard normals, float64, from as many words (..., even number): Box and Muller's transform of pairs."""
    scale = 2.0**-_MANTISSA
    first, second = _shift(words, 64 - _MANTISSA).unflatten(-1, (-1, 2)).unbind(-1)
    radius = torch.sqrt(-2.0 * torch.log((first + 1).to(torch.float64) * scale))  # of (0, 1], so never infinite
    angle = (2.0 * math.pi * scale) * second.to(torch.float64)
    return torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1).flatten(-2)


def _draw_raw(seeds: Sequence[int], step: int, n: int) -> np.ndarray:
    """The same words of NumPy's Philox, which is compiled, uint64, (n_replicas, n)."""
    keys = np.array([[seed, step] for seed in seeds], dtype=np.uint64)  # a list of large seeds would become floats
    return np.stack([np.random.Philox(key=key).random_raw(n) for key in keys])


def _make_normals_in_numpy(words: np.ndarray) -> np.ndarray:
    """``make_normals`` where calls dominate: a lone run on the CPU, in which torch's take a tenth of a millisecond."""
    scale = 2.0**-_MANTISSA
    mantissas = words >> np.uint64(64 - _MANTISSA)
    radius = np.sqrt(-2.0 * np.log((mantissas[:, ::2] + np.uint64(1)) * scale))
    angle = (2.0 * math.pi * scale) * mantissas[:, 1::2]
    normals = np.empty(words.shape)
    np.multiply(radius, np.cos(angle), out=normals[:, ::2])
    np.multiply(radius, np.sin(angle), out=normals[:, 1::2])
    return normals


def check_seed(seed: Any, name: str = "seed") -> int:
    """The seed itself; InputError where Philox cannot take it."""
    if not is_count(seed) or not 0 <= seed <= LARGEST_SEED:
        raise InputError(f"{name} {repr(seed)[:_SHOWN]}: give an integer from 0 to 2^64 - 1")
    return int(seed)


def _multiply(a: int, b: Tensor) -> tuple[Tensor, Tensor]:
    """Upper and lower 64 bits of the unsigned product, from products of halves."""
    a_low, a_high, b_low, b_high = a & _LOW, a >> 32, b & _LOW, _shift(b, 32)
    middle = a_high * b_low + _shift(a_low * b_low, 32)
    carry = a_low * b_high + (middle & _LOW)
    return a_high * b_high + _shift(middle, 32) + _shift(carry, 32), _sign(a) * b


def _shift(words: Tensor, n_bits: int) -> Tensor:
    """Unsigned words shifted to the right; torch's own shift repeats the sign."""
    return (words >> n_bits) & ((1 << (64 - n_bits)) - 1)


def _sign(word: int) -> int:
    """The signed integer of the same 64 bits."""
    return word - 2**64 if word >= 2**63 else word
