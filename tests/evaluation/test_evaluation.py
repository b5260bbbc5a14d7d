"""Evaluation: it sees no future, refuses models that saw the test part, and agrees with independent numbers."""

import dataclasses
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

from openmm_neuralmd.cli import main
from openmm_neuralmd.data.entries import Entry
from openmm_neuralmd.data.trajectories import LigandTrajectory, load_ligand_trajectory
from openmm_neuralmd.dynamics import ensembles
from openmm_neuralmd.dynamics.ensembles import run_ensemble
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.evaluation.evaluate import _predict, evaluate, evaluate_complexes
from openmm_neuralmd.evaluation.predictors import make_model_predictors, make_trivial_predictors
from openmm_neuralmd.evaluation.scores import COLUMNS, Judge, Score, combine
from openmm_neuralmd.evaluation.table import format_csv
from openmm_neuralmd.models.export import export_model, load_bundled_model, load_model
from openmm_neuralmd.models.registry import build_network
from openmm_neuralmd.molecule.complex import Complex, load_bundled_complex
from openmm_neuralmd.training.loop import TrainingSettings
from openmm_neuralmd.training.train import train_model

SCORED = [name for name in COLUMNS if name != "snapshots/s"]
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


def assert_same(row: dict, other: dict, columns: Sequence[str]) -> None:
    """To single precision: compiled networks round differently in their first calls than later."""
    for column in columns:
        expected = None if other[column] is None else pytest.approx(other[column], rel=1e-4, abs=1e-6)
        assert row[column] == expected, f"{row['label']}: {column}"


def test_predictions_use_no_future(bundled, trajectory):
    """With the test part replaced by another, what is said of the predictions themselves stays the same."""
    corrupted = trajectory.snapshots.copy()
    corrupted[288:] = corrupted[288:][::-1] + 0.5
    changed = dataclasses.replace(trajectory, snapshots=corrupted)
    own = ("RMSF [A]", "bond dev. [A]", "angle dev. [deg]", "clashes", "autocorr. time [ps]")
    rows = [[r for r in judge(bundled, t).rows if r["kind"] != "md"] for t in (trajectory, changed)]
    for row, other in zip(*rows, strict=True):
        assert_same(row, other, own)
        assert row["paper MAE [A]"] != other["paper MAE [A]"]


def test_rows_and_files(bundled, trajectory):
    evaluation = judge(bundled, trajectory, models=("ode",))
    assert [r["label"] for r in evaluation.rows] == [
        "NeuralMD ODE",
        "frozen ligand",
        "mean structure",
        "harmonic noise",
        "MD, the test part itself",
    ]
    table = evaluation.format_markdown()
    assert "NeuralMD ODE is worse than" in table  # one path that hardly moves has no RMSD distribution
    assert table.splitlines()[0].count("|") == table.splitlines()[2].count("|")
    assert format_csv(evaluation.rows).count("\n") == 6
    json.dumps(evaluation.rows)


def test_frozen_and_mean_have_no_spread(bundled, trajectory):
    rows = {r["label"]: r for r in judge(bundled, trajectory, models=("ode",)).rows}
    assert rows["frozen ligand"]["RMSF [A]"] < 1e-9
    assert rows["mean structure"]["RMSF [A]"] < 1e-9
    assert rows["harmonic noise"]["RMSF [A]"] == pytest.approx(0.57, abs=0.05)  # r1's training part: 0.574


def test_a_ligand_that_never_moved(bundled):
    """It has no RMSF to correlate with, and harmonic noise of no width."""
    still = np.repeat(bundled.ligand.positions[None], 20, axis=0)
    *_, noise = make_trivial_predictors(still)
    path = run_ensemble(noise.propagator, 10.0 * torch.from_numpy(still[None, -1:]), [0], 5).path
    assert path[:, 0].numpy() / 10.0 == pytest.approx(still[:5], abs=1e-5)
    moving = still[:10] + np.random.default_rng(0).normal(scale=0.01, size=(10, 27, 3))
    assert Judge(bundled, still[:10], stride=1, interval=80.0).score(moving[None]).values["RMSF r"] is None


def test_reference_row_has_no_error_and_a_memory(bundled, trajectory):
    rows = {r["label"]: r for r in judge(bundled, trajectory, models=("ode",)).rows}
    md = rows["MD, the test part itself"]
    assert md["paper MAE [A]"] is None
    assert md["RMSF [A]"] == pytest.approx(0.42, abs=0.05)
    assert md["autocorr. time [ps]"] > 60.0
    assert rows["harmonic noise"]["autocorr. time [ps]"] == pytest.approx(40.0, abs=15.0)  # white: half a snapshot
    assert rows["frozen ligand"]["autocorr. time [ps]"] is None


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.8])
def test_autocorrelation_time_of_a_known_process(bundled, memory):
    """x_(t+1) = memory x_t + noise: 1/2 + memory + memory^2 + ... snapshots."""
    generator = np.random.default_rng(0)
    paths = np.zeros((200, 40, 27, 3))
    paths[:, 0] = generator.normal(size=(200, 27, 3))
    for k in range(1, 40):
        noise = generator.normal(size=(200, 27, 3))
        paths[:, k] = memory * paths[:, k - 1] + np.sqrt(1 - memory**2) * noise
    paths = bundled.ligand.positions + 0.03 * paths
    found = Judge(bundled, paths[0], stride=1, interval=80.0).score(paths).values["autocorr. time [ps]"]
    assert found == pytest.approx(80.0 * (0.5 + memory / (1 - memory)), rel=0.05)


