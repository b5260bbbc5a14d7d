"""Bond projection of a batch of replicas, on any device: what the coarse step calls.

On the CPU replicas are projected by ``projection.BondProjection``, whose arrays are the faster ones there; elsewhere by
the same damped Gauss-Newton steps in torch, all replicas at once. Either way in double precision, because tolerance and
damping are near what single precision rounds, and with one result: 1e-9 A apart.

Nothing here has gradients: the number of iterations depends on the positions. Training settles bonds with
``constraints.settle`` instead.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from openmm_neuralmd.dynamics import projection as rules
from openmm_neuralmd.dynamics.projection import TOLERANCE_NM, BondProjection
from openmm_neuralmd.dynamics.stepped import Projected
from openmm_neuralmd.errors import InputError, NeuralMDError
from openmm_neuralmd.molecule.complex import Ligand
from openmm_neuralmd.molecule.shape import Shape, build_shape, compute_shape_errors
from openmm_neuralmd.units import ANGSTROM_PER_NM, NM_PER_ANGSTROM

ARRAYS_ON = ("cpu",)
"""Where numpy is faster: 3 to 6 times on the CPU, for 1 as for 256 replicas (benchmarks/projection.py)."""
_BLIND_ITERATIONS = 8
"""Between looks at what is still open, for which a GPU waits: 99 of 100 steps of the bundled models need no more."""


class Projection:
    """Positions [A], (n_replicas, n_atoms, 3), brought onto the shape of a ligand: bonds, angles, chirality.

    Args:
        ligand: Gives bonds, masses and the ``geometry`` whose shape is kept.
        tolerance: As of ``BondProjection`` [nm].
    """

    def __init__(self, ligand: Ligand, *, tolerance: float = TOLERANCE_NM) -> None:
        self._arrays = BondProjection(ligand, tolerance=tolerance)
        self._on_host = _Constraints(
            build_shape(np.asarray(ligand.geometry, dtype=np.float64), ligand.bonds),
            torch.from_numpy(np.asarray(ligand.masses, dtype=np.float64)),
        )
        self._by_device: dict[torch.device, _Constraints] = {}
        self._tolerance = tolerance

    def __call__(self, positions: Tensor) -> Projected:
        """Projected positions of the same precision; replicas that fail stay where they are and have an error.

        Raises:
            InputError: If gradients are asked for.
        """
        if positions.requires_grad and torch.is_grad_enabled():
            raise InputError("the bond projection has no gradients: use constraints.settle, or torch.no_grad()")
        x = NM_PER_ANGSTROM * positions.double()
        if positions.device.type in ARRAYS_ON:
            array, _, errors = self._arrays.project_each(x.numpy())
            return Projected(torch.from_numpy(ANGSTROM_PER_NM * array).to(positions), errors)
        projected, errors = self.project_tensors(x)
        return Projected((ANGSTROM_PER_NM * projected).to(positions), errors)

    def project_tensors(
        self, batch: Tensor, *, n_blind: int = _BLIND_ITERATIONS
    ) -> tuple[Tensor, dict[int, NeuralMDError]]:
        """Positions [nm] and errors as of ``BondProjection.project_each``, with tensors.

        What Gauss-Newton steps do not bring back, few replicas if any, takes the guided path on the CPU.

        Args:
            batch: [nm], float64, (n_replicas, n_atoms, 3).
            n_blind: Iterations from one look at what is still open to the next.
        """
        constraints = self._by_device.setdefault(batch.device, self._on_host.to(batch.device))
        x, has_converged, has_moved = self._converge(batch, constraints, n_blind)
        turned = _superpose(x, batch, constraints.masses, is_wanted=has_converged & has_moved)
        x = torch.where((has_converged & has_moved)[:, None, None], turned, x)
        left = torch.nonzero(~has_converged).flatten().tolist()
        if not left:
            return x, {}
        others, _, errors = self._arrays.project_each(batch[left].cpu().numpy())
        x[left] = torch.from_numpy(others).to(x)
        return x, {left[k]: error for k, error in errors.items()}

    def _converge(self, batch: Tensor, constraints: "_Constraints", n_blind: int) -> tuple[Tensor, Tensor, Tensor]:
        """Gauss-Newton iterations: positions, and whether each replica has converged and was moved, (n_replicas,).

        As ``BondProjection._converge``: gradients and factor of a replica serve as long as its error falls fast.
        """
        is_near = self._find_near(batch)
        found, has_moved = batch.clone(), torch.zeros_like(is_near)
        has_converged = torch.zeros_like(is_near)
        places = torch.nonzero(is_near).flatten()
        x = batch[places]
        n, n_coordinates = len(x), batch[0].numel()
        largest = x.new_zeros(n)
        slopes = x.new_zeros(n, n_coordinates, constraints.n_constraints)
        factors = x.new_zeros(n, n_coordinates, n_coordinates)
        for count in range(rules.MAX_ITERATIONS + 1):
            errors, gradients = constraints.measure(x)
            before, largest = largest, errors.abs().amax(1)
            is_open = ~(largest <= self._tolerance)  # NaN is open, too
            if count == 0:
                has_moved[places] = is_open
            is_last = count == rules.MAX_ITERATIONS
            if count % n_blind == 0 or is_last:
                found[places], has_converged[places] = x, ~is_open
                still = torch.nonzero(is_open).flatten()
                if len(still) == 0 or is_last:
                    break
                x, places, errors, gradients = x[still], places[still], errors[still], gradients[still]
                before, largest, is_open = before[still], largest[still], is_open[still]
                slopes, factors = slopes[still], factors[still]
            is_stale = (largest > rules.FAST * before)[:, None, None]
            new_slopes, new_factors = constraints.factor(errors, gradients)
            slopes, factors = torch.where(is_stale, new_slopes, slopes), torch.where(is_stale, new_factors, factors)
            move = torch.cholesky_solve(slopes @ errors.unsqueeze(-1), factors) * constraints.scale[:, None]
            move = move.reshape(x.shape)
            longest = move.norm(dim=-1).amax(-1).clamp(min=1e-12)
            move = move * (rules.MAX_MOVE_NM / longest).clamp(max=1.0)[:, None, None]
            x = torch.where(is_open[:, None, None], x - move, x)
        return found, has_converged, has_moved

    def _find_near(self, batch: Tensor) -> Tensor:
        """Replicas whose atoms are near each other, bool, (n_replicas,); the others have broken."""
        n_atoms = batch.shape[1]
        middle = batch.sort(dim=1).values[:, [(n_atoms - 1) // 2, n_atoms // 2]].mean(1, keepdim=True)
        return (batch - middle).abs().amax((1, 2)) <= self._arrays.farthest


@dataclass(frozen=True)
class _Constraints:
    """The ligand's shape [nm] and masses [Da], (n_atoms,), on one device."""

    shape: Shape
    masses: Tensor

    def to(self, device: torch.device) -> "_Constraints":
        return _Constraints(Shape(*(values.to(device) for values in self.shape)), self.masses.to(device))

    @property
    def n_constraints(self) -> int:
        return len(self.shape.distances) + len(self.shape.heights) + 3 * len(self.shape.lines)

    @property
    def scale(self) -> Tensor:
        """M^-1/2 with masses relative to their mean, (3 n_atoms,)."""
        return (self.masses.mean() / self.masses).sqrt().repeat_interleave(3)

    def measure(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Errors, with play for lines, (n, n_constraints), and gradients, (n, n_constraints, 3 n_atoms)."""
        errors, gradients = compute_shape_errors(positions, self.shape)
        n_lines = 3 * len(self.shape.lines)
        held, lines = errors.split([self.n_constraints - n_lines, n_lines], dim=1)
        lines = lines.unflatten(1, (-1, 3))
        play = (1.0 - rules.PLAY_NM / lines.norm(dim=-1, keepdim=True).clamp(min=1e-12)).clamp(min=0.0)
        return torch.cat([held, (lines * play).flatten(1)], dim=1), gradients

    def factor(self, errors: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
        """M^-1/2 J^T, (n, 3 n_atoms, n_constraints), and the Cholesky factor of M^-1/2 J^T J M^-1/2 + mu."""
        slopes = gradients.transpose(1, 2) * self.scale[:, None]
        damping = rules.DAMPING_PER_NM * errors.square().mean(1).sqrt()
        identity = torch.eye(slopes.shape[1], dtype=slopes.dtype, device=slopes.device)
        return slopes, torch.linalg.cholesky_ex(slopes @ slopes.transpose(1, 2) + damping[:, None, None] * identity)[0]


def _superpose(shapes: Tensor, targets: Tensor, masses: Tensor, *, is_wanted: Tensor) -> Tensor:
    """Shapes moved and turned onto targets, both (n, n_atoms, 3), by mass-weighted least squares (Kabsch).

    Where it is not wanted the result says nothing: it is defined for positions that are not finite, too.
    """
    weights = (masses / masses.sum())[:, None]
    centre = (weights * targets).sum(1, keepdim=True)
    shapes, targets = shapes - (weights * shapes).sum(1, keepdim=True), targets - centre
    covariance = (shapes * weights).transpose(1, 2) @ targets
    u, _, vt = torch.linalg.svd(torch.where(is_wanted[:, None, None], covariance, 1.0))
    flip = torch.linalg.det(u @ vt).sign()
    u = torch.cat([u[..., :2], u[..., 2:] * flip[:, None, None]], dim=-1)
    return shapes @ (u @ vt) + centre
