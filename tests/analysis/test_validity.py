"""Validity checks on shapes whose answers are known."""

import mdtraj
import numpy as np
import pytest

from openmm_neuralmd.analysis.validity import (
    compute_angles,
    compute_bond_deviations,
    compute_handedness,
    compute_ring_deviations,
    count_clashes,
    find_angles,
    get_vdw_radii,
)

CARBON = np.array([6])


def test_bond_deviations_by_hand() -> None:
    geometry = np.array([[0.0, 0, 0], [0.15, 0, 0], [0.15, 0.15, 0]])
    positions = np.stack([geometry, geometry * 1.1])
    found = compute_bond_deviations(positions, geometry, np.array([[0, 1], [1, 2]]))
    assert found == pytest.approx(np.array([[0.0, 0.0], [0.015, 0.015]]))


def test_angles_by_hand_and_mdtraj(random_path: np.ndarray, random_trajectory: mdtraj.Trajectory) -> None:
    right = np.array([[[1.0, 0, 0], [0, 0, 0], [0, 1, 0], [-1, 0, 0]]])
    assert compute_angles(right, np.array([[0, 1, 2], [0, 1, 3]]))[0] == pytest.approx([np.pi / 2, np.pi])
    triples = np.array([[0, 1, 2], [3, 4, 5]])
    expected = mdtraj.compute_angles(random_trajectory, triples)
    assert compute_angles(random_path, triples) == pytest.approx(expected, abs=1e-4)


def test_angles_are_those_of_the_bonds() -> None:
    assert find_angles(np.array([[0, 1], [1, 2], [2, 3]])).tolist() == [[0, 1, 2], [1, 2, 3]]
    assert len(find_angles(np.array([[0, 1], [0, 2], [0, 3], [0, 4]]))) == 6  # a tetrahedral centre


def test_handedness_changes_under_inversion() -> None:
    center = np.array([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]])
    atoms = np.array([[0, 1, 2, 3]])
    assert compute_handedness(center, atoms)[0, 0] == 1
    assert compute_handedness(-center, atoms)[0, 0] == -1
    assert compute_handedness(center, atoms[:, [0, 2, 1, 3]])[0, 0] == -1


def test_ring_deviation_by_hand() -> None:
    angles = np.arange(6) * np.pi / 3
    flat = 0.14 * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    chair = flat.copy()
    chair[:, 2] = 0.02 * (-1.0) ** np.arange(6)
    found = compute_ring_deviations(np.stack([flat, chair]), [range(6)])
    assert found[:, 0] == pytest.approx([0.0, 0.02], abs=1e-9)


@pytest.mark.parametrize(("fraction", "clashes"), [(0.749, 1), (0.751, 0)])
def test_clash_at_the_limit(fraction: float, clashes: int) -> None:
    limit = 2 * get_vdw_radii(CARBON)[0]
    assert limit == pytest.approx(0.34)
    ligand, protein = np.zeros((1, 1, 3)), np.array([[[fraction * limit, 0, 0]]])
    arguments = {"ligand_elements": CARBON, "protein_elements": CARBON}
    assert count_clashes(ligand, protein, **arguments).tolist() == [clashes]
    assert count_clashes(ligand, protein[0], **arguments).tolist() == [clashes]


def test_clashes_agree_with_the_full_distance_matrix() -> None:
    rng = np.random.default_rng(5)
    ligand, protein = rng.uniform(0, 1, (3, 20, 3)), rng.uniform(0, 1, (3, 50, 3))
    z_ligand, z_protein = rng.choice([6, 7, 8, 16, 17], 20), rng.choice([6, 7, 8], 50)
    limits = 0.75 * (get_vdw_radii(z_ligand)[:, None] + get_vdw_radii(z_protein))
    expected = [
        np.count_nonzero(np.linalg.norm(a[:, None] - b, axis=-1) < limits) for a, b in zip(ligand, protein, strict=True)
    ]
    assert count_clashes(ligand, protein, ligand_elements=z_ligand, protein_elements=z_protein).tolist() == expected
