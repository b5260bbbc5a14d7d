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


def append_bias(weight: Tensor, bias: Tensor) -> Tensor:
    """(n_out, n_in + 1): the linear map whose last input carries the bias.

    For w (W x + b) = [W b] (w x, w): a weight applied to the input is cheaper than to the output, and commutes with a
    sum over pairs.
    """
    return torch.cat([weight, bias.unsqueeze(1)], dim=1)


def project_on_frames(axes: Tensor, vectors: Tensor) -> Tensor:
    """Components of vectors on vector frames, (n, 3 C): for each axis, one for each channel.

    Multiply-adds along the pairs, because batched products of matrices this small spend their time in calls.

    Args:
        axes: Component k of axis a of each frame, (3 a, 3 k, n).
        vectors: (n, 3, C).
    """
    x, y, z = vectors.permute(1, 2, 0).contiguous().unbind(0)
    components = axes[:, 0:1] * x
    components = torch.addcmul(components, axes[:, 1:2], y)
    return torch.addcmul(components, axes[:, 2:3], z).flatten(0, 1).t()


def sum_at(values: Tensor, index: Tensor, n_targets: int) -> Tensor:
    """Sum of ``values`` (n, ...) over equal entries of ``index`` (n,), giving (n_targets, ...)."""
    shape = [n_targets] + list(values.shape[1:])
    zeros = torch.zeros(shape, dtype=values.dtype, device=values.device)
    return zeros.index_add(0, index, values.contiguous())  # torch adds strided rows four times slower
