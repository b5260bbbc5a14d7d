"""Vibration of bonds and angles: fast, small, and forgotten within a snapshot, so drawn afresh for each.

About positions in shape bonds, angles, heights and lines (``shape``; an angle is its 1-3 distance less what its bonds
change) are springs. Theory, section 6, has the derivation:

    d = (1 - A^-1/c^2) L^-T z,    A = L L^T = J^T diag(1/s^2) J + 1/c^2,    z ~ Normal(0, 1)

    J   gradients of the springs       ``compute_jacobian``
    s   spreads of the springs         ``compute_spreads``
    L   Cholesky factor                ``compute_factor``
    c   weak hold of every atom        ``_FREE``
    d   displacement                   ``draw``, before it is bent

The factor before L^-T z takes away what no spring holds, rigid motion and torsions, which are the dynamics' own.

Springs are curved, and a large d follows them round their arcs: what it changes beyond J d is taken back by one step of
least squares, the bend. The bend grows with the square of d. Where springs hardly hold a mode, the pucker of a ring
say, an atom would bend further than one step can follow; d is then shortened until it does not.

Spreads depend on the elements of the atoms and of those around them; for bonds and angles also on the ideal distance,
which tells a single bond from a triple one; for heights on the ideal height and on whether it belongs to a ring. The
dynamics do not feel d: a step ends with it and the next one begins without.
"""

import math
from typing import Tuple

import torch
from torch import Tensor, nn

from openmm_neuralmd.models.networks.interface import N_ELEMENTS, LigandGraph
from openmm_neuralmd.models.networks.layers import MLP
from openmm_neuralmd.molecule.geometry import compute_radial_basis
from openmm_neuralmd.molecule.shape import compute_shape_errors, separate_angles

_CHANNELS = 16  # features of a spring, and radial functions of its ideal value
_RADIUS = 4.0  # [A], beyond every 1-3 distance
_TYPICAL = 0.04  # [A], spread of a heavy-atom bond or 1-3 distance at 300 K
_FREE = 1.0  # c [A], far beyond what springs let go
_LARGEST_BEND = 0.15  # [A]; along arcs followed so far no bond breaks


