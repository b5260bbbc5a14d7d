"""Superposition: the rotation and translation that lay points onto others in least squares.

With centres c_x, c_y (weighted by w) and H = sum_i w_i (x_i - c_x) (y_i - c_y)^T = U S V^T the rotation is
R = U diag(1, 1, det(U V^T)) V^T for row vectors, y' = (x - c_x) R + c_y: a proper one, so no mirror image is made.

Source: Kabsch (1976), doi:10.1107/S0567739476001873, and (1978), doi:10.1107/S0567739478001680.
"""

from typing import NamedTuple

import numpy as np


class Superposition(NamedTuple):
    """Rotations for row vectors, (..., 3, 3), about ``origins`` (..., 3), which come to ``places`` (..., 3)."""

    rotations: np.ndarray
    origins: np.ndarray
    places: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Points (..., n_points, 3), which need not be those that were laid on others, moved along; float64."""
        return np.asarray((points - self.origins[..., None, :]) @ self.rotations + self.places[..., None, :])


def find_superposition(moving: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> Superposition:
    """How to lay points onto others.

    Args:
        moving: (..., n_points, 3).
        target: The same, or one for all, (n_points, 3), in the same unit of length.
        weights: Of the points, such as masses, (n_points,); all alike where None.
    """
    n_points = moving.shape[-2]
    shares = np.full(n_points, 1.0 / n_points) if weights is None else weights / weights.sum()
    x, y = np.asarray(moving, dtype=np.float64), np.asarray(target, dtype=np.float64)
    origins, places = shares @ x, shares @ y
    covariance = ((x - origins[..., None, :]) * shares[:, None]).swapaxes(-1, -2) @ (y - places[..., None, :])
    u, _, vt = np.linalg.svd(covariance)
    u[..., 2] *= np.sign(np.linalg.det(u @ vt))[..., None]
    return Superposition(u @ vt, origins, places)


def superpose(moving: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Points (..., n_points, 3) laid onto others; arguments as of ``find_superposition``."""
    return find_superposition(moving, target, weights).apply(moving)


def compute_superposed_rmsd(first: np.ndarray, second: np.ndarray) -> float:
    """Root mean square distance after superposition; both (n_atoms, 3)."""
    return float(np.sqrt(((superpose(first, second) - second) ** 2).sum(axis=-1).mean()))
