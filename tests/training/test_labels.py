"""Labels of a force field: the force that direct evaluation gives, turned with the frame, and none of the test part."""

from pathlib import Path

import mdtraj
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from openmm_neuralmd.analysis.bundled import get_bundled_path
from openmm_neuralmd.complex import Complex, load_bundled_complex
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.simulation.energies import ForceFieldModel, load_force_field_model
from openmm_neuralmd.training.labels import ForceFieldLabels, compute_labels

COMPLEX = get_bundled_path("complex.pdb")
STEP = 1e-3  # [nm]; files hold single precision


@pytest.fixture(scope="module")
def bundled() -> Complex:
    return load_bundled_complex()


@pytest.fixture(scope="module")
def model() -> ForceFieldModel:
    return load_force_field_model(["amber14-all.xml", get_bundled_path("ligand_gaff2.xml")], COMPLEX, ligand="0WC")


@pytest.fixture(scope="module")
def holo() -> mdtraj.Trajectory:
    """Hydrogens and heavy atoms a little out of place, the centre at the origin."""
    holo = mdtraj.load(str(COMPLEX))
    holo.xyz = holo.xyz - holo.xyz.mean(axis=1, keepdims=True)
    holo.xyz += np.random.default_rng(0).normal(scale=0.003, size=holo.xyz.shape)
    return holo


def label(model, frames: np.ndarray, holo, complex_, folder: Path, stop: int = 100) -> ForceFieldLabels:
    path = folder / "frames.dcd"
    mdtraj.Trajectory(frames, holo.topology).save_dcd(str(path))
    return compute_labels(model, path, COMPLEX, complex_, stop=stop, frame_interval=80.0)


def test_force_is_the_slope_for_a_heavy_atom_with_its_hydrogens(model, holo, bundled, tmp_path) -> None:
    ligand = bundled.ligand
    methyl = int(np.bincount(ligand.hydrogen_parents).argmax())
    atoms = [ligand.atom_indices[methyl], *ligand.hydrogen_indices[ligand.hydrogen_parents == methyl]]
    assert len(atoms) == 4
    frames = np.repeat(holo.xyz, 7, axis=0)
    for k in range(3):
        frames[1 + 2 * k][atoms, k] += STEP
        frames[2 + 2 * k][atoms, k] -= STEP
    labels = label(model, frames, holo, bundled, tmp_path)
    turn, _ = Rotation.align_vectors(
        labels.positions[0] - labels.positions[0].mean(0),
        holo.xyz[0, ligand.atom_indices] - holo.xyz[0, ligand.atom_indices].mean(0),
    )
    slopes = -(labels.energies[1::2] - labels.energies[2::2]) / (2 * STEP)
    np.testing.assert_allclose(turn.inv().apply(labels.forces[0, methyl]), slopes, rtol=0.02, atol=5.0)
    assert np.linalg.norm(slopes) > 100.0


def test_labels_turn_with_the_frame(model, holo, bundled, tmp_path) -> None:
    """A complex that tumbled is laid back: the same places, forces and energies."""
    turns = Rotation.random(3, random_state=1)
    tumbled = np.stack([turn.apply(holo.xyz[0]) + shift for turn, shift in zip(turns, np.eye(3), strict=True)])
    labels = label(model, np.concatenate([holo.xyz, tumbled]), holo, bundled, tmp_path)
    size = np.sqrt((labels.forces[0] ** 2).mean())
    assert size > 300.0
    np.testing.assert_allclose(labels.positions[1:], labels.positions[:1].repeat(3, 0), atol=2e-6)
    np.testing.assert_allclose(labels.forces[1:], labels.forces[:1].repeat(3, 0), atol=0.005 * size)
    np.testing.assert_allclose(labels.energies[1:], labels.energies[0], atol=0.05)


def test_hydrogens_are_added_to_their_heavy_atoms(model, holo, bundled, tmp_path) -> None:
    """All forces are still there: their sum is the slope for moving the ligand as a whole."""
    frames = np.repeat(holo.xyz, 3, axis=0)
    ligand = [a.index for a in holo.topology.atoms if a.residue.name == "0WC"]
    axis = np.array([0.6, 0.0, 0.8])
    frames[1][ligand] += STEP * axis
    frames[2][ligand] -= STEP * axis
    labels = label(model, frames, holo, bundled, tmp_path)
    assert labels.forces.shape == (3, 27, 3)
    moved = (labels.positions[1] - labels.positions[2]).mean(axis=0)
    assert labels.forces[0].sum(axis=0) @ moved == pytest.approx(labels.energies[2] - labels.energies[1], rel=0.03)


def test_test_part_has_no_labels(model, holo, bundled, tmp_path) -> None:
    """Frames from ``stop`` on may hold anything."""
    frames = np.repeat(holo.xyz, 5, axis=0)
    frames[:, :, 0] += 0.1 * np.arange(5)[:, None]
    labels = label(model, frames, holo, bundled, tmp_path, stop=3)
    frames[3:, bundled.ligand.atom_indices] += 0.05
    changed = label(model, frames, holo, bundled, tmp_path, stop=3)
    assert labels.frames.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(labels.forces, changed.forces)
    assert labels.select(1, 3).frames.tolist() == [1, 2]


def test_protein_without_side_chains_is_refused(model, holo, bundled, tmp_path) -> None:
    part = holo.atom_slice(holo.topology.select("backbone or resname '0WC'"))
    mdtraj.Trajectory(np.repeat(part.xyz, 3, axis=0), part.topology).save_dcd(str(tmp_path / "a.dcd"))
    part.save_pdb(str(tmp_path / "a.pdb"))
    with pytest.raises(InputError, match=r"a\.dcd: .*whole complex"):
        compute_labels(model, tmp_path / "a.dcd", tmp_path / "a.pdb", bundled, stop=2, frame_interval=8.0)