class Vibration(nn.Module):
    """Spreads of a ligand's springs, and displacements drawn with them."""

    def __init__(self) -> None:
        super().__init__()
        self.radius = _RADIUS
        self.n_radial = _CHANNELS
        self.element = nn.Embedding(N_ELEMENTS, _CHANNELS)
        self.neighbour = nn.Embedding(N_ELEMENTS, _CHANNELS)
        self.from_centre = nn.Linear(_CHANNELS, _CHANNELS, bias=False)
        self.from_separation = nn.Embedding(3, _CHANNELS)
        self.from_distance = nn.Linear(_CHANNELS, _CHANNELS)
        self.from_ring = nn.Embedding(2, _CHANNELS)
        self.from_height = nn.Linear(_CHANNELS, _CHANNELS)
        self.line = nn.Parameter(torch.randn(_CHANNELS))
        self.mlp = MLP([_CHANNELS, _CHANNELS, 1], last_scale=0.0)
        self.log_typical = nn.Parameter(torch.tensor(math.log(_TYPICAL)))
        self.free = _FREE
        self.largest_bend = _LARGEST_BEND

    def compute_spreads(self, graph: LigandGraph) -> Tensor:
        """s [A], (P + Q + 3 L,), in the order of the shape's errors; theory (6.4)."""
        bonded = (graph.separation == 1).to(graph.masses.dtype)
        atoms = self.element(graph.elements) + bonded @ self.neighbour(graph.elements)
        distances = self._describe_distances(atoms, bonded, graph)
        heights = self._describe_heights(atoms, graph)
        ends, middle = graph.shape.lines[:, ::2], graph.shape.lines[:, 1]
        lines = self.from_centre(atoms[middle]) + atoms[ends].sum(1) + self.line
        features = torch.cat([distances, heights, lines.repeat_interleave(3, dim=0)])
        return torch.exp(self.log_typical + 1.5 * torch.tanh(self.mlp(nn.functional.silu(features)).squeeze(-1)))

    def _describe_distances(self, atoms: Tensor, bonded: Tensor, graph: LigandGraph) -> Tensor:
        """Features of bonds and angles, (P, channels): ends, atom between, bonds apart and ideal distance."""
        first, second = graph.shape.pairs[:, 0], graph.shape.pairs[:, 1]
        between = self.from_centre((bonded[first] * bonded[second]) @ atoms)
        radial = compute_radial_basis(graph.shape.distances, self.radius, self.n_radial)
        separation = self.from_separation(graph.separation[first, second].clamp(max=2))
        return atoms[first] + atoms[second] + between + separation + self.from_distance(radial)

    def _describe_heights(self, atoms: Tensor, graph: LigandGraph) -> Tensor:
        """Features of heights, (Q, channels): the atom, those below it, whether in a ring, and ideal height."""
        above, below = graph.shape.quadruples[:, 0], graph.shape.quadruples[:, 1:]
        is_in_ring = (graph.separation[above, below[:, 2]] > 1).to(torch.int64)  # a centre is bonded to all three
        radial = compute_radial_basis(graph.shape.heights.abs(), self.radius, self.n_radial)
        heights = self.from_centre(atoms[above]) + atoms[below].mean(1)
        return heights + self.from_ring(is_in_ring) + self.from_height(radial)

    def compute_jacobian(self, positions: Tensor, graph: LigandGraph) -> Tuple[Tensor, Tensor]:
        """What springs are off [A], (R, n_springs), and J, (R, n_springs, 3N)."""
        errors, jacobian = compute_shape_errors(positions, graph.shape)
        return separate_angles(errors.unsqueeze(-1), graph.shape).squeeze(-1), separate_angles(jacobian, graph.shape)

    def compute_factor(self, jacobian: Tensor, spreads: Tensor) -> Tensor:
        """L, (R, 3N, 3N); theory (6.1)."""
        scaled = jacobian / spreads[:, None]
        identity = torch.eye(jacobian.shape[2], dtype=jacobian.dtype, device=jacobian.device)
        return torch.linalg.cholesky_ex(scaled.transpose(1, 2) @ scaled + identity / self.free**2)[0]

    def forward(self, positions: Tensor, normals: Tensor, graph: LigandGraph) -> Tensor:
        """d [A], (R, N, 3), about positions in shape [A], (R, N, 3), for standard normals (R, 3N).

        Equations are solved in double precision: springs are a thousand times as stiff as what is taken away.
        """
        errors, gradients = self.compute_jacobian(positions, graph)
        jacobian, spreads = gradients.to(torch.float64), self.compute_spreads(graph)
        factor = self.compute_factor(jacobian, spreads.to(torch.float64))
        straight = self.draw(factor, normals.to(torch.float64).unsqueeze(-1))

        end = positions + straight.reshape(positions.shape).to(positions.dtype)
        errors_there, _ = self.compute_jacobian(end, graph)
        beyond = (errors_there - errors).unsqueeze(-1) - jacobian @ straight  # theory (6.5)
        bend = self._compute_bend(beyond, jacobian, spreads, factor)
        share = self._compute_share(bend.reshape(positions.shape))
        return (share * (straight - share * bend)).reshape(positions.shape).to(positions.dtype)

    def _compute_bend(self, beyond: Tensor, jacobian: Tensor, spreads: Tensor, factor: Tensor) -> Tensor:
        """b [A], (R, 3N, 1), the displacement by which springs take back their errors (R, n_springs, 1); (6.6)."""
        pull = jacobian.transpose(1, 2) @ (beyond / spreads[:, None] ** 2)
        return torch.cholesky_solve(pull, factor)

    def _compute_share(self, bend: Tensor) -> Tensor:
        """f, (R, 1, 1), to which a draw is shortened so that no atom's bend, (R, N, 3), is too long; theory (6.7).

        The bend of f d is f^2 b, so f is the square root of a ratio of lengths: the fourth root of one of squares.
        """
        limit = self.largest_bend**2
        furthest = bend.square().sum(2).amax(1).clamp(min=limit)
        return (limit / furthest).pow(0.25).reshape(-1, 1, 1)

    def draw(self, factor: Tensor, normals: Tensor) -> Tensor:
        """d before it is bent, for each column of standard normals, both (R, 3N, n); theory (6.2)."""
        drawn = torch.linalg.solve_triangular(factor.transpose(1, 2), normals, upper=True)
        return drawn - torch.cholesky_solve(drawn, factor) / self.free**2

    def compute_root(self, jacobian: Tensor, graph: LigandGraph) -> Tensor:
        """A matrix [A], (R, 3N, 3N), whose product with its transpose is the covariance of d."""
        identity = torch.eye(jacobian.shape[2], dtype=jacobian.dtype, device=jacobian.device)
        factor = self.compute_factor(jacobian, self.compute_spreads(graph))
        return self.draw(factor, identity.expand(len(jacobian), -1, -1))

    def compute_covariance(self, positions: Tensor, graph: LigandGraph) -> Tensor:
        """V, of d before it is bent [A^2], (R, 3N, 3N); theory (6.3)."""
        _, jacobian = self.compute_jacobian(positions, graph)
        root = self.compute_root(jacobian, graph)
        return root @ root.transpose(1, 2)

    def compute_deviation_loss(self, positions: Tensor, graph: LigandGraph) -> Tensor:
        """Mean negative log-likelihood of what springs are off, each distance, height, line by itself; theory (6.8)."""
        errors, jacobian = self.compute_jacobian(positions, graph)
        root = jacobian @ self.compute_root(jacobian, graph)  # times its transpose, the covariance of the errors
        n_lines = graph.shape.lines.shape[0]
        n_single = errors.shape[1] - 3 * n_lines
        variances = root[:, :n_single].square().sum(2)
        total = (errors[:, :n_single].square() / variances + variances.log()).sum()
        # a line's three components together: one at a time they would depend on where x, y and z point
        line_root, line_errors = (
            part[:, n_single:].unflatten(1, [n_lines, 3]) for part in (root, errors.unsqueeze(-1))
        )
        factor = torch.linalg.cholesky_ex(line_root @ line_root.transpose(2, 3))[0]
        total = total + torch.linalg.solve_triangular(factor, line_errors, upper=False).square().sum()
        total = total + 2.0 * factor.diagonal(dim1=2, dim2=3).log().sum()
        return 0.5 * total / errors.numel()
