"""Bond projection: bring bonds and 1-3 distances of a displaced ligand back to their reference values.

A step of tens of picoseconds moves atoms by about an angstrom, where SHAKE-like constraint solvers diverge. Here
the constraints C(x) = 0 of ``shape`` are met by damped Gauss-Newton steps with their gradients J at the current
positions,

    dx = -(J^T J + mu M)^-1 J^T C(x) = -M^-1 J^T (J M^-1 J^T + mu)^-1 C(x),    mu proportional to |C(x)|.

Straight lines have some play, within what 1-3 distances tolerate: a mean bend of a degree or two, which a protein
imposes on C-C#C, is the dynamics' own, and at the end of a long ligand it is worth some tenths of an angstrom.

The mass matrix makes the correction a set of internal forces, as in SHAKE: the centre of mass stays where the model put
it and no net torque acts, to first order; the rotation that iterations of finite length add is taken out at the end, by
superposition. The damping keeps the step defined where constraints are redundant (rings) and bounded where
they contradict each other far from the shape; being proportional to the residual it does not spoil the convergence.

Source: SHAKE, Ryckaert et al. (1977), doi:10.1016/0021-9991(77)90098-5; damping proportional to the residual,
Fan and Yuan (2005), doi:10.1007/s00607-004-0083-1; superposition, Kabsch (1976), doi:10.1107/S0567739476001873.
"""

from typing import Any

import numpy as np
import torch
from scipy.linalg.lapack import dpotrf, dpotrs

from openmm_neuralmd.errors import NeuralMDError, NonFiniteStateError, ProjectionError
from openmm_neuralmd.molecule.complex import Ligand
from openmm_neuralmd.molecule.shape import Shape, build_shape
from openmm_neuralmd.molecule.superposition import superpose
from openmm_neuralmd.units import ANGSTROM_PER_NM

TOLERANCE_NM = 1e-5  # a hundredth of what a bond vibrates; OpenMM's constraints have 1e-5 of a bond
MAX_ITERATIONS = 50  # 2 to 6 are usual; what takes more is led along the guided path
MAX_MOVE_NM = 0.1  # longest move of an atom in one iteration
DAMPING_PER_NM = 0.2  # mu / rms(C), with masses relative to their mean; robust from 0.1 to 2 A displacement
FAST = 0.5  # a fall of the error in one iteration that makes new gradients not worth their while
PLAY_NM = 0.003  # how far a line's middle atom may stand from its place: its 1-3 distance is then off by 7e-5 nm
_PATH_STEP_NM = 0.02  # first increment of the guided path
_LONGEST_PATH_NM = 5.0  # of an atom beyond the ligand's own size; farther away the run has broken
_MAX_HALVINGS = 5  # of the first increment of the path; below 0.001 nm a failure is no matter of length


