"""Collective noise of the Langevin model: fields that leave every bond's length alone to first order.

    B(x) dW = P(x) [ translation + rotation + torsions + learned twists + learned fields + a small rest per atom ] dW

P(x), in ``constraints``, removes from any displacement what would stretch a bond or a 1-3 distance. Amplitudes are
positive invariants of the networks, bounded to within a factor e of a trained constant, so that no configuration makes
them explode. All fields come from relative positions: the law of the noise is SE(3)-equivariant. Theory, section 5.
"""

import math
from typing import List

import torch
from torch import Tensor, nn

from openmm_neuralmd.models.networks.interface import LigandGraph
from openmm_neuralmd.models.networks.layers import MLP
from openmm_neuralmd.molecule.geometry import soft_normalize

FIRST_TORSION_FIELD = 6  # after three translations and three rotations
_INITIAL = {"translation": 0.25, "rotation": 0.06, "torsion": 0.15, "twist": 0.1, "field": 0.1, "rest": 0.08}
"""Amplitudes before training [A] and, of rotation and torsion, [rad], in the order of ``log_amplitude``."""


def remove_rigid_motion(relative: Tensor, fields: Tensor) -> Tensor:
    """Fields (R, K, N, 3) without net translation and net rotation about the centroid; theory (5.3).

    Args:
        relative: Positions relative to the centroid [A], (R, N, 3).
    """
    fields = fields - fields.mean(2, keepdim=True)
    around = relative.unsqueeze(1)
    angular = torch.linalg.cross(around.expand_as(fields), fields).sum(2)
    squares = (relative * relative).sum((1, 2))
    identity = torch.eye(3, dtype=relative.dtype, device=relative.device)
    inertia = (squares + 1e-3)[:, None, None] * identity - relative.transpose(1, 2) @ relative
    spin = torch.linalg.solve(inertia, angular.transpose(1, 2)).transpose(1, 2)
    return fields - torch.linalg.cross(spin.unsqueeze(2).expand_as(fields), around.expand_as(fields))


class Diffusion(nn.Module):
    """The noise fields B(x) of a ligand; eq. 11 of Liu et al. (2025) is the case of one learned field."""

    def __init__(self, hidden: int, n_twists: int, n_fields: int) -> None:
        super().__init__()
        self.n_twists = n_twists
        self.n_fields = n_fields
        self.log_amplitude = nn.Parameter(torch.tensor([math.log(v) for v in _INITIAL.values()]))
        self.rigid_modulation = MLP([hidden, hidden // 2, 2], last_scale=0.0)
        self.torsion_modulation = MLP([hidden, hidden // 2, 1], last_scale=0.0)
        self.atom_modulation = MLP([hidden, hidden // 2, 1], last_scale=0.0)

    def forward(self, positions: Tensor, h: Tensor, vectors: Tensor, graph: LigandGraph) -> Tensor:
        """B(x) [A/snapshot^1.5], (R, 3N, n_noise), before P(x); the bracket of theory (5.1), in its order.

        Args:
            positions: [A], (R, N, 3).
            h: Atom invariants, (R, N, H).
            vectors: Equivariant vectors, (R, N, 3, n_twists + n_fields).
        """
        n_replicas, n_atoms, _ = positions.shape
        amplitude = torch.exp(self.log_amplitude)
        relative = positions - positions.mean(1, keepdim=True)
        rigid = torch.exp(torch.tanh(self.rigid_modulation(h.mean(1))))
        identity = torch.eye(3, dtype=positions.dtype, device=positions.device)

        fields: List[Tensor] = []
        translation = identity.reshape(1, 3, 1, 3).expand(n_replicas, 3, n_atoms, 3)
        fields.append(translation * (amplitude[0] * rigid[:, 0])[:, None, None, None])
        axes = identity.reshape(1, 3, 1, 3).expand(n_replicas, 3, n_atoms, 3)
        rotation = torch.linalg.cross(axes, relative.unsqueeze(1).expand_as(axes))
        fields.append(rotation * (amplitude[1] * rigid[:, 1])[:, None, None, None])
        if graph.torsion_axes.shape[0] > 0:
            fields.append(self.build_torsion_fields(relative, h, graph) * amplitude[2])
        fields.append(self.build_twists(relative, vectors[..., : self.n_twists]) * amplitude[3])
        fields.append(soft_normalize(vectors[..., self.n_twists :].permute(0, 3, 1, 2), 1.0) * amplitude[4])

        collective = torch.cat(fields, dim=1).flatten(2).transpose(1, 2)
        rest = amplitude[5] * torch.exp(torch.tanh(self.atom_modulation(h))).expand(-1, -1, 3).flatten(1)
        return torch.cat([collective, torch.diag_embed(rest)], dim=-1)

    def build_torsion_fields(self, relative: Tensor, h: Tensor, graph: LigandGraph) -> Tensor:
        """Rotation of one side about each rotatable bond, less its rigid part (then either side gives the same).

        Theory (5.2).
        """
        start, end = relative[:, graph.torsion_axes[:, 0]], relative[:, graph.torsion_axes[:, 1]]
        axes = soft_normalize(end - start, 1e-6).unsqueeze(2)
        arms = relative.unsqueeze(1) - end.unsqueeze(2)
        turned = torch.linalg.cross(axes.expand_as(arms), arms) * graph.torsion_sides[None, :, :, None]
        ends = h[:, graph.torsion_axes[:, 0]] + h[:, graph.torsion_axes[:, 1]]
        modulation = torch.exp(torch.tanh(self.torsion_modulation(ends)))
        return remove_rigid_motion(relative, turned) * modulation.unsqueeze(-1)

    def build_twists(self, relative: Tensor, vectors: Tensor) -> Tensor:
        """Learned rigid motions: t + omega x r, with t and omega pooled from atom vectors, (R, n_twists, N, 3).

        Theory (5.4).
        """
        vectors = vectors.permute(0, 3, 1, 2)
        around = relative.unsqueeze(1).expand_as(vectors)
        squares = (relative * relative).sum(2).mean(1)[:, None, None]
        shift = vectors.mean(2)
        spin = torch.linalg.cross(around, vectors).mean(2) / (squares + 1.0)
        spin = soft_normalize(spin * torch.sqrt(squares + 1.0), 1.0) * torch.rsqrt(squares + 1.0)
        shift = soft_normalize(shift, 1.0)
        return shift.unsqueeze(2) + torch.linalg.cross(spin.unsqueeze(2).expand_as(vectors), around)
