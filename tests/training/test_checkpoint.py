"""What a resumed training must have in common with the one it continues, and checkpoints that cannot be used."""

import dataclasses
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from openmm_neuralmd.analysis.bundled import get_bundled_path
from openmm_neuralmd.cli import main
from openmm_neuralmd.data.trajectories import LigandTrajectory
from openmm_neuralmd.errors import InputError, StorageError
from openmm_neuralmd.folders import own_folder
from openmm_neuralmd.molecule.complex import Complex, load_bundled_complex
from openmm_neuralmd.training.checkpoint import read_training_state, write_training_state
from openmm_neuralmd.training.loop import TrainingSettings
from openmm_neuralmd.training.train import train_model

TINY = {"hidden": 16, "n_layers": 1, "n_radial": 8}


@pytest.fixture(scope="module")
def bundled() -> Complex:
    return load_bundled_complex()


@pytest.fixture(scope="module")
def trajectory() -> LigandTrajectory:
    data = np.load(get_bundled_path("reference.npz"))
    return LigandTrajectory(data["r1"][:120][:, data["is_heavy"]].astype(np.float64), 8.0, "r1", "0" * 64, "pocket, 9")


def train(bundled: Complex, trajectory: LigandTrajectory, out: Path, **options: Any) -> None:
    settings = TrainingSettings(iterations=4, batch_size=4, validate_every=2)
    arguments = {"kind": "gnn", "snapshot_interval": 80.0, "config": TINY, **options}
    train_model([(bundled, [trajectory])], out, settings=settings, **arguments)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, bundled: Complex, trajectory: LigandTrajectory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "m.pt"
    train(bundled, trajectory, out)
    return out


@pytest.fixture
def out(trained: Path, tmp_path: Path) -> Path:
    """A copy of that training."""
    folder = tmp_path / "m.training"
    folder.mkdir()
    for path in trained.with_suffix(".training").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return tmp_path / "m.pt"


def read_folder(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def shake(trajectory: LigandTrajectory) -> LigandTrajectory:
    return dataclasses.replace(trajectory, snapshots=trajectory.snapshots + 1e-6)


def stretch(complex_: Complex) -> Complex:
    ligand = dataclasses.replace(complex_.ligand, geometry=complex_.ligand.geometry * 1.001)
    return dataclasses.replace(complex_, ligand=ligand)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"config": {**TINY, "hidden": 24}}, "another network"),
        ({"config": {**TINY, "pocket_cutoff": 9.0}}, "another network"),
        ({"kind": "ode"}, r"other settings \(`kind` gnn, now ode\)"),
        ({"snapshot_interval": 40.0}, "other trajectories|another snapshot interval"),
        ({"split": 0.7}, "other trajectories|another split"),
        ({"trajectory": shake}, "another set of trajectories"),
        ({"trajectory": lambda t: dataclasses.replace(t, superposed_on="all, 328")}, "another superposition"),
        ({"bundled": stretch}, "another ligand or protein"),
    ],
)
def test_another_training_is_refused_and_nothing_is_changed(
    change: dict[str, Any], told: str, out: Path, bundled: Complex, trajectory: LigandTrajectory
) -> None:
    options = dict(change)
    changed = options.pop("trajectory", lambda t: t)(trajectory)
    complex_ = options.pop("bundled", lambda c: c)(bundled)
    before = read_folder(out.parent)
    with pytest.raises(InputError, match=rf"checkpoint\.pt was made with ({told}).*resume=False"):
        train(complex_, changed, out, resume=True, **options)
    assert read_folder(out.parent) == before


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        saved = torch.load(path, weights_only=True)
        saved.pop("digest")
        change(saved)
        write_training_state(path, saved)  # with a digest that is right

    return apply