def test_spread_is_over_sampled_paths(bundled, trajectory):
    """Same-time errors have a spread over all paths of all seeds, distributions over seeds."""
    row = judge(bundled, trajectory, models=("sde",), seeds=[0, 1], n_samples=3).rows[0]
    paths = [
        Score({"MAE [A]": np.mean(errors), "RMSF [A]": rmsf}, {"MAE [A]": np.array(errors)})
        for errors, rmsf in (([1, 3], 1.0), ([5, 7], 2.0))
    ]
    assert combine(paths) == (
        {"MAE [A]": 4.0, "RMSF [A]": 1.5},
        {"MAE [A]": pytest.approx(5**0.5), "RMSF [A]": 0.5},
    )
    assert row["spread"]["paper MAE [A]"] > 0.0
    assert row["spread"]["W RMSD [A]"] > 0.0


@pytest.mark.parametrize("kind", ["denoising", "verlet"])
def test_replicas_in_parts_are_the_same_paths(bundled, tmp_path, monkeypatch, kind):
    """Replicas are evaluated in small batches for speed; the paths are those of one batch."""
    torch.manual_seed(0)
    config = {"hidden": 8, "n_layers": 1, "n_radial": 8, "ligand_cutoff": 5.0, "pocket_cutoff": 10.0}
    metadata = {"kind": kind, "config": config, "snapshot_interval": 80.0, "elements": [6, 7, 8, 16, 17],
                "scheme": "leapfrog", "steps_per_snapshot": 1}  # fmt: skip
    export_model(build_network(kind, config), metadata, tmp_path / "m.pt")
    starts = torch.from_numpy(10.0 * np.tile(bundled.ligand.positions, (7, 2, 1, 1)))
    paths = []
    for size in (3, 100):
        monkeypatch.setattr(ensembles, "_CPU_BATCH", size)
        (predictor,) = make_model_predictors(load_model(tmp_path / "m.pt"), bundled, kind)
        paths.append(run_ensemble(predictor.propagator, starts, range(7), 2).path)
    assert paths[0].shape == (2, 7, bundled.ligand.n_atoms, 3)
    np.testing.assert_allclose(*paths, atol=1e-4)


def test_paths_that_break_are_nan_in_their_rows_only(bundled, trajectory, caplog):
    """One start is where no model holds; the others are predicted as without it."""
    (predictor,) = make_model_predictors(load_bundled_model("sde"), bundled, "SDE")
    history = trajectory.snapshots[:20].copy()
    whole, _ = _predict(predictor, history, 30, 10, 0, 2)
    history[14, 3] += 1e5
    paths, _ = _predict(predictor, history, 30, 10, 0, 2)
    assert paths.shape == (2, 30, bundled.ligand.n_atoms, 3)
    is_broken = np.isnan(paths).all((2, 3))
    assert is_broken[:, 4::10].all()
    assert not np.isnan(np.delete(paths, [4, 14, 24], axis=1)).any()
    np.testing.assert_allclose(np.delete(paths, [4, 14, 24], 1), np.delete(whole, [4, 14, 24], 1), atol=1e-5)
    assert "2 of 20 replicas broke" in caplog.text


