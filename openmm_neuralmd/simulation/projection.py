"""Bond projection: bring bonds and 1-3 distances of a displaced ligand back to their reference values.

A step of tens of picoseconds moves atoms by about an angstrom, where SHAKE-like constraint solvers diverge. Here
the distances C(x) = |x_i - x_j| - d_ij = 0 are met by damped Gauss-Newton steps with the gradients J at the current
positions,

    dx = -M^-1 J^T (J M^-1 J^T + mu I)^-1 C(x),    mu proportional to |C(x)|.

The inverse mass matrix makes the correction a set of internal forces acting along the pairs, as in SHAKE: the
centre of mass stays where the model put it and no net torque acts. The damping keeps the step defined where
constraints are redundant (rings) or singular (a planar group, a line of bonds: the out-of-plane and bending modes
enter at second order only), and being proportional to the residual it does not spoil the convergence there.

Source: SHAKE, Ryckaert et al. (1977), doi:10.1016/0021-9991(77)90098-5; damping proportional to the residual,
Fan and Yuan (2005), doi:10.1007/s00607-004-0083-1.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from openmm_neuralmd.complex import Ligand
from openmm_neuralmd.errors import NonFiniteStateError, ProjectionError

TOLERANCE_NM = 1e-4
_MAX_ITERATIONS = 50
_MAX_MOVE_NM = 0.1  # longest move of an atom in one iteration
_DAMPING_PER_NM = 2.0  # mu / rms(C), with masses relative to their mean; robust from 0.1 to 2 A displacement
_PATH_STEP_NM = 0.02  # first increment of the guided path
_LONGEST_PATH_NM = 5.0  # of an atom away from the ideal shape; farther away the run has broken
_MAX_HALVINGS = 5
_PYRAMIDAL_VOLUME = 0.3  # of three unit bond vectors: 0.77 for an ideal tetrahedron, 0 for a planar centre


class BondProjection:
    """Projection of ligand positions onto its bonds and 1-3 distances, with chirality kept.

    Positions that Gauss-Newton cannot project directly, or only with an inverted centre, are reached from the
    reference geometry instead, superposed on them: along the straight path to the wanted positions in increments
    that are halved where they fail, projecting after each. The result depends on the positions alone.

    Args:
        ligand: Gives the pairs, their distances, masses and the chirality of its ``geometry``.
        tolerance: Largest distance error that counts as converged [nm].
    """

    def __init__(self, ligand: Ligand, *, tolerance: float = TOLERANCE_NM) -> None:
        self.pairs, self.distances = ligand.find_constraints()
        self.tolerance = tolerance
        self._geometry = np.asarray(ligand.geometry, dtype=np.float64)
        self._masses = np.asarray(ligand.masses, dtype=np.float64)
        n_pairs = len(self.pairs)
        incidence = np.zeros((n_pairs, ligand.n_atoms))
        incidence[np.arange(n_pairs), self.pairs[:, 0]] = 1.0
        incidence[np.arange(n_pairs), self.pairs[:, 1]] = -1.0
        weighted = incidence * (self._masses.mean() / self._masses)
        self._coupling = weighted @ incidence.T
        self._spread = np.ascontiguousarray(weighted.T)
        self._centres = find_pyramidal_centres(self._geometry, ligand.bonds)
        self._chirality = np.sign(compute_pyramid_volumes(self._geometry, self._centres))

    def project(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Move each replica to positions that satisfy all distances.

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
        if not np.isfinite(batch).all():
            raise NonFiniteStateError("positions to project hold NaN or infinity: the force is too large for this step")
        projected, iterations, converged = self._converge(batch)
        for k in np.flatnonzero(~(converged & self._has_chirality(projected))):
            projected[k], extra = self._follow_path(batch[k])
            iterations[k] += extra
        return projected.reshape(np.shape(positions)), iterations.reshape(np.shape(positions)[:-2])

    def compute_deviation(self, positions: np.ndarray) -> np.ndarray:
        """Largest distance error [nm] of positions (..., n_atoms, 3)."""
        difference = positions[..., self.pairs[:, 0], :] - positions[..., self.pairs[:, 1], :]
        return np.abs(np.linalg.norm(difference, axis=-1) - self.distances).max(axis=-1)

    def _converge(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gauss-Newton iterations on (n, n_atoms, 3); positions, iterations and whether each replica converged."""
        x = batch.copy()
        iterations = np.zeros(len(x), dtype=np.int64)
        first, second = self.pairs.T
        active = np.arange(len(x))
        for count in range(_MAX_ITERATIONS + 1):
            difference = x[active][:, first] - x[active][:, second]
            length = np.sqrt((difference * difference).sum(axis=-1))
            error = length - self.distances
            is_open = np.abs(error).max(axis=-1) > self.tolerance
            active, error = active[is_open], error[is_open]
            if len(active) == 0 or count == _MAX_ITERATIONS:
                break
            direction = difference[is_open] / np.maximum(length[is_open], 1e-12)[..., None]
            x[active] -= self._compute_move(direction, error)
            iterations[active] += 1
        converged = np.ones(len(x), dtype=bool)
        converged[active] = False
        return x, iterations, converged

    def _compute_move(self, direction: np.ndarray, error: np.ndarray) -> np.ndarray:
        matrix = (direction @ direction.swapaxes(-1, -2)) * self._coupling
        damping = _DAMPING_PER_NM * np.sqrt((error * error).mean(axis=-1))
        diagonal = np.arange(error.shape[-1])
        matrix[:, diagonal, diagonal] += damping[:, None]
        multipliers = np.linalg.solve(matrix, error[..., None])
        move = self._spread @ (direction * multipliers)
        longest = np.sqrt((move * move).sum(axis=-1)).max(axis=-1)
        return move * np.minimum(1.0, _MAX_MOVE_NM / np.maximum(longest, 1e-12))[:, None, None]

    def _has_chirality(self, batch: np.ndarray) -> np.ndarray:
        return (np.sign(compute_pyramid_volumes(batch, self._centres)) == self._chirality).all(axis=-1)

    def _follow_path(self, target: np.ndarray) -> tuple[np.ndarray, int]:
        """Guided path from the superposed reference geometry to the target (n_atoms, 3)."""
        x = self._superpose(target)
        path = target - x
        longest = float(np.linalg.norm(path, axis=-1).max())
        if longest > _LONGEST_PATH_NM:
            raise ProjectionError(
                f"bonds cannot be brought back: an atom is {longest:.3g} nm from where the ligand's shape has it: the "
                "force is too large for this step; use more steps per snapshot, or start from another pose"
            )
        increment = min(1.0, _PATH_STEP_NM / max(longest, 1e-12))
        smallest = increment / 2**_MAX_HALVINGS
        done, total = 0.0, 0
        while done < 1.0:
            part = min(increment, 1.0 - done)
            trial, iterations, converged = self._converge((x + part * path)[None])
            total += int(iterations[0])
            if converged[0] and self._has_chirality(trial)[0]:
                x, done = trial[0], done + part
            elif increment > smallest:
                increment /= 2
            else:
                raise ProjectionError(
                    f"bonds cannot be brought back: largest distance error {10 * self.compute_deviation(target):.2f} A "
                    f"before and {10 * self.compute_deviation(trial[0]):.4f} A after {total} iterations "
                    f"(tolerance {10 * self.tolerance:.4f} A); use more steps per snapshot"
                )
        return x, total

    def _superpose(self, target: np.ndarray) -> np.ndarray:
        weights = self._masses / self._masses.sum()
        centre, target_centre = weights @ self._geometry, weights @ target
        rotation, _ = Rotation.align_vectors(target - target_centre, self._geometry - centre, weights=weights)
        return rotation.apply(self._geometry - centre) + target_centre


