"""Fluctuations and the distances between them, against hand-computed cases, closed forms and mdtraj."""

import mdtraj
import numpy as np
import pytest

from openmm_neuralmd.analysis.fluctuations import (
    compute_autocorrelation,
    compute_circular_wasserstein_distances,
    compute_correlation_time,
    compute_energy_score,
    compute_rmsf,
    compute_sliding_rmsf,
    compute_torsions,
    compute_wasserstein_distances,
)
from openmm_neuralmd.errors import InputError


def test_rmsf_by_hand() -> None:
    positions = np.zeros((4, 2, 3))
    positions[:, 1, 0] = [0.3, -0.3, 0.3, -0.3]
    assert compute_rmsf(positions) == pytest.approx([0.0, 0.3])


def test_rmsf_agrees_with_mdtraj(random_trajectory: mdtraj.Trajectory) -> None:
    random_trajectory.superpose(random_trajectory, 0)  # mdtraj.rmsf does so in any case
    expected = mdtraj.rmsf(random_trajectory, random_trajectory, 0)
    assert compute_rmsf(random_trajectory.xyz) == pytest.approx(expected, abs=1e-5)


def test_sliding_rmsf_by_hand() -> None:
    positions = np.zeros((6, 2, 3))
    positions[5, 0, 0] = 1.0  # one atom of two jumps at the last of six frames
    assert compute_sliding_rmsf(positions, 5) == pytest.approx([0.0, np.sqrt((0.2 * 0.8) / 2)])
    with pytest.raises(InputError, match="needs at least 5"):
        compute_sliding_rmsf(positions[:4])


def test_torsions_by_hand_and_mdtraj(random_path: np.ndarray, random_trajectory: mdtraj.Trajectory) -> None:
    square = np.array([[[1.0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 1]]])
    assert compute_torsions(square, np.array([[0, 1, 2, 3]]))[0, 0] == pytest.approx(np.pi / 2)
    quadruples = np.array([[0, 1, 2, 3], [4, 5, 6, 7], [1, 3, 5, 7]])
    expected = mdtraj.compute_dihedrals(random_trajectory, quadruples)
    assert compute_torsions(random_path, quadruples) == pytest.approx(expected, abs=1e-4)


def test_autocorrelation_of_a_first_order_process() -> None:
    rng = np.random.default_rng(3)
    memory, n_frames = 0.8, 20000
    path = np.zeros((n_frames, 4, 3))
    for k in range(1, n_frames):
        path[k] = memory * path[k - 1] + rng.normal(size=(4, 3))
    found = compute_autocorrelation(path, 10)
    assert found == pytest.approx(memory ** np.arange(11), abs=0.02)
    tau = compute_correlation_time(compute_autocorrelation(path, 40), interval=2.0)
    assert tau == pytest.approx(2.0 * (1 / (1 - memory) - 0.5), rel=0.05)


def test_a_frozen_ligand_has_no_autocorrelation() -> None:
    found = compute_autocorrelation(np.ones((10, 3, 3)), 5)
    assert np.isnan(found).all()
    assert np.isnan(compute_correlation_time(found, 1.0))


def test_wasserstein_of_shifted_columns() -> None:
    samples = np.random.default_rng(0).normal(size=(500, 2))
    assert compute_wasserstein_distances(samples, samples + np.array([0.0, 0.7])) == pytest.approx([0.0, 0.7])


def test_circular_wasserstein_crosses_the_boundary() -> None:
    narrow = np.random.default_rng(0).normal(scale=0.1, size=(400, 1))
    left, right = np.pi - 0.2 + narrow, -np.pi + 0.2 + narrow  # 0.4 rad apart, across pi
    assert compute_circular_wasserstein_distances(left, right) == pytest.approx([0.4], abs=1e-9)
    assert compute_circular_wasserstein_distances(left, left[:200]) < 0.03


def test_circular_wasserstein_of_opposite_points() -> None:
    assert compute_circular_wasserstein_distances(np.zeros((3, 1)), np.full((5, 1), np.pi)) == pytest.approx([np.pi])


def test_energy_score_prefers_the_true_spread() -> None:
    rng = np.random.default_rng(1)
    observations = rng.normal(scale=0.1, size=(200, 5, 3))
    scores = {
        scale: np.mean([compute_energy_score(rng.normal(scale=scale, size=(40, 5, 3)), o) for o in observations])
        for scale in (0.05, 0.1, 0.2)
    }
    assert scores[0.1] < scores[0.05]
    assert scores[0.1] < scores[0.2]


def test_energy_score_by_hand() -> None:
    ensemble = np.array([[[0.0, 0, 0]], [[2.0, 0, 0]]])
    assert compute_energy_score(ensemble, np.array([[1.0, 0, 0]])) == pytest.approx(1.0 - 0.5 * 2.0)
    assert compute_energy_score(ensemble[:1], np.array([[1.0, 0, 0]])) == pytest.approx(1.0)


def test_autocorrelation_is_the_direct_sum(random_path: np.ndarray) -> None:
    deviation = (random_path - random_path.mean(axis=0)).reshape(len(random_path), -1)
    direct = np.array([(deviation[: 60 - k] * deviation[k:]).sum() / (60 - k) for k in range(60)])
    assert compute_autocorrelation(random_path, 100) == pytest.approx(direct / direct[0], abs=1e-12)


def test_autocorrelation_of_a_long_path_is_quick() -> None:
    path = np.random.default_rng(0).normal(size=(100_000, 2, 3))
    found = compute_autocorrelation(path, 25_000)  # 25,000 sums of 600,000 products would take minutes
    assert np.abs(found[1:]).max() < 0.02
