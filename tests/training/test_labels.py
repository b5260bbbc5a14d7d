"""Labels of a force field: the force that direct evaluation gives, turned with the frame, and none of the test part."""

import dataclasses
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from openmm_neuralmd.analysis.bundled import get_bundled_path
from openmm_neuralmd.cli import main
from openmm_neuralmd.data.entries import Entry
from openmm_neuralmd.data.trajectories import LigandTrajectory, load_ligand_trajectory
from openmm_neuralmd.data.windows import Split
from openmm_neuralmd.dynamics.ensembles import run_ensemble
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.evaluation.predictors import make_model_predictors
from openmm_neuralmd.force_field.energies import ForceFieldModel, load_force_field_model
from openmm_neuralmd.io.trajectories import TrajectoryFile
from openmm_neuralmd.models.export import load_model
from openmm_neuralmd.models.networks.interface import build_ligand_graph, build_protein_structure
from openmm_neuralmd.models.registry import build_network, get_kind
from openmm_neuralmd.molecule.complex import Complex, load_bundled_complex
from openmm_neuralmd.training.labels import ForceFieldLabels, load_labelled_trajectory, split_labels
from openmm_neuralmd.training.loop import TrainingSettings
from openmm_neuralmd.training.train import train_model
from tests.helpers import SHARED

COMPLEX = get_bundled_path("complex.pdb")
TINY = {"hidden": 16, "n_layers": 1, "n_radial": 8}
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


def label(model, frames: np.ndarray, holo, complex_, folder: Path, split: float = 1.0) -> ForceFieldLabels:
    path = folder / "frames.dcd"
    mdtraj.Trajectory(frames, holo.topology).save_dcd(str(path))
    return load_labelled_trajectory(model, path, COMPLEX, complex_, split=split, frame_interval=80.0)[1]


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
    """Which may hold anything."""
    frames = np.repeat(holo.xyz, 5, axis=0)
    frames[:, :, 0] += 0.1 * np.arange(5)[:, None]
    labels = label(model, frames, holo, bundled, tmp_path, split=0.6)
    frames[3:, bundled.ligand.atom_indices] += 0.05
    changed = label(model, frames, holo, bundled, tmp_path, split=0.6)
    assert labels.frames.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(labels.forces, changed.forces)
    assert labels.select(1, 3).frames.tolist() == [1, 2]


def test_protein_without_side_chains_is_refused(model, holo, bundled, tmp_path) -> None:
    part = holo.atom_slice(holo.topology.select("backbone or resname '0WC'"))
    mdtraj.Trajectory(np.repeat(part.xyz, 3, axis=0), part.topology).save_dcd(str(tmp_path / "a.dcd"))
    part.save_pdb(str(tmp_path / "a.pdb"))
    with pytest.raises(InputError, match=r"a\.dcd: .*whole complex"):
        load_labelled_trajectory(model, tmp_path / "a.dcd", tmp_path / "a.pdb", bundled, split=0.8, frame_interval=8.0)


@pytest.fixture(scope="module")
def shaken(holo, bundled, model, tmp_path_factory) -> tuple[LigandTrajectory, ForceFieldLabels]:
    """A ligand whose atoms fluctuate in a protein at rest."""
    frames = np.repeat(holo.xyz, 20, axis=0)
    noise = np.random.default_rng(1).normal(scale=0.004, size=(20, bundled.ligand.n_atoms, 3))
    frames[:, bundled.ligand.atom_indices] += noise
    labels = label(model, frames, holo, bundled, tmp_path_factory.mktemp("shaken"), split=0.8)
    positions = np.concatenate([labels.positions, labels.positions[:4]])  # the test part is never read
    return LigandTrajectory(positions, 80.0, "shaken", "0" * 64), labels


def train(bundled: Complex, shaken, out: Path, iterations: int = 40, **options):
    trajectory, labels = shaken
    settings = TrainingSettings(iterations=iterations, batch_size=8, validate_every=20, learning_rate=1e-2)
    return train_model(
        [Entry(bundled, [trajectory])], out, kind="verlet", snapshot_interval=80.0, settings=settings, labels=[labels],
        config=TINY, **options,
    )  # fmt: skip


def test_a_short_training_reduces_the_force_error(bundled, shaken) -> None:
    """Of the frames it is trained on; 1 is the error of no force."""
    labels, _ = split_labels([shaken[1]], [Split(12, 16, 20)], 80.0)
    torch.manual_seed(0)
    net = build_network("verlet", {**TINY, "ligand_cutoff": 5.0, "pocket_cutoff": 10.0, "has_force_field": True})
    net.force_field_scale.copy_(labels.force_square.sqrt())
    graph, structure = build_ligand_graph(bundled), build_protein_structure(bundled, pocket_cutoff=10.0)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    errors = []
    for _ in range(60):
        found = get_kind("verlet").compute_label_errors(net, labels, graph, net.embed_protein(structure))
        force_error, energy_error = found["relative_force_error"], found["relative_energy_error"]
        optimizer.zero_grad()
        (force_error + energy_error).backward()
        optimizer.step()
        errors.append(force_error.item())
    assert errors[0] == pytest.approx(1.0, abs=0.3)
    assert min(errors[-5:]) < 0.7


