"""The path metrics against hand-computed cases and mdtraj."""

import mdtraj
import numpy as np
import pytest

from openmm_neuralmd.analysis.metrics import (
    compute_published_metrics,
    compute_rmsd,
    compute_textbook_metrics,
)
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.molecule.superposition import superpose

BONDS = np.array([[0, 1]])


def make_shifted_pair() -> tuple[np.ndarray, np.ndarray]:
    """Two atoms 0.1 nm apart, three frames; the prediction has the second atom (0.03, 0.04, 0) off in frame 1."""
    reference = np.zeros((3, 2, 3))
    reference[:, 1, 0] = 0.1
    prediction = reference.copy()
    prediction[1, 1] += (0.03, 0.04, 0.0)
    return prediction, reference


def test_published_metrics_by_hand() -> None:
    found = compute_published_metrics(*make_shifted_pair())
    off = np.hypot(0.13, 0.04) - 0.1  # change of the one distance, in one frame of three
    assert found["mae_nm"] == pytest.approx(0.07 / 6)  # summed over x, y, z; six (frame, atom) pairs
    assert found["rmse_nm"] == pytest.approx(0.05 / 6)  # the mean length
    assert found["matching_nm"] == pytest.approx(np.sqrt(2 * off**2 / 4) / 3)  # two of four matrix entries
    assert found["stability_percent"] == 100.0


def test_published_stability_counts_the_diagonal() -> None:
    prediction, reference = make_shifted_pair()
    prediction[:, 1, 0] = 1.0
    assert compute_published_metrics(prediction, reference)["stability_percent"] == pytest.approx(50.0)


def test_textbook_metrics_by_hand() -> None:
    prediction, reference = make_shifted_pair()
    found = compute_textbook_metrics(prediction, reference, BONDS)
    assert found["mae_nm"] == pytest.approx(0.07 / 18)
    assert found["rmse_nm"] == pytest.approx(np.sqrt(0.05**2 / 6))
    assert found["matching_nm"] == pytest.approx((np.hypot(0.13, 0.04) - 0.1) / np.sqrt(3))
    assert found["stability_percent"] == 100.0


def test_textbook_stability_ends_at_the_first_broken_bond() -> None:
    prediction, reference = make_shifted_pair()
    prediction[1, 1, 0] = 0.16  # 0.06 nm too long in frame 1, whole again in frame 2
    assert compute_textbook_metrics(prediction, reference, BONDS)["stability_percent"] == pytest.approx(100 / 3)


def test_a_perfect_prediction_has_no_error() -> None:
    reference = make_shifted_pair()[1]
    for found in (
        compute_published_metrics(reference, reference),
        compute_textbook_metrics(reference, reference, BONDS),
    ):
        assert found == {"mae_nm": 0.0, "rmse_nm": 0.0, "matching_nm": 0.0, "stability_percent": 100.0}


def test_shapes_must_agree() -> None:
    prediction, reference = make_shifted_pair()
    with pytest.raises(InputError, match="same number"):
        compute_published_metrics(prediction[:2], reference)
    with pytest.raises(InputError, match="at least"):
        compute_textbook_metrics(prediction[:0], reference[:0], BONDS)


def test_rmsd_agrees_with_mdtraj(random_path: np.ndarray, random_trajectory: mdtraj.Trajectory) -> None:
    expected = mdtraj.rmsd(random_trajectory, random_trajectory, frame=0)
    superposed = superpose(random_path, random_path[0])
    assert compute_rmsd(superposed, random_path[0]) == pytest.approx(expected, abs=2e-4)
    assert np.all(compute_rmsd(random_path, random_path[0]) >= expected - 2e-4)


def test_rmsd_superposes_nothing(random_path: np.ndarray) -> None:
    pose = random_path[0]
    assert compute_rmsd(pose[None] + np.array([0.3, 0.4, 0.0]), pose)[0] == pytest.approx(0.5)
