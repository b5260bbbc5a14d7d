"""Vibration of bonds and angles: fast, small, and forgotten within a snapshot, so drawn afresh for each.

About positions with ideal bonds and 1-3 distances every pair is a spring, and every atom is held softly where it is:

    d ~ Normal(0, (J^T diag(1/s^2) J + 1/c^2)^-1)

J holds the gradients of the pair distances, s their spreads, c the amplitude of an atom along what no spring holds.
s depends on the two elements and those around them, on the atom between them, on whether they are bonded, and on the
ideal distance, which tells a single bond from a triple one. The dynamics do not feel d: a step ends with it and the
next one begins without.
"""

import math

import torch
from torch import Tensor, nn

from openmm_neuralmd.geometry import compute_radial_basis
from openmm_neuralmd.models.constraints import compute_jacobian
from openmm_neuralmd.models.interface import N_ELEMENTS, LigandGraph
from openmm_neuralmd.models.layers import MLP

_CHANNELS = 16
_RADIUS = 4.0  # [A], beyond every 1-3 distance
_TYPICAL = 0.04  # [A], spread of a heavy-atom bond or 1-3 distance at 300 K
_SOFT = 0.045  # [A]; not learned, or it would take what fields explain


class Vibration(nn.Module):
    """Spreads of a ligand's bonds and 1-3 distances, and displacements drawn with them."""

    def __init__(self) -> None:
        super().__init__()
        self.radius = _RADIUS
        self.n_radial = _CHANNELS
        self.element = nn.Embedding(N_ELEMENTS, _CHANNELS)
        self.neighbour = nn.Embedding(N_ELEMENTS, _CHANNELS)
        self.from_centre = nn.Linear(_CHANNELS, _CHANNELS, bias=False)
        self.from_separation = nn.Embedding(3, _CHANNELS)
        self.from_distance = nn.Linear(_CHANNELS, _CHANNELS)
        self.mlp = MLP([_CHANNELS, _CHANNELS, 1], last_scale=0.0)
        self.log_typical = nn.Parameter(torch.tensor(math.log(_TYPICAL)))
        self.soft = _SOFT

    def compute_spreads(self, graph: LigandGraph) -> Tensor:
        """s [A], (n_pairs,)."""
        first, second = graph.constraint_pairs[:, 0], graph.constraint_pairs[:, 1]
        bonded = (graph.separation == 1).to(graph.masses.dtype)
        atoms = self.element(graph.elements) + bonded @ self.neighbour(graph.elements)
        centres = self.from_centre((bonded[first] * bonded[second]) @ atoms)
        radial = compute_radial_basis(graph.constraint_distances, self.radius, self.n_radial)
        separation = self.from_separation(graph.separation[first, second].clamp(max=2))
        features = nn.functional.silu(atoms[first] + atoms[second] + centres + separation + self.from_distance(radial))
        return torch.exp(self.log_typical + torch.tanh(self.mlp(features).squeeze(-1)))

    def compute_factor(self, jacobian: Tensor, spreads: Tensor) -> Tensor:
        """Lower Cholesky factor of the precision, (R, 3N, 3N), for J (R, n_pairs, 3N)."""
        scaled = jacobian / spreads[:, None]
        identity = torch.eye(jacobian.shape[2], dtype=jacobian.dtype, device=jacobian.device)
        return torch.linalg.cholesky_ex(scaled.transpose(1, 2) @ scaled + identity / self.soft**2)[0]

    def forward(self, positions: Tensor, normals: Tensor, graph: LigandGraph) -> Tensor:
        """d [A], (R, N, 3), about positions with ideal bonds [A], (R, N, 3), for standard normals (R, 3N)."""
        jacobian = compute_jacobian(positions, graph.constraint_pairs)
        factor = self.compute_factor(jacobian, self.compute_spreads(graph))
        drawn = torch.linalg.solve_triangular(factor.transpose(1, 2), normals.unsqueeze(-1), upper=True)
        return drawn.reshape(positions.shape)

    def compute_covariance(self, positions: Tensor, graph: LigandGraph) -> Tensor:
        """Of d [A^2], (R, 3N, 3N)."""
        jacobian = compute_jacobian(positions, graph.constraint_pairs)
        return torch.cholesky_inverse(self.compute_factor(jacobian, self.compute_spreads(graph)))

    def compute_deviation_loss(self, positions: Tensor, graph: LigandGraph) -> Tensor:
        """Mean negative log-likelihood of the pairs' deviations from their ideal distances, one pair at a time."""
        jacobian = compute_jacobian(positions, graph.constraint_pairs)
        factor = self.compute_factor(jacobian, self.compute_spreads(graph))
        variances = torch.linalg.solve_triangular(factor, jacobian.transpose(1, 2), upper=False).square().sum(1)
        first, second = graph.constraint_pairs[:, 0], graph.constraint_pairs[:, 1]
        deviations = (positions[:, first] - positions[:, second]).norm(dim=-1) - graph.constraint_distances
        return 0.5 * (deviations.square() / variances + variances.log()).mean()
