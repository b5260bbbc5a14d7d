"""Superposition against scipy's and mdtraj's, with weights and without, and no mirror images."""

import mdtraj
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from openmm_neuralmd.molecule.superposition import compute_superposed_rmsd, find_superposition, superpose


@pytest.fixture
def points() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(9, 3))


def test_a_moved_body_comes_back(points: np.ndarray) -> None:
    turns = Rotation.random(20, random_state=2).as_matrix()
    moved = points @ turns + np.random.default_rng(3).normal(size=(20, 1, 3)) * 10.0
    assert np.abs(superpose(moved, points) - points).max() < 1e-12
    assert compute_superposed_rmsd(moved[0], points) == pytest.approx(0.0, abs=1e-12)


def test_agrees_with_scipy_and_mdtraj(points: np.ndarray) -> None:
    noisy = points @ Rotation.random(random_state=5).as_matrix() + np.random.default_rng(4).normal(size=(30, 9, 3))
    expected = mdtraj.Trajectory(noisy, None).superpose(mdtraj.Trajectory(points[None], None)).xyz
    assert np.abs(superpose(noisy, points) - expected).max() < 1e-4  # mdtraj computes in single precision
    for frame in noisy:
        centred = frame - frame.mean(axis=0), points - points.mean(axis=0)
        assert compute_superposed_rmsd(frame, points) == pytest.approx(Rotation.align_vectors(*centred)[1] / 3.0)


@pytest.mark.parametrize("seed", range(5))
def test_weighted(points: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.uniform(1.0, 30.0, size=9)
    noisy = points + rng.normal(size=points.shape)
    found = find_superposition(noisy, points, weights)
    centres = weights @ noisy / weights.sum(), weights @ points / weights.sum()
    expected, _ = Rotation.align_vectors(points - centres[1], noisy - centres[0], weights=weights)
    assert np.abs(found.rotations.T - expected.as_matrix()).max() < 1e-9
    assert weights @ found.apply(noisy) == pytest.approx(weights @ points)


def test_a_mirror_image_is_not_made(points: np.ndarray) -> None:
    mirrored = points * np.array([1.0, 1.0, -1.0])
    found = find_superposition(mirrored, points)
    assert np.linalg.det(found.rotations) == pytest.approx(1.0)
    assert compute_superposed_rmsd(mirrored, points) > 0.3


def test_points_in_a_plane_and_on_a_line(points: np.ndarray) -> None:
    for flat in (points * np.array([1.0, 1.0, 0.0]), points * np.array([1.0, 0.0, 0.0])):
        moved = flat @ Rotation.random(random_state=8).as_matrix() + 3.0
        assert np.abs(superpose(moved, flat) - flat).max() < 1e-9


def test_others_are_carried_along(points: np.ndarray) -> None:
    turn = Rotation.random(random_state=9).as_matrix()
    moved = points @ turn - 2.0
    found = find_superposition(moved[:4], points[:4])
    assert np.abs(found.apply(moved) - points).max() < 1e-12
    assert superpose(moved[None].astype(np.float32), points).dtype == np.float64
