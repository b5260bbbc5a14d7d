"""Evaluation: it sees no future, refuses models that saw the test part, and agrees with independent numbers."""

import dataclasses
import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from openmm_neuralmd.cli import main
from openmm_neuralmd.complex import Complex, load_bundled_complex
from openmm_neuralmd.data.trajectories import LigandTrajectory, load_ligand_trajectory
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.models.export import load_bundled_model, load_model
from openmm_neuralmd.training.evaluation import evaluate
from openmm_neuralmd.training.loop import TrainingSettings
from openmm_neuralmd.training.train import train_model

REFERENCE = Path(__file__).parents[3] / "shared" / "data" / "4g3e"


@pytest.fixture(scope="module")
def bundled() -> Complex:
    return load_bundled_complex()


@pytest.fixture(scope="module")
def trajectory() -> LigandTrajectory:
    """The bundled snapshots of r1, under another name than the file the bundled models were trained on."""
    with resources.as_file(resources.files("openmm_neuralmd") / "assets/4g3e/reference.npz") as path:
        data = np.load(path)
        return LigandTrajectory(data["r1"][:, data["is_heavy"]].astype(np.float64), 8.0, "r1", "1" * 64)


def judge(complex_, trajectory, models=("ode", "sde"), **options):
    settings = {"split": 0.8, "seeds": [0], "n_samples": 2, **options}
    return evaluate(
        complex_,
        [load_bundled_model(m) if isinstance(m, str) else load_model(m) for m in models],
        trajectory,
        [],
        **settings,
    )


def test_predictions_use_no_future(bundled, trajectory):
    """With the test part replaced by another, what is said of the predictions themselves stays the same."""
    corrupted = trajectory.snapshots.copy()
    corrupted[288:] = corrupted[288:][::-1] + 0.5
    changed = dataclasses.replace(trajectory, snapshots=corrupted)
    own = ("RMSF [A]", "bond dev. [A]", "angle dev. [deg]", "clashes", "memory")
    for row, other in zip(judge(bundled, trajectory).rows, judge(bundled, changed).rows, strict=True):
        assert {c: row[c] for c in own} == {c: other[c] for c in own}, row["label"]
        assert row["paper MAE [A]"] != other["paper MAE [A]"]


def test_rows_and_files(bundled, trajectory):
    evaluation = judge(bundled, trajectory, models=("ode",))
    assert [r["label"] for r in evaluation.rows] == [
        "NeuralMD ODE",
        "frozen ligand",
        "mean structure",
        "harmonic noise",
    ]
    table = evaluation.format_markdown()
    assert "NeuralMD ODE is worse than" in table  # one path that hardly moves has no RMSD distribution
    assert table.splitlines()[0].count("|") == table.splitlines()[2].count("|")
    assert evaluation.format_csv().count("\n") == 5
    json.dumps(evaluation.rows)


def test_frozen_and_mean_have_no_spread(bundled, trajectory):
    rows = {r["label"]: r for r in judge(bundled, trajectory, models=("ode",)).rows}
    assert rows["frozen ligand"]["RMSF [A]"] < 1e-9
    assert rows["mean structure"]["RMSF [A]"] < 1e-9
    assert rows["harmonic noise"]["RMSF [A]"] == pytest.approx(0.57, abs=0.05)  # r1's training part: 0.574


def test_model_that_saw_the_test_part_is_refused(bundled, trajectory):
    seen = load_bundled_model("ode").metadata["training"]["trajectories"][0]["sha256"]
    with pytest.raises(InputError, match="trained on frames up to 288"):
        judge(bundled, dataclasses.replace(trajectory, sha256=seen), split=0.5)


def test_different_intervals_are_refused(bundled, trajectory, tmp_path):
    train_model(
        [(bundled, [trajectory])], tmp_path / "m.pt", kind="ode", snapshot_interval=40.0,
        config={"hidden": 8, "n_layers": 1, "n_radial": 8}, settings=TrainingSettings(iterations=1, batch_size=2),
    )  # fmt: skip
    with pytest.raises(InputError, match="different snapshot intervals"):
        judge(bundled, trajectory, models=("ode", tmp_path / "m.pt"))


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="no reference data in ../shared/data/4g3e")
def test_trivial_rows_agree_with_independent_numbers(bundled):
    """Frozen, mean and r2 on r1's last 20 %: MAE, Matching and Stability as computed by other code."""
    r1, r2 = (
        load_ligand_trajectory(
            REFERENCE / f"{r}_ligand_backbone_8ps.dcd",
            REFERENCE / "ligand_backbone.pdb",
            bundled,
            superpose_on="all",
        )
        for r in ("r1", "r2")
    )
    evaluation = evaluate(bundled, [load_bundled_model("ode")], r1, [r2], split=0.8, seeds=[0], n_samples=1)
    rows = {r["label"]: r for r in evaluation.rows}
    expected = {
        "frozen ligand": (0.706, 0.177, 97.2),
        "mean structure": (0.678, 0.202, 96.6),
        "MD, r2_ligand_backbone_8ps.dcd": (0.939, 0.196, 96.3),
    }
    for label, (mae, matching, stability) in expected.items():
        assert rows[label]["paper MAE [A]"] == pytest.approx(mae, abs=6e-4)
        assert rows[label]["Matching [A]"] == pytest.approx(matching, abs=6e-4)
        assert rows[label]["Stability [%]"] == pytest.approx(stability, abs=0.06)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--seeds", "one"], "whole numbers"),
        (["--trajectory", "nowhere.dcd"], "no such file"),
    ],
)
def test_bad_input_is_one_line_and_status_2(extra, message, capsys, tmp_path):
    words = ["evaluate", "sde", "--trajectory", "x.dcd", "--top", "x.pdb", "--complex", "bundled", "--ligand", "0WC"]
    assert main([*words, "--out", str(tmp_path), *extra]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