def test_file_of_two_energies(bundled, shaken, tmp_path) -> None:
    """Labels enter the loss; the second energy moves the ligand far away in one snapshot; a resume wants the same."""
    result = train(bundled, shaken, tmp_path / "m.pt")
    assert result.history[-1]["training_loss"] < result.history[0]["training_loss"]
    model = load_model(tmp_path / "m.pt")
    assert 0.0 < model.metadata["metrics"]["relative_force_error"] < 2.0
    assert model.metadata["training"]["force_field"]["dielectric"] == 4.0
    plain, by_force_field = make_model_predictors(model, bundled, "VerletMD")
    history = torch.from_numpy(10.0 * shaken[0].snapshots[None, :2].astype(np.float64))
    near, far = (
        float((run_ensemble(p.propagator, history, [0], 1).path[0] - history[:, 1]).abs().max())
        for p in (plain, by_force_field)
    )
    assert near < 10.0 < far
    other = dataclasses.replace(shaken[1], forces=1.1 * shaken[1].forces)
    with pytest.raises(InputError, match="another force field"):
        train(bundled, (shaken[0], other), tmp_path / "m.pt", resume=True)


def test_units_and_parts_of_labels(shaken) -> None:
    """1 kJ/mol/nm is 10 tau^2 Da A/snapshot^2, 1 kJ/mol is 100 tau^2 Da A^2/snapshot^2; energies up to a constant."""
    labels = shaken[1]
    training, validation = split_labels([labels], [Split(12, 16, 20)], 80.0)
    assert (len(training.positions), len(validation.positions)) == (12, 4)
    np.testing.assert_allclose(validation.forces, labels.forces[12:] * 10 * 80.0**2, rtol=1e-6)
    np.testing.assert_allclose(np.diff(training.energies), np.diff(labels.energies[:12]) * 100 * 80.0**2, rtol=1e-4)
    with pytest.raises(InputError, match="fewer than two"):
        split_labels([labels], [Split(15, 16, 20)], 80.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kind", "sde", "--system", "s.xml"], "--kind verlet"),
        (["--kind", "verlet", "--system", "s.xml"], "--system-top"),
        (["--kind", "verlet", "--system-top", "s.pdb"], "needs a force field"),
        (["--kind", "verlet", "--system", "s.xml", "--forcefield", "f.xml"], "--system holds all parameters"),
    ],
)
def test_options_that_do_not_fit(words, message, tmp_path, capsys) -> None:
    data = [get_bundled_path("r1_pocket.xtc"), "--top", get_bundled_path("pocket.pdb"), "--ligand", "0WC"]
    assert main(["train", *map(str, data), *words, "--out", str(tmp_path / "m.pt")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.skipif(not (SHARED / "data" / "4g3e").is_dir(), reason="no MD in ../shared/data/4g3e")
def test_command_with_the_system_that_md_ran(tmp_path, capsys) -> None:
    """MD of the whole complex is labelled and learned from; without side chains it is refused."""
    data = SHARED / "data" / "4g3e"
    system = ["--system", data / "solvated_system.xml.gz", "--system-top", data / "solvated_start.pdb.gz"]
    fast = ["--hidden", "8", "--layers", "1", "--iterations", "4", "--batch-size", "2", "--threads", "1", "--quiet"]
    options = ["--ligand", "0WC", "--kind", "verlet", *system, *fast, "--out", tmp_path / "m.pt"]
    whole = [data / "r1_complex_80ps.dcd", "--top", data / "complex.pdb"]
    backbone = [data / "r1_ligand_backbone_8ps.dcd", "--top", data / "ligand_backbone.pdb"]
    assert main(["train", *map(str, backbone + options)]) == 2
    assert "whole complex" in capsys.readouterr().err
    assert main(["train", *map(str, whole + options)]) == 0
    assert "force field: 28 frames, forces of 947 kJ/mol/nm" in capsys.readouterr().out
    assert load_model(tmp_path / "m.pt").metadata["training"]["force_field"]["parameters"] == "solvated_system.xml.gz"


def test_a_trajectory_is_read_once(model, holo, bundled, tmp_path, monkeypatch) -> None:
    """Snapshots are those that are read alone, and labels are of them."""
    frames = np.repeat(holo.xyz, 10, axis=0)
    frames[:, bundled.ligand.atom_indices] += np.random.default_rng(3).normal(scale=0.004, size=(10, 27, 3))
    path = tmp_path / "frames.dcd"
    mdtraj.Trajectory(frames, holo.topology).save_dcd(str(path))
    alone = load_ligand_trajectory(path, COMPLEX, bundled, frame_interval=80.0)
    passes = []
    iterate = TrajectoryFile.iterate
    monkeypatch.setattr(TrajectoryFile, "iterate", lambda *given: passes.append(given) or iterate(*given))
    trajectory, labels = load_labelled_trajectory(model, path, COMPLEX, bundled, split=0.8, frame_interval=80.0)
    assert len(passes) == 1
    np.testing.assert_allclose(trajectory.snapshots, alone.snapshots, atol=1e-6)
    assert dataclasses.replace(trajectory, snapshots=alone.snapshots) == alone
    assert labels.frames.tolist() == list(range(8))
    np.testing.assert_allclose(labels.positions, alone.snapshots[:8], atol=1e-6)
    again = label(model, frames[:8], holo, bundled, tmp_path)
    np.testing.assert_array_equal(labels.forces, again.forces)
