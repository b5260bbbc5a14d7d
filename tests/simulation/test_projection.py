"""Bond projection: converged, complete, chirality kept, total momentum untouched; clear errors elsewhere."""

import numpy as np
import pytest

from openmm_neuralmd.complex import Ligand, load_bundled_complex
from openmm_neuralmd.errors import NonFiniteStateError, ProjectionError
from openmm_neuralmd.simulation import projection as projection_module
from openmm_neuralmd.simulation.projection import BondProjection, compute_pyramid_volumes, find_pyramidal_centres
from tests.helpers import CHIRAL_ALKYNE, CONVERGED_A, displace, make_complex

LIGANDS = {
    "bundled": None,
    "chiral alkyne": CHIRAL_ALKYNE,
    "fused rings": "c1ccc2c(c1)[nH]c1ccccc12",
    "bridged": "C1C2CC3CC1CC(C2)C3",
    "diyne": "CC#CC#CC",
    "two atoms": "CO",
}


@pytest.fixture(scope="module", params=LIGANDS)
def ligand(request: pytest.FixtureRequest) -> Ligand:
    smiles = LIGANDS[request.param]
    return (load_bundled_complex() if smiles is None else make_complex(smiles)).ligand


def find_worst_distance(ligand: Ligand, positions: np.ndarray) -> float:
    """Largest error of a bond or 1-3 distance [A], computed pair by pair."""
    return max(
        10 * abs(np.linalg.norm(positions[i] - positions[j]) - target)
        for (i, j), target in zip(*ligand.find_constraints(), strict=True)
    )


@pytest.mark.parametrize("rms_A", [0.1, 0.3, 1.0, 2.0])
def test_restores_distances_and_chirality(ligand: Ligand, rms_A: float) -> None:
    projection = BondProjection(ligand)
    for seed in range(10):
        moved = displace(ligand.geometry, rms_A / 10, seed=seed)
        projected, iterations = projection.project(moved)
        assert find_worst_distance(ligand, projected) < CONVERGED_A < find_worst_distance(ligand, moved)
        assert iterations > 0
        centres = find_pyramidal_centres(ligand.geometry, ligand.bonds)
        expected = compute_pyramid_volumes(ligand.geometry, centres)
        assert (compute_pyramid_volumes(projected, centres) * expected > 0).all()


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
    # the first iteration is a move along the bonds; later ones turn with them, so torque vanishes to first order
    torque = np.cross(moved - moved.mean(axis=0), mass * shift).sum(axis=0)
    scale = (np.linalg.norm(moved - moved.mean(axis=0), axis=1) * np.linalg.norm(mass * shift, axis=1)).sum()
    assert np.linalg.norm(torque) < 0.15 * scale


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
    moved = ligand.geometry @ turn.T + [1.0, -2.0, 3.0]
    projected, _ = BondProjection(ligand).project(moved)
    np.testing.assert_allclose(projected, moved, rtol=0, atol=1e-12)


def test_mirrored_ligand_is_brought_back_to_its_chirality() -> None:
    ligand = make_complex(CHIRAL_ALKYNE).ligand
    centres = find_pyramidal_centres(ligand.geometry, ligand.bonds)
    assert len(centres) == 1
    mirrored = ligand.geometry * [1.0, 1.0, -1.0]
    assert (compute_pyramid_volumes(mirrored, centres) * compute_pyramid_volumes(ligand.geometry, centres) < 0).all()
    projected, _ = BondProjection(ligand).project(mirrored)
    assert (compute_pyramid_volumes(projected, centres) * compute_pyramid_volumes(ligand.geometry, centres) > 0).all()
    assert find_worst_distance(ligand, projected) < CONVERGED_A


def test_planar_centres_have_no_chirality() -> None:
    ligand = make_complex("CC(N)=O").ligand
    assert len(find_pyramidal_centres(ligand.geometry, ligand.bonds)) == 0


def test_non_finite_positions_raise() -> None:
    ligand = make_complex("CCO").ligand
    positions = ligand.geometry.copy()
    positions[1, 2] = np.nan
    with pytest.raises(NonFiniteStateError, match="NaN"):
        BondProjection(ligand).project(positions)


def test_unreachable_distances_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    """With too few iterations allowed, nothing converges and the error says what was tried."""
    monkeypatch.setattr(projection_module, "_MAX_ITERATIONS", 0)
    ligand = make_complex(CHIRAL_ALKYNE).ligand
    with pytest.raises(ProjectionError, match="steps per snapshot"):
        BondProjection(ligand).project(displace(ligand.geometry, 0.1, seed=0))


def test_an_exploded_ligand_is_refused_at_once() -> None:
    ligand = load_bundled_complex().ligand
    xyz = ligand.positions.copy()
    xyz[3] += 1e6
    with pytest.raises(ProjectionError, match="force is too large"):
        BondProjection(ligand).project(xyz)
