"""Bond projection: converged, complete, chirality kept, total momentum untouched; clear errors elsewhere."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from openmm_neuralmd.analysis.validity import compute_pyramidality
from openmm_neuralmd.dynamics import projection as projection_module
from openmm_neuralmd.dynamics.projection import BondProjection
from openmm_neuralmd.errors import NonFiniteStateError, ProjectionError
from openmm_neuralmd.molecule.chemistry import list_neighbours
from openmm_neuralmd.molecule.complex import Ligand, load_bundled_complex
from openmm_neuralmd.molecule.shape import build_shape, compute_shape_errors
from tests.helpers import CHIRAL_ALKYNE, CONVERGED_A, displace, make_complex


def compute_pyramidalities(ligand: Ligand, positions: np.ndarray) -> np.ndarray:
    """Of the atoms that are clearly no planar ones in the ligand's geometry."""
    found = []
    for atom, neighbours in enumerate(list_neighbours(ligand.n_atoms, ligand.bonds)):
        if len(neighbours) >= 3:
            found.append((atom, *neighbours[:3]))
    centres = np.array(found, dtype=np.int64).reshape(-1, 4)
    is_pyramidal = np.abs(compute_pyramidality(ligand.geometry[None], centres)[0]) > 0.3
    return compute_pyramidality(positions[None], centres[is_pyramidal])[0]


def turn_torsions(ligand: Ligand, positions: np.ndarray) -> Iterator[np.ndarray]:
    """The ligand with each rotatable bond in turn turned by a radian."""
    for (a, b), sides in zip(*ligand.find_torsions(), strict=True):
        axis = (positions[b] - positions[a]) / np.linalg.norm(positions[b] - positions[a])
        turned = positions.copy()
        beyond = sides > 0
        turned[beyond] = positions[b] + Rotation.from_rotvec(axis).apply(positions[beyond] - positions[b])
        yield turned


def find_worst_distance(ligand: Ligand, positions: np.ndarray) -> float:
    """Largest error of a bond or 1-3 distance [A], computed pair by pair."""
    return max(
        10 * abs(np.linalg.norm(positions[i] - positions[j]) - target)
        for (i, j), target in zip(*ligand.find_constraints(), strict=True)
    )


