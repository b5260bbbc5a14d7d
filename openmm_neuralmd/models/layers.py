"""Small parts that the three networks share."""

from itertools import pairwise
from typing import List

import torch
from torch import Tensor, nn


class MLP(nn.Module):
    """Linear layers with SiLU between them, for invariants only; ``last_scale`` shrinks the initial output."""

    def __init__(self, sizes: List[int], *, last_scale: float = 1.0) -> None:
        super().__init__()
        layers: List[nn.Module] = []
        for n_in, n_out in pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), nn.SiLU()]
        self.layers = nn.Sequential(*layers[:-1])
        with torch.no_grad():
            for parameter in layers[-2].parameters():
                parameter.mul_(last_scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class VectorLinear(nn.Module):
    """Mixes the channels of vector features (..., 3, n_in) without bias: commutes with rotations."""

    def __init__(self, n_in: int, n_out: int, scale: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_in, n_out) * (scale / n_in**0.5))

    def forward(self, vectors: Tensor) -> Tensor:
        return vectors @ self.weight


def sum_at(values: Tensor, index: Tensor, n_targets: int) -> Tensor:
    """Sum of ``values`` (n, ...) over equal entries of ``index`` (n,), giving (n_targets, ...)."""
    shape = [n_targets] + list(values.shape[1:])
    return torch.zeros(shape, dtype=values.dtype, device=values.device).index_add(0, index, values)
