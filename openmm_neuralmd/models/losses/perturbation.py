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
DISPLACEMENT = 0.06  # [A] a component


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
        moved = _turn_side(moved, graph.torsion_axes[k], graph.torsion_sides[k], draw(1)[:, 0] * TORSION)
    moved = _turn_whole(moved, draw(3) * ROTATION)
    return moved + draw(1, 3) * TRANSLATION + draw(n_atoms, 3) * DISPLACEMENT


def _turn_side(positions: Tensor, bond: Tensor, side: Tensor, angles: Tensor) -> Tensor:
    """One side of a bond, (n_atoms,), turned about it by angles [rad], (n,)."""
    start, end = positions[:, bond[:1]], positions[:, bond[1:]]
    axis = torch.nn.functional.normalize(end - start, dim=-1)
    return torch.where(side[:, None] > 0, rotate(positions, axis, angles, end), positions)


def _turn_whole(positions: Tensor, spin: Tensor) -> Tensor:
    """All atoms turned about the centroid by rotation vectors [rad], (n, 3)."""
    axis = torch.nn.functional.normalize(spin, dim=-1).unsqueeze(1)
    return rotate(positions, axis, spin.norm(dim=-1), positions.mean(1, keepdim=True))