def test_measures_what_models_do(ligand: Ligand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The projection's errors and gradients in numpy are those in torch."""
    monkeypatch.setattr(projection_module, "PLAY_NM", 0.0)
    moved = np.stack([displace(ligand.geometry, 0.03, seed=seed) for seed in range(3)])
    shape = build_shape(ligand.geometry, ligand.bonds)
    arrays = projection_module._ShapeArrays(shape, ligand.n_atoms)
    errors, units, normals = arrays.measure(moved)
    expected = compute_shape_errors(torch.from_numpy(moved), shape)
    for found, wanted in zip((errors, arrays.build_gradients(units, normals)), expected, strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("rms_A", [0.1, 0.3, 1.0, 2.0])
def test_restores_distances_and_chirality(ligand: Ligand, rms_A: float) -> None:
    projection = BondProjection(ligand)
    for seed in range(10):
        moved = displace(ligand.geometry, rms_A / 10, seed=seed)
        projected, iterations = projection.project(moved)
        assert find_worst_distance(ligand, projected) < CONVERGED_A < find_worst_distance(ligand, moved)
        assert iterations > 0
        assert (compute_pyramidalities(ligand, projected) * compute_pyramidalities(ligand, ligand.geometry) > 0).all()


def test_leaves_valid_positions_alone(ligand: Ligand) -> None:
    projected, iterations = BondProjection(ligand).project(ligand.geometry)
    assert iterations == 0
    assert np.array_equal(projected, ligand.geometry)


def test_is_close_to_the_given_positions_and_keeps_momentum(ligand: Ligand) -> None:
    moved = displace(ligand.geometry, 0.06, seed=3)
    projected, _ = BondProjection(ligand).project(moved)
    shift = projected - moved
    mass = ligand.masses[:, None]
    assert np.abs((mass * shift).sum(axis=0)).max() < 1e-10
    assert np.linalg.norm(shift, axis=1).mean() < 0.08
    torque = np.cross(moved - moved.mean(axis=0), mass * shift).sum(axis=0)
    assert np.abs(torque).max() < 1e-10


def test_batch_equals_single(ligand: Ligand) -> None:
    projection = BondProjection(ligand)
    batch = np.stack([displace(ligand.geometry, rms, seed=5) for rms in (0.0, 0.01, 0.05, 0.1)])
    together, iterations = projection.project(batch)
    for k, positions in enumerate(batch):
        alone, count = projection.project(positions)
        np.testing.assert_allclose(together[k], alone, rtol=0, atol=1e-9)
        assert iterations[k] == count


def test_keeps_rigid_motion_and_torsions(ligand: Ligand) -> None:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    projection = BondProjection(ligand, tolerance=1e-9)
    moved = projection.project(ligand.geometry)[0] @ turn.T + [1.0, -2.0, 3.0]
    for positions in (moved, *turn_torsions(ligand, moved)):
        projected, iterations = projection.project(positions)
        assert iterations == 0
        assert np.array_equal(projected, positions)


def test_mirrored_ligand_is_brought_back_to_its_chirality() -> None:
    ligand = make_complex(CHIRAL_ALKYNE).ligand
    expected = compute_pyramidalities(ligand, ligand.geometry)
    assert len(expected) == 1
    mirrored = ligand.geometry * [1.0, 1.0, -1.0]
    assert (compute_pyramidalities(ligand, mirrored) * expected < 0).all()
    projected, _ = BondProjection(ligand).project(mirrored)
    assert (compute_pyramidalities(ligand, projected) * expected > 0).all()
    assert find_worst_distance(ligand, projected) < CONVERGED_A


@pytest.mark.parametrize(
    "smiles", ["c1ccccc1", "c1ccc2c(c1)[nH]c1ccccc12", "CC#CC#CC", "CC(N)=O", "C1CCC1", "CCN=[N+]=[N-]"]
)
def test_what_is_flat_or_straight_converges_as_fast_as_the_rest(smiles: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where gradients vanish Gauss-Newton halves the error in each iteration: from 0.3 A to 1e-8 A it needs 25."""
    monkeypatch.setattr(projection_module, "FAST", 0.0)  # new gradients each time
    monkeypatch.setattr(projection_module, "PLAY_NM", 0.0)
    ligand = make_complex(smiles).ligand
    projection = BondProjection(ligand, tolerance=1e-9)
    for seed in range(10):
        projected, iterations = projection.project(displace(ligand.geometry, 0.03, seed=seed))
        assert iterations <= 6
        assert find_worst_distance(ligand, projected) < 1e-7


def test_lines_have_the_play_that_their_distances_tolerate() -> None:
    ligand = make_complex("CC#CC#CC").ligand
    projection = BondProjection(ligand)
    bent = projection.project(ligand.geometry)[0]
    across = np.cross(bent[1] - bent[0], [0.3, 0.5, 0.8])
    across /= np.linalg.norm(across)
    for offset, is_moved in ((0.0025, False), (0.01, True)):
        moved = bent.copy()
        moved[0] += 2.0 * offset * across  # of two bonds of about one length, so the middle is off by half
        projected, _ = projection.project(moved)
        assert find_worst_distance(ligand, projected) < CONVERGED_A
        assert (np.abs(projected - moved).max() > 0.2 * offset) == is_moved


def test_neighbouring_positions_go_to_neighbouring_ones(ligand: Ligand) -> None:
    """No amplification of rounding: where it was, runs of one seed in batches of different sizes came apart."""
    projection = BondProjection(ligand)
    for seed in range(10):
        moved = displace(ligand.geometry, 0.03, seed=seed)
        nearby = displace(moved, 1e-7, seed=seed + 100)
        difference = projection.project(nearby)[0] - projection.project(moved)[0]
        assert np.abs(difference).max() < 5 * np.abs(nearby - moved).max()


def test_non_finite_positions_raise() -> None:
    ligand = make_complex("CCO").ligand
    positions = ligand.geometry.copy()
    positions[1, 2] = np.nan
    with pytest.raises(NonFiniteStateError, match="NaN"):
        BondProjection(ligand).project(positions)


def test_unreachable_distances_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    """With too few iterations allowed, nothing converges and the error says what was tried."""
    monkeypatch.setattr(projection_module, "MAX_ITERATIONS", 0)
    ligand = make_complex(CHIRAL_ALKYNE).ligand
    with pytest.raises(ProjectionError, match="steps per snapshot"):
        BondProjection(ligand).project(displace(ligand.geometry, 0.1, seed=0))


@pytest.mark.parametrize("distance", [20.0, 1e6, 1e50, 1e105, 1e300])
def test_an_exploded_ligand_is_refused_at_once(distance: float) -> None:
    ligand = load_bundled_complex().ligand
    xyz = ligand.positions.copy()
    xyz[3] += distance
    with pytest.raises(ProjectionError, match="force is too large"):
        BondProjection(ligand).project(xyz)
