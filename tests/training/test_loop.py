"""Training: it learns, it continues bit for bit, it stops on NaN, and its file tells how it was made."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from openmm_neuralmd.data.trajectories import LigandTrajectory
from openmm_neuralmd.errors import InputError, NonFiniteStateError
from openmm_neuralmd.models.export import load_model
from openmm_neuralmd.models.registry import get_kind, list_kinds
from openmm_neuralmd.molecule.complex import Complex, load_bundled_complex
from openmm_neuralmd.training.devices import select_device
from openmm_neuralmd.training.loop import TrainingSettings, compute_rollout
from openmm_neuralmd.training.train import train_model

TINY = {"hidden": 16, "n_layers": 1, "n_radial": 8}
FAST = {"batch_size": 8, "validate_every": 5}


@pytest.fixture(scope="module")
def bundled() -> Complex:
    return load_bundled_complex()


@pytest.fixture(scope="module")
def trajectory(bundled: Complex) -> LigandTrajectory:
    """The first 160 bundled snapshots of r1: real MD."""
    from importlib import resources

    with resources.as_file(resources.files("openmm_neuralmd") / "assets/4g3e/reference.npz") as path:
        data = np.load(path)
        heavy = data["is_heavy"]
        return LigandTrajectory(data["r1"][:160][:, heavy].astype(np.float64), 8.0, "r1", "0" * 64)


def train(bundled, trajectory, out, kind="sde", iterations=15, **options):
    settings = TrainingSettings(iterations=iterations, **FAST, **options.pop("settings", {}))
    return train_model(
        [(bundled, [trajectory])], out, kind=kind, snapshot_interval=80.0, config=TINY, settings=settings, **options
    )


@pytest.mark.parametrize("kind", list_kinds())
def test_loss_falls_and_the_file_says_how(bundled, trajectory, tmp_path, kind):
    result = train(bundled, trajectory, tmp_path / "m.pt", kind, iterations=40, command="neuralmd train ...")
    losses = [row["validation_loss"] for row in result.history]
    assert losses[-1] < losses[0]
    model = load_model(tmp_path / "m.pt")
    assert model.kind == kind
    assert model.metadata["training"]["command"] == "neuralmd train ..."
    assert model.metadata["training"]["trajectories"][0]["frames_training"] == [0, 102]
    assert (tmp_path / "m.training" / "metrics.csv").read_text().count("\n") == 9


def test_resumed_training_is_bit_for_bit_the_same(bundled, trajectory, tmp_path):
    whole = train(bundled, trajectory, tmp_path / "whole.pt")

    class InterruptionError(Exception):
        pass

    def interrupt(step: int, row: dict) -> None:
        if step == 10:
            raise InterruptionError

    with pytest.raises(InterruptionError):
        train(bundled, trajectory, tmp_path / "m.pt", report=interrupt)
    assert not (tmp_path / "m.pt").exists()
    resumed = train(bundled, trajectory, tmp_path / "m.pt", resume=True)
    assert resumed.history == whole.history
    assert all(torch.equal(resumed.state[k], whole.state[k]) for k in whole.state)


def test_test_part_is_never_read(bundled, trajectory, tmp_path):
    """Frames behind the split may hold anything."""
    corrupted = trajectory.snapshots.copy()
    corrupted[128:] = math.nan
    changed = LigandTrajectory(corrupted, 8.0, "r1", "0" * 64)
    whole = train(bundled, trajectory, tmp_path / "a.pt", iterations=10)
    assert train(bundled, changed, tmp_path / "b.pt", iterations=10).history == whole.history


def test_nan_stops_with_the_step(bundled, trajectory, tmp_path):
    broken = trajectory.snapshots.copy()
    broken[:102] = math.nan
    with pytest.raises(NonFiniteStateError, match=r"training step 0: .*nothing was written"):
        train(bundled, LigandTrajectory(broken, 8.0, "r1", ""), tmp_path / "m.pt")
    assert not (tmp_path / "m.pt").exists()


def test_nan_keeps_the_last_good_checkpoint(bundled, trajectory, tmp_path, monkeypatch):
    n_steps = 0

    compute_loss = get_kind("gnn").compute_loss

    def break_after_seven(net, *arguments):
        nonlocal n_steps
        n_steps += torch.is_grad_enabled()
        return compute_loss(net, *arguments) * (math.nan if n_steps > 7 else 1.0)

    monkeypatch.setattr(get_kind("gnn"), "compute_loss", break_after_seven)
    with pytest.raises(NonFiniteStateError, match=r"training step 7: loss nan.*last good state is .*checkpoint\.pt"):
        train(bundled, trajectory, tmp_path / "m.pt", "gnn")
    saved = torch.load(tmp_path / "m.training" / "checkpoint.pt", weights_only=True)
    assert saved["step"] == 5
    assert all(torch.isfinite(v).all() for v in saved["net"].values())
    assert not (tmp_path / "m.pt").exists()


def test_resume_wants_the_same_settings(bundled, trajectory, tmp_path):
    with pytest.raises(InputError, match="no checkpoint"):
        train(bundled, trajectory, tmp_path / "m.pt", resume=True)
    train(bundled, trajectory, tmp_path / "m.pt", iterations=5)
    with pytest.raises(InputError, match=r"other settings \(`iterations` 5, now 6\)"):
        train(bundled, trajectory, tmp_path / "m.pt", iterations=6, resume=True)
    shorter = dataclasses.replace(trajectory, snapshots=trajectory.snapshots[:150])
    with pytest.raises(InputError, match="other trajectories"):
        train(bundled, shorter, tmp_path / "m.pt", iterations=5, resume=True)


def test_rollout_grows_over_the_first_half():
    settings = TrainingSettings(iterations=100, rollout=4)
    lengths = [compute_rollout(step, settings) for step in range(100)]
    assert lengths[:50] == sorted(lengths[:50])
    assert [lengths.index(k) for k in (1, 2, 3, 4)] == [0, 13, 25, 38]
    assert set(lengths[38:]) == {4}
    assert compute_rollout(99, TrainingSettings(iterations=100)) == 1


def test_windows_of_a_curriculum(bundled, trajectory, tmp_path, monkeypatch):
    """Training gets k + 2 snapshots, k growing to K; validation always K + 2; a window starts at every frame."""
    seen: dict[bool, list[int]] = {True: [], False: []}

    compute_loss = get_kind("gnn").compute_loss

    def spy(net, window, graph, protein, generator, displacement):
        seen[torch.is_grad_enabled()].append(window.shape[1])
        return compute_loss(net, window[:, :3], graph, protein, generator, displacement)

    monkeypatch.setattr(get_kind("gnn"), "compute_loss", spy)
    settings = {"rollout": 3}
    short = dataclasses.replace(trajectory, frame_interval=80.0)
    result = train(bundled, short, tmp_path / "m.pt", "gnn", iterations=12, settings=settings)
    assert seen[True] == [3, 3, 4, 4] + [5] * 8
    assert set(seen[False]) == {5}
    assert [row["rollout"] for row in result.history] == [3, 3, 3]
    assert load_model(tmp_path / "m.pt").metadata["training"]["windows"] == 102 - 4


def test_device_that_is_not_there():
    with pytest.raises(InputError, match=r"no device 'cuda:7' here.*choose one of auto, cpu"):
        select_device("cuda:7")
    with pytest.raises(InputError, match="no device 'tpu' here"):
        select_device("tpu")
    assert select_device("cpu").type == "cpu"
    assert select_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
