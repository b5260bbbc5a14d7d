"""Displaced copies of training snapshots, so that rollouts come back from their own errors.

A model that has seen only clean snapshots drifts in rollout; one that has seen displaced inputs with clean targets
contracts. Displacements are those a rollout makes: rigid motion and turns about rotatable bonds, both finite (bond
lengths stay exact), and a little free motion of every atom. docs/decisions/0003-displaced-inputs.md has the price.
"""

import torch
from torch import Tensor

from openmm_neuralmd.models.networks.interface import LigandGraph

TRANSLATION = 0.6  # [A] a component, at full strength
ROTATION = 0.25  # [rad] a component
TORSION = 0.6  # [rad]
FREE = 0.06  # [A] a component


def rotate(positions: Tensor, axes: Tensor, angles: Tensor, origin: Tensor) -> Tensor:
    """Rodrigues' rotation of (..., n, 3) about unit ``axes`` (..., 1, 3) through ``origin`` (..., 1, 3)."""
    arms = positions - origin
    cosine, sine = torch.cos(angles)[..., None, None], torch.sin(angles)[..., None, None]
    along = (arms * axes).sum(-1, keepdim=True) * axes
    across = torch.linalg.cross(axes.expand_as(arms), arms)
    return origin + along + (arms - along) * cosine + across * sine


def perturb(positions: Tensor, graph: LigandGraph, generator: torch.Generator, scale: float = 1.0) -> Tensor:
    """Displace each snapshot (n, n_atoms, 3) [A] with a strength drawn evenly from 0 to ``scale``."""
    n, n_atoms, _ = positions.shape

    def draw(*shape: int) -> Tensor:
        normal = torch.randn(n, *shape, generator=generator, dtype=positions.dtype, device=positions.device)
        return normal * strength.reshape(n, *([1] * len(shape)))

    strength = scale * torch.rand(n, generator=generator, dtype=positions.dtype, device=positions.device)
    moved = positions
    for k in range(len(graph.torsion_axes)):
        start, end = moved[:, graph.torsion_axes[k, :1]], moved[:, graph.torsion_axes[k, 1:]]
        axis = torch.nn.functional.normalize(end - start, dim=-1)
        turned = rotate(moved, axis, draw(1)[:, 0] * TORSION, end)
        moved = torch.where(graph.torsion_sides[k][:, None] > 0, turned, moved)
    spin = draw(3) * ROTATION
    angle = spin.norm(dim=-1)
    axis = torch.nn.functional.normalize(spin, dim=-1).unsqueeze(1)
    moved = rotate(moved, axis, angle, moved.mean(1, keepdim=True))
    return moved + draw(1, 3) * TRANSLATION + draw(n_atoms, 3) * FREE