class TestComplexes:
    @pytest.fixture
    def entries(self, bundled, trajectory) -> list[Entry]:
        """r1 and another part of it, as if they were two complexes with MISATO's interval."""
        series = [trajectory.snapshots[:120:10], trajectory.snapshots[120:360:20]]
        return [
            Entry(
                dataclasses.replace(bundled, source=f"c{k}"),
                [LigandTrajectory(x, 80.0, f"c{k}", str(k) * 64), LigandTrajectory(x + 0.01, 80.0, f"r{k}", "f" * 64)],
            )
            for k, x in enumerate(series)
        ]

    def evaluate(self, entries, **options):
        models = [load_bundled_model(kind) for kind in ("ode", "sde")]
        return evaluate_complexes(entries, models, **{"seeds": [0], "n_samples": 2, **options})

    def test_rows_are_averages_over_complexes(self, entries, tmp_path):
        found = self.evaluate(entries, skipped={"9PEP": "peptide"})
        labels = ["NeuralMD ODE", "NeuralMD SDE", "frozen ligand", "MD itself", "MD, replica"]
        assert [r["label"] for r in found.rows] == labels
        for row in found.rows:
            each = [r for rows in found.by_complex.values() for r in rows if r["label"] == row["label"]]
            assert len(each) == 2
            for column in ("paper MAE [A]", "RMSF [A]"):
                values = [r[column] for r in each]
                if row[column] is not None:
                    assert row[column] == pytest.approx(np.mean(values))
                    assert row["spread"][column] == pytest.approx(np.std(values))
        assert found.about["left out"] == "peptide"
        assert "mean structure and harmonic noise are not known" in found.about["trivial rows"]
        assert "2 of 2 share protein or scaffold" in found.about["leakage, sde.pt"]
        found.write(tmp_path)
        assert len((tmp_path / "complexes.csv").read_text().splitlines()) == 1 + 2 * 5
        assert set(json.loads((tmp_path / "metrics.json").read_text())["complexes"]) == {"c0", "c1"}

    def test_rows_that_only_some_complexes_have_are_named(self, entries):
        found = self.evaluate([entries[0], Entry(entries[1].complex, entries[1].trajectories[:1])])
        assert found.about["rows of some complexes only"] == "MD, replica in 1 of 2"
        assert "rows of some complexes only" not in self.evaluate(entries).about

    def test_model_that_breaks_on_one_trajectory_is_broken(self, entries):
        """Its mean over the others would hide that."""
        far = dataclasses.replace(entries[0].trajectories[1], snapshots=entries[0].trajectories[1].snapshots + 1e5)
        found = self.evaluate([Entry(entries[0].complex, [entries[0].trajectories[0], far]), entries[1]])
        assert found.about["not finite, and left out of the mean"] == "NeuralMD ODE in 1 of 2; NeuralMD SDE in 1 of 2"
        rows = {row["label"]: row for row in found.by_complex["c0"]}
        assert rows["NeuralMD ODE"]["paper MAE [A]"] is None
        mean = next(row for row in found.rows if row["label"] == "NeuralMD ODE")
        alone = next(row for row in found.by_complex["c1"] if row["label"] == "NeuralMD ODE")
        assert mean["paper MAE [A]"] == pytest.approx(alone["paper MAE [A]"])

    def test_one_complex_does_not_change_another(self, entries):
        alone, together = self.evaluate(entries[:1]), self.evaluate(entries)
        for row, other in zip(alone.by_complex["c0"], together.by_complex["c0"], strict=True):
            assert_same(row, other, SCORED)

    def test_no_future(self, entries):
        """What is said of the predictions themselves does not depend on any frame but the first two."""
        corrupted = entries[0].trajectories[0].snapshots.copy()
        corrupted[2:] = corrupted[2:][::-1] + 0.3
        changed = Entry(entries[0].complex, [dataclasses.replace(entries[0].trajectories[0], snapshots=corrupted)])
        original = Entry(entries[0].complex, entries[0].trajectories[:1])
        for row, other in zip(self.evaluate([original]).rows[:3], self.evaluate([changed]).rows[:3], strict=True):
            assert_same(row, other, ("RMSF [A]", "clashes", "autocorr. time [ps]", "angle dev. [deg]"))
            assert row["paper MAE [A]"] != other["paper MAE [A]"]

    def test_training_complexes_are_refused(self, entries):
        seen = load_bundled_model("ode").metadata["training"]["trajectories"][0]["sha256"]
        changed = dataclasses.replace(entries[0].trajectories[0], sha256=seen)
        with pytest.raises(InputError, match="give complexes that it was not trained on"):
            self.evaluate([Entry(entries[0].complex, [changed])])

    def test_short_trajectories_are_refused(self, entries):
        short = dataclasses.replace(entries[0].trajectories[0], snapshots=entries[0].trajectories[0].snapshots[:3])
        with pytest.raises(InputError, match="3 frames are too few"):
            self.evaluate([Entry(entries[0].complex, [short])])

    def test_elements_that_nothing_stands_in_for_leave_a_complex_out(self, entries):
        numbers = entries[0].complex.ligand.atomic_numbers.copy()
        numbers[0] = 5
        odd = dataclasses.replace(entries[0].complex, source="boron",
            ligand=dataclasses.replace(entries[0].complex.ligand, atomic_numbers=numbers))  # fmt: skip
        found = self.evaluate([Entry(odd, entries[0].trajectories), entries[1]])
        assert list(found.by_complex) == ["c1"]
        assert "atomic numbers 5" in found.about["left out"]
        with pytest.raises(InputError, match="no complex is left"):
            self.evaluate([Entry(odd, entries[0].trajectories)])


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
        (["--seeds", "3,4,3"], "a seed is given twice"),
        (["--trajectory", "nowhere.dcd"], "no such file"),
        (["--samples", "0"], "--samples 0: give 1 or more"),
        (["--misato", "MD.hdf5"], "a trajectory and --misato given"),
    ],
)
def test_bad_input_is_one_line_and_status_2(extra, message, capsys, tmp_path):
    words = ["evaluate", "sde", "--trajectory", "x.dcd", "--top", "x.pdb", "--complex", "bundled", "--ligand", "0WC"]
    assert main([*words, "--out", str(tmp_path), *extra]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