def find_pyramidal_centres(geometry: np.ndarray, bonds: np.ndarray) -> np.ndarray:
    """Atoms with at least three neighbours out of one plane, and three of those: int64, (n_centres, 4).

    Args:
        geometry: Positions [nm], (n_atoms, 3).
        bonds: Atom pairs, int64, (n_bonds, 2).
    """
    found = []
    for atom in range(len(geometry)):
        neighbours = np.sort(np.concatenate([bonds[bonds[:, 0] == atom, 1], bonds[bonds[:, 1] == atom, 0]]))
        if len(neighbours) >= 3:
            found.append((atom, *neighbours[:3].tolist()))
    centres = np.array(found, dtype=np.int64).reshape(-1, 4)
    return centres[np.abs(compute_pyramid_volumes(geometry, centres)) > _PYRAMIDAL_VOLUME]


def compute_pyramid_volumes(positions: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Triple product of the unit vectors from each centre to three neighbours.

    Args:
        positions: [nm], (..., n_atoms, 3).
        centres: Centre and three neighbours, int64, (n_centres, 4).

    Returns:
        Signed and without unit, (..., n_centres); 0.77 in size for an ideal tetrahedron.
    """
    bonds = positions[..., centres[:, 1:], :] - positions[..., centres[:, :1], :]
    bonds = bonds / np.maximum(np.linalg.norm(bonds, axis=-1, keepdims=True), 1e-12)
    return np.linalg.det(bonds)