class Bomb:
    """What no reader may call."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("code of a checkpoint was run",))


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


ODD: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-300]),
    "a bit changed": flip_a_bit,
    "a text": lambda path: path.write_text("checkpoint"),
    "a pickle that runs code": lambda path: path.write_bytes(pickle.dumps(Bomb())),
    "an archive that runs code": lambda path: torch.save(Bomb(), path),
    "a list": lambda path: torch.save([1, 2], path),
    "a tensor": lambda path: torch.save(torch.zeros(3), path),
    "without a digest": lambda path: torch.save({"step": 1}, path),
    "no network": edit(lambda s: s.pop("net")),
    "step is a text": edit(lambda s: s.update(step="2")),
    "step is negative": edit(lambda s: s.update(step=-2)),
    "best is empty": edit(lambda s: s.update(best={})),
    "best loss is NaN": edit(lambda s: s["best"].update(loss=float("nan"))),
    "best has another shape": edit(lambda s: s["best"]["state"].update({next(iter(s["net"])): torch.zeros(7, 7)})),
    "history is a number": edit(lambda s: s.update(history=3)),
    "history has odd rows": edit(lambda s: s.update(history=[{"step": 2}, 5])),
    "weights are NaN": edit(lambda s: next(iter(s["net"].values())).fill_(float("nan"))),
    "weights have another shape": edit(lambda s: s["net"].update({next(iter(s["net"])): torch.zeros(7, 7)})),
    "optimizer of something else": edit(lambda s: s.update(optimizer={"a": 1})),
    "generator of another size": edit(lambda s: s.update(generator=torch.zeros(3, dtype=torch.uint8))),
    "windows are a text": edit(lambda s: s.update(windows="20")),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_checkpoints(name: str, out: Path, bundled: Complex, trajectory: LigandTrajectory) -> None:
    path = out.with_suffix(".training") / "checkpoint.pt"
    ODD[name](path)
    before = read_folder(out.parent)
    with pytest.raises(
        InputError, match=r"checkpoint\.pt.*(damaged checkpoint \(.+\)|was made with).*resume=False"
    ) as caught:
        train(bundled, trajectory, out, resume=True)
    assert "\n" not in str(caught.value)
    assert read_folder(out.parent) == before


def test_another_torch_is_told(
    out: Path, bundled: Complex, trajectory: LigandTrajectory, caplog: pytest.LogCaptureFixture
) -> None:
    edit(lambda s: s.update(torch="2.9.1"))(out.with_suffix(".training") / "checkpoint.pt")
    with caplog.at_level(logging.WARNING):
        train(bundled, trajectory, out, resume=True)
    assert "begun with torch 2.9.1, now it is" in caplog.text


def test_one_process_at_a_time(out: Path, bundled: Complex, trajectory: LigandTrajectory) -> None:
    with own_folder(out.with_suffix(".training")), pytest.raises(InputError, match="another process"):
        train(bundled, trajectory, out, resume=True)


def test_a_training_that_was_begun_is_not_replaced_unasked(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = read_folder(out.parent)
    words = ["train", str(get_bundled_path("r1_pocket.xtc")), "--top", str(get_bundled_path("pocket.pdb"))]
    assert main([*words, "--complex", "bundled", "--out", str(out), "--quiet"]) == 2
    assert "give --resume to continue it, --force to start again" in capsys.readouterr().err
    assert read_folder(out.parent) == before


def test_a_full_disk(small_disk: Path, bundled: Complex, trajectory: LigandTrajectory) -> None:
    with (small_disk / "ballast").open("wb", buffering=0) as file:
        file.write(bytes(2**20))
        file.truncate(2**20 - 30_000)
    with pytest.raises(StorageError, match=r"(checkpoint\.pt|metrics\.csv): cannot be written .*: the disk is full"):
        train(bundled, trajectory, small_disk / "m.pt")


def test_what_is_written_is_read(tmp_path: Path, out: Path) -> None:
    path = out.with_suffix(".training") / "checkpoint.pt"
    saved = read_training_state(path)
    write_training_state(tmp_path / "again.pt", saved)
    again = read_training_state(tmp_path / "again.pt")
    assert again.keys() == saved.keys()
    assert all(torch.equal(again["net"][name], values) for name, values in saved["net"].items())