class BondProjection:
    """Projection of ligand positions onto its bonds and 1-3 distances, with chirality kept.

    Positions that Gauss-Newton cannot project directly are reached from the reference geometry instead, superposed on
    them: along the straight path to the wanted positions in increments that are halved where they fail, projecting
    after each. The result depends on the positions alone.

    Args:
        ligand: Gives bonds, masses and the ``geometry`` whose shape is kept.
        tolerance: Largest error of a distance, a height or a line beyond its play that counts as converged [nm].
    """

    def __init__(self, ligand: Ligand, *, tolerance: float = TOLERANCE_NM) -> None:
        self.pairs, self.distances = ligand.find_constraints()
        self.tolerance = tolerance
        self._geometry = np.asarray(ligand.geometry, dtype=np.float64)
        self._shape = _ShapeArrays(build_shape(self._geometry, ligand.bonds), ligand.n_atoms)
        self._masses = np.asarray(ligand.masses, dtype=np.float64)
        self._scale = np.repeat(np.sqrt(self._masses.mean() / self._masses), 3)  # M^-1/2
        self._scales = np.outer(self._scale, self._scale)
        size = np.linalg.norm(self._geometry - self._geometry.mean(axis=0), axis=-1).max()
        self.farthest = _LONGEST_PATH_NM + float(size)  # of an atom from the ligand's middle [nm]

    def project(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Move each replica to positions in shape: to ``tolerance``, and 1-3 distances across lines to 7e-5 nm.

        Args:
            positions: Heavy atoms [nm], (n_atoms, 3) or (n_replicas, n_atoms, 3).

        Returns:
            Projected positions of the same shape, and the number of iterations of each replica, int64, () or
            (n_replicas,).

        Raises:
            NonFiniteStateError: If positions hold NaN or infinity.
            ProjectionError: If a replica cannot be projected.
        """
        batch = np.array(positions, dtype=np.float64).reshape(-1, *self._geometry.shape)
        projected, iterations, errors = self.project_each(batch)
        if errors:
            raise next(iter(errors.values()))
        return projected.reshape(np.shape(positions)), iterations.reshape(np.shape(positions)[:-2])

    def project_each(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[int, NeuralMDError]]:
        """``project`` for a batch in which replicas may fail: those stay where they are, and their errors are told.

        Args:
            batch: [nm], float64, (n_replicas, n_atoms, 3).

        Returns:
            Positions and iterations as of ``project``, and the errors by replica.
        """
        errors = self._find_hopeless(batch)
        good = np.array([k for k in range(len(batch)) if k not in errors], dtype=np.int64)
        projected, iterations = batch.copy(), np.zeros(len(batch), dtype=np.int64)
        if len(good):
            projected[good], iterations[good], converged = self._converge(batch[good])
            for k in good[~converged].tolist():
                try:
                    projected[k], extra = self._follow_path(batch[k])
                except ProjectionError as error:
                    errors[k], projected[k] = error, batch[k]
                else:
                    iterations[k] += extra
        has_moved = iterations > 0
        has_moved[list(errors)] = False
        projected[has_moved] = superpose(projected[has_moved], batch[has_moved], self._masses)
        return projected, iterations, errors

    def compute_deviation(self, positions: np.ndarray) -> np.ndarray:
        """Largest distance error [nm] of positions (..., n_atoms, 3)."""
        difference = positions[..., self.pairs[:, 0], :] - positions[..., self.pairs[:, 1], :]
        return np.abs(np.linalg.norm(difference, axis=-1) - self.distances).max(axis=-1)

    def _find_hopeless(self, batch: np.ndarray) -> dict[int, NeuralMDError]:
        """Far from the shape lie errors of rounding, of overflow, and runs that have broken."""
        found = np.abs(batch - np.median(batch, axis=1, keepdims=True)).max(axis=(1, 2))
        errors: dict[int, NeuralMDError] = {}
        for k in np.flatnonzero(~(found <= self.farthest)).tolist():
            if np.isfinite(batch[k]).all():
                errors[k] = ProjectionError(
                    f"bonds cannot be brought back: an atom is {found[k]:.3g} nm from the ligand's middle: the force "
                    "is too large for this step; use more steps per snapshot, or start from another pose"
                )
            else:
                errors[k] = NonFiniteStateError(
                    "positions to project hold NaN or infinity: the force is too large for this step"
                )
        return errors

    def _converge(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gauss-Newton iterations on (n, n_atoms, 3); positions, iterations and whether each replica converged.

        Gradients and factor of a replica serve as long as its error falls fast.
        """
        x = batch.copy()
        iterations = np.zeros(len(x), dtype=np.int64)
        largest = np.zeros(len(x))
        slopes: list[Any] = [None] * len(x)  # M^-1/2 J^T
        factors: list[Any] = [None] * len(x)
        active = np.arange(len(x))
        for count in range(MAX_ITERATIONS + 1):
            errors, units, normals = self._shape.measure(x[active])
            before, largest[active] = largest[active], np.abs(errors).max(axis=1)
            is_open = ~(largest[active] <= self.tolerance)  # NaN is open, too
            active, errors = active[is_open], errors[is_open]
            if len(active) == 0 or count == MAX_ITERATIONS:
                break
            is_stale = largest[active] > FAST * before[is_open]
            stale = np.flatnonzero(is_open)[is_stale]
            if len(stale):
                gradients = self._shape.build_gradients(units[stale], normals[stale])
                for k, slope, factor in zip(active[is_stale], *self._factor(errors[is_stale], gradients), strict=True):
                    slopes[k], factors[k] = slope, factor
            move = np.array([dpotrs(factors[k], slopes[k] @ e)[0] for k, e in zip(active, errors, strict=True)])
            move = (move * self._scale).reshape(len(active), -1, 3)
            longest = np.sqrt((move * move).sum(axis=-1)).max(axis=-1)
            x[active] -= move * np.minimum(1.0, MAX_MOVE_NM / np.maximum(longest, 1e-12))[:, None, None]
            iterations[active] += 1
        converged = np.ones(len(x), dtype=bool)
        converged[active] = False
        return x, iterations, converged

    def _factor(self, errors: np.ndarray, jacobian: np.ndarray) -> tuple[np.ndarray, list[Any]]:
        """M^-1/2 J^T, (n, 3 n_atoms, n_constraints), and the Cholesky factor of M^-1/2 J^T J M^-1/2 + mu."""
        transposed = jacobian.swapaxes(-1, -2)
        # torch's product, because numpy's has threads of its own, which would wait for torch's
        matrix = (torch.from_numpy(transposed) @ torch.from_numpy(jacobian)).numpy() * self._scales
        diagonal = np.arange(len(self._scale))
        matrix[:, diagonal, diagonal] += DAMPING_PER_NM * np.sqrt((errors * errors).mean(axis=-1))[:, None]
        return transposed * self._scale[:, None], [dpotrf(m)[0] for m in matrix]

    def _follow_path(self, target: np.ndarray) -> tuple[np.ndarray, int]:
        """Guided path from the superposed reference geometry to the target (n_atoms, 3)."""
        x = superpose(self._geometry, target, self._masses)
        path = target - x
        longest = float(np.linalg.norm(path, axis=-1).max())
        increment = min(1.0, _PATH_STEP_NM / max(longest, 1e-12))
        smallest = increment / 2**_MAX_HALVINGS
        done, total = 0.0, 0
        while done < 1.0:
            part = min(increment, 1.0 - done)
            trial, iterations, converged = self._converge((x + part * path)[None])
            total += int(iterations[0])
            if converged[0]:
                x, done = trial[0], done + part
            elif increment > smallest:
                increment /= 2
            else:
                before, after = (ANGSTROM_PER_NM * float(self.compute_deviation(x)) for x in (target, trial[0]))
                raise ProjectionError(
                    f"bonds cannot be brought back: largest distance error {before:.2f} Å before and {after:.4f} Å "
                    f"after {total} iterations (tolerance {ANGSTROM_PER_NM * self.tolerance:.4f} Å); use more steps "
                    "per snapshot"
                )
        return x, total


class _ShapeArrays:
    """``shape.compute_shape_errors`` in numpy, whose calls cost a third of torch's, with play for lines."""

    def __init__(self, shape: Shape, n_atoms: int) -> None:
        self._n_atoms = n_atoms
        self._distances, self._heights, areas = shape.distances.numpy(), shape.heights.numpy(), shape.areas.numpy()
        self._areas = areas[:, None]
        self._heads, self._tails, self._slots = shape.heads.numpy(), shape.tails.numpy(), shape.slots.numpy()
        self._lines, self._line_weights = shape.lines.numpy(), shape.line_weights.numpy()[..., None]
        self._line_blocks = shape.line_blocks.numpy()
        n_pairs, n_heights = len(self._distances), len(self._heights)
        self._ends = np.cumsum([n_pairs, n_heights, 3 * n_heights])
        self._n_constraints = n_pairs + n_heights + 3 * len(self._lines)

    def measure(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Errors, (n, n_constraints), the pairs' directions and the heights' normals."""
        difference = positions.take(self._heads, axis=1) - positions.take(self._tails, axis=1)
        pairs, arms, following = self._ends
        apart, arm = difference[:, :pairs], difference[:, pairs:arms]
        length = np.sqrt(np.einsum("rpc,rpc->rp", apart, apart) + 1e-24)
        normals = _cross(difference[:, arms:following], difference[:, following:])
        normals = normals.reshape(len(positions), 3, -1, 3) / self._areas
        height = np.einsum("rqc,rqc->rq", arm, normals[:, 0])
        line = (positions[:, self._lines] * self._line_weights).sum(axis=2)
        line *= np.maximum(0.0, 1.0 - PLAY_NM / np.maximum(np.sqrt((line * line).sum(axis=-1)), 1e-12))[..., None]
        errors = np.concatenate([length - self._distances, height - self._heights, line.reshape(len(line), -1)], axis=1)
        return errors, apart / length[..., None], normals

    def build_gradients(self, units: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """(n, n_constraints, 3 n_atoms)."""
        n = len(units)
        lines = np.broadcast_to(self._line_blocks, (n, *self._line_blocks.shape))
        gradients = np.zeros((n, self._n_constraints * self._n_atoms, 3))
        blocks = [units, -units, -normals.sum(axis=1), normals.reshape(n, -1, 3), lines]
        gradients[:, self._slots] = np.concatenate(blocks, axis=1)
        return gradients.reshape(n, self._n_constraints, 3 * self._n_atoms)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross product along the last axis; ``np.cross`` takes three times as long."""
    result = np.empty_like(a)
    for k, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        result[..., k] = a[..., i] * b[..., j] - a[..., j] * b[..., i]
    return result
