"""Run directories: complete, reproducible, resumable to the byte after any interruption, and never half-replaced."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import MDAnalysis
import mdtraj
import numpy as np
import pytest

from openmm_neuralmd.errors import InputError, NonFiniteStateError
from openmm_neuralmd.io.checkpoint import read_checkpoint
from openmm_neuralmd.io.directory import LOG_COLUMNS, RunFiles
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.simulation.run import simulate
from tests.helpers import ROOT, ModelDouble, make_double


@pytest.fixture
def model(tiny_complex: Complex) -> ModelDouble:
    return make_double(tiny_complex, amplitude=0.3, friction=0.5)


def read_bytes(files: RunFiles) -> tuple[bytes, bytes]:
    return files.trajectory.read_bytes(), files.log.read_bytes()


def test_files_of_a_run(tiny_complex: Complex, model: ModelDouble, tmp_path: Path) -> None:
    seen: list[tuple[int, float]] = []
    complex_ = replace(tiny_complex, notes=("bonds were perceived",))
    files = simulate(complex_, model, tmp_path / "run", n_snapshots=6, progress=lambda n, t: seen.append((n, t)))
    assert seen == [(n, 80.0 * n) for n in range(7)]
    trajectory = mdtraj.load(str(files.trajectory), top=str(files.topology))
    assert trajectory.n_frames == 6
    np.testing.assert_allclose(mdtraj.load(str(files.topology)).xyz[0], tiny_complex.positions, rtol=0, atol=1e-4)
    universe = MDAnalysis.Universe(str(files.topology), str(files.trajectory))
    assert universe.trajectory.dt == pytest.approx(80.0, rel=1e-6)
    rows = files.log.read_text().splitlines()
    assert rows[0] == ",".join(LOG_COLUMNS)
    assert len(rows) == 7
    ligand = tiny_complex.ligand.atom_indices
    rmsd = np.sqrt(((trajectory.xyz[:, ligand] - tiny_complex.positions[ligand]) ** 2).sum(-1).mean(-1))
    np.testing.assert_allclose([float(row.split(",")[2]) for row in rows[1:]], rmsd, rtol=0, atol=2e-6)
    record = json.loads(files.record.read_text())
    assert record["status"] == "finished"
    assert record["n_snapshots_done"] == 6
    assert record["settings"]["seed"] == 0
    assert record["complex_notes"] == ["bonds were perceived"]
    assert record["settings"]["scheme"] == "leapfrog"
    assert record["projection"]["iterations"] == sum(int(row.split(",")[-1]) for row in rows[1:]) > 0
    assert sorted(p.name for p in files.folder.iterdir()) == sorted(p.name for p in files.list_existing())


def test_only_the_ligand_moves_and_molecules_are_complete(
    tiny_complex: Complex, model: ModelDouble, tmp_path: Path
) -> None:
    files = simulate(tiny_complex, model, tmp_path, n_snapshots=5)
    xyz = mdtraj.load(str(files.trajectory), top=str(files.topology)).xyz
    ligand = tiny_complex.ligand
    own = [*ligand.atom_indices, *ligand.hydrogen_indices]
    fixed = np.setdiff1d(np.arange(xyz.shape[1]), own)
    np.testing.assert_allclose(
        xyz[:, fixed], np.broadcast_to(tiny_complex.positions[fixed], xyz[:, fixed].shape), atol=1e-6
    )
    bonded = ligand.atom_indices[ligand.hydrogen_parents]
    lengths = np.linalg.norm(xyz[:, ligand.hydrogen_indices] - xyz[:, bonded], axis=-1)
    assert (lengths > 0.09).all()
    assert (lengths < 0.112).all()
    assert np.abs(xyz[-1, own] - tiny_complex.positions[own]).max() > 0.005


def test_same_seed_same_bytes(tiny_complex: Complex, model: ModelDouble, tmp_path: Path) -> None:
    first, again, other = (
        read_bytes(simulate(tiny_complex, model, tmp_path / name, n_snapshots=5, seed=seed))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]


class InterruptionError(Exception):
    pass


@pytest.mark.parametrize("platform", ["CPU", "Reference"])
@pytest.mark.parametrize("error", [InterruptionError, KeyboardInterrupt])
def test_interrupted_and_resumed_gives_the_same_bytes(
    error: type[BaseException], platform: str, tiny_complex: Complex, model: ModelDouble, tmp_path: Path
) -> None:
    settings = {"n_snapshots": 8, "steps_per_snapshot": 2, "platform": platform}
    expected = read_bytes(simulate(tiny_complex, model, tmp_path / "whole", **settings))

    def stop(done: int, _: float) -> None:
        if done == 3:
            raise error

    with pytest.raises(error):
        simulate(tiny_complex, model, tmp_path / "parts", progress=stop, **settings)
    files = RunFiles(tmp_path / "parts")
    assert json.loads(files.record.read_text())["status"] != "finished"
    assert len(mdtraj.load(str(files.trajectory), top=str(files.topology))) == 3
    assert read_bytes(simulate(tiny_complex, model, tmp_path / "parts", resume=True, **settings)) == expected
    record = json.loads(files.record.read_text())
    assert record["status"] == "finished"
    assert [(s["from_snapshot"], s["to_snapshot"]) for s in record["sessions"]][-1] == (3, 8)


def test_a_finished_run_can_be_extended(tiny_complex: Complex, model: ModelDouble, tmp_path: Path) -> None:
    expected = read_bytes(simulate(tiny_complex, model, tmp_path / "whole", n_snapshots=7))
    simulate(tiny_complex, model, tmp_path / "parts", n_snapshots=4)
    assert read_bytes(simulate(tiny_complex, model, tmp_path / "parts", n_snapshots=7, resume=True)) == expected
    assert read_bytes(simulate(tiny_complex, model, tmp_path / "parts", n_snapshots=7, resume=True)) == expected


DAMAGES = {
    "last frame cut": ("trajectory", lambda b: b[:-100]),
    "last frame overwritten": ("trajectory", lambda b: b[:-100] + bytes(100)),
    "half a frame too many": ("trajectory", lambda b: b + b[-200:]),
    "frame count in the header wrong": ("trajectory", lambda b: b[:8] + b"\x63\0\0\0" + b[12:]),
    "last row cut": ("log", lambda b: b[:-9]),
    "last row overwritten": ("log", lambda b: b[:-9] + b"99999999\n"),
    "row too many": ("log", lambda b: b + b"7,560.000,0.1"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_at_the_end_is_repaired(damage: str, tiny_complex: Complex, model: ModelDouble, tmp_path: Path) -> None:
    expected = read_bytes(simulate(tiny_complex, model, tmp_path / "whole", n_snapshots=6))
    files = simulate(tiny_complex, model, tmp_path / "parts", n_snapshots=4)
    name, change = DAMAGES[damage]
    path: Path = getattr(files, name)
    path.write_bytes(change(path.read_bytes()))
    assert read_bytes(simulate(tiny_complex, model, tmp_path / "parts", n_snapshots=6, resume=True)) == expected


@pytest.mark.parametrize("name", ["trajectory", "log", "checkpoint", "record"])
def test_damage_beyond_repair_is_reported(name: str, tiny_complex: Complex, model: ModelDouble, tmp_path: Path) -> None:
    files = simulate(tiny_complex, model, tmp_path, n_snapshots=4)
    path: Path = getattr(files, name)
    path.write_bytes(path.read_bytes()[: 300 if name == "trajectory" else 60])
    with pytest.raises(InputError, match=rf"{path.name}.*damaged.*`overwrite=True`"):
        simulate(tiny_complex, model, tmp_path, n_snapshots=6, resume=True)


CHILD = """
import sys
from pathlib import Path
from openmm_neuralmd.simulation.run import simulate
from tests.helpers import make_complex, make_double
complex_ = make_complex()
def report(done, time):
    print(done, flush=True)
model = make_double(complex_, amplitude=0.3, friction=0.5)
simulate(complex_, model, sys.argv[1], n_snapshots=100000, progress=report, resume=Path(sys.argv[1]).exists())
"""


def test_killed_and_resumed_gives_the_same_bytes(tiny_complex: Complex, model: ModelDouble, tmp_path: Path) -> None:
    """SIGKILL at no chosen moment, twice in one run."""
    folder = tmp_path / "killed"
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = 0
    for pause in (0.01, 0.0123):
        with subprocess.Popen(
            [sys.executable, str(script), str(folder)], stdout=subprocess.PIPE, env=environment
        ) as child:
            assert child.stdout is not None
            while int(child.stdout.readline()) < done + 20:
                pass
            time.sleep(pause)
            child.send_signal(signal.SIGKILL)
        earlier, done = done, read_checkpoint(RunFiles(folder).checkpoint, tiny_complex.ligand.n_atoms).snapshot
        assert done >= earlier + 20
    resumed = read_bytes(simulate(tiny_complex, model, folder, n_snapshots=done + 5, resume=True))
    whole = read_bytes(simulate(tiny_complex, model, tmp_path / "whole", n_snapshots=done + 5))
    assert resumed == whole


@pytest.mark.usefixtures("usual_handlers")
def test_ctrl_c_stops_between_snapshots(tiny_complex: Complex, model: ModelDouble, tmp_path: Path) -> None:
    """SIGINT at no chosen moment: frames, rows, checkpoint and record agree, and the handler is put back."""
    for k in range(8):
        folder = tmp_path / str(k)
        began = threading.Event()
        sender = threading.Thread(target=_interrupt_after, args=(began, 0.003 * k + 0.001))
        sender.start()
        with pytest.raises(KeyboardInterrupt):
            simulate(tiny_complex, model, folder, n_snapshots=100_000, progress=lambda *_, begin=began.set: begin())
        sender.join()
        files = RunFiles(folder)
        record = json.loads(files.record.read_text())
        done = record["n_snapshots_done"]
        assert record["status"] == "interrupted"
        assert done == read_checkpoint(files.checkpoint, tiny_complex.ligand.n_atoms).snapshot > 0
        assert done == len(files.log.read_text().splitlines()) - 1
        assert done == mdtraj.load(str(files.trajectory), top=str(files.topology)).n_frames
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed = read_bytes(simulate(tiny_complex, model, folder, n_snapshots=done + 3, resume=True))
    assert resumed == read_bytes(simulate(tiny_complex, model, tmp_path / "whole", n_snapshots=done + 3))


def _interrupt_after(began: threading.Event, pause: float) -> None:
    began.wait()
    time.sleep(pause)
    os.kill(os.getpid(), signal.SIGINT)


def test_a_handler_of_the_program_stays(tiny_complex: Complex, model: ModelDouble, tmp_path: Path) -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    try:
        report = lambda done, _: os.kill(os.getpid(), signal.SIGINT) if done == 2 else None  # noqa: E731
        simulate(tiny_complex, model, tmp_path, n_snapshots=3, progress=report)
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIGINT]
    assert json.loads(RunFiles(tmp_path).record.read_text())["n_snapshots_done"] == 3


def test_a_run_is_not_overwritten_by_mistake(tiny_complex: Complex, model: ModelDouble, tmp_path: Path) -> None:
    files = simulate(tiny_complex, model, tmp_path, n_snapshots=2)
    before = read_bytes(files)
    with pytest.raises(InputError, match="`resume=True` to go on, `overwrite=True` to replace"):
        simulate(tiny_complex, model, tmp_path, n_snapshots=3)
    assert read_bytes(files) == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"platform": "Abacus"}, "no OpenMM platform 'Abacus' here; choose one of Reference, CPU"),
        ({"scheme": "verlet"}, "unknown scheme"),
        ({"steps_per_snapshot": 0}, "steps_per_snapshot is 0"),
        ({"seed": -1}, "seed -1"),
        ({"threads": 0}, "threads is 0"),
        ({"n_snapshots": 0}, "n_snapshots is 0"),
    ],
)
def test_a_bad_setting_leaves_the_old_run_alone(
    settings: dict, message: str, tiny_complex: Complex, model: ModelDouble, tmp_path: Path
) -> None:
    files = simulate(tiny_complex, model, tmp_path, n_snapshots=2)
    before = read_bytes(files)
    with pytest.raises(InputError, match=message):
        simulate(tiny_complex, model, tmp_path, overwrite=True, **settings)
    assert read_bytes(files) == before


def test_overwrite_replaces(tiny_complex: Complex, model: ModelDouble, tmp_path: Path) -> None:
    simulate(tiny_complex, model, tmp_path / "a", n_snapshots=4, seed=1)
    replaced = simulate(tiny_complex, model, tmp_path / "a", n_snapshots=2, overwrite=True)
    assert read_bytes(replaced) == read_bytes(simulate(tiny_complex, model, tmp_path / "b", n_snapshots=2))


@pytest.mark.parametrize(
    "change",
    [{"seed": 9}, {"steps_per_snapshot": 2}, {"projection": False}, {"scheme": "heun"}, {"platform": "Reference"}],
)
def test_resume_with_other_settings_is_refused(
    change: dict, tiny_complex: Complex, model: ModelDouble, tmp_path: Path
) -> None:
    simulate(tiny_complex, model, tmp_path, n_snapshots=2)
    with pytest.raises(InputError, match=f"made with {next(iter(change))}"):
        simulate(tiny_complex, model, tmp_path, n_snapshots=4, resume=True, **change)


def test_resume_with_another_complex_is_refused(tiny_complex: Complex, model: ModelDouble, tmp_path: Path) -> None:
    simulate(tiny_complex, model, tmp_path, n_snapshots=2)
    moved = tiny_complex.with_ligand_positions(tiny_complex.ligand.positions + 0.1)
    with pytest.raises(InputError, match="made with another complex"):
        simulate(moved, model, tmp_path, n_snapshots=4, resume=True)


def test_a_run_whose_noise_was_another_is_not_resumed(
    tiny_complex: Complex, model: ModelDouble, tmp_path: Path
) -> None:
    """The record of a version before this one names no noise."""
    files = simulate(tiny_complex, model, tmp_path, n_snapshots=2)
    record = json.loads(files.record.read_text())
    del record["settings"]["noise"]
    files.record.write_text(json.dumps(record))
    with pytest.raises(InputError, match="earlier version, which drew other noise"):
        simulate(tiny_complex, model, tmp_path, n_snapshots=4, resume=True)


def test_resume_with_another_model_says_which_it_was(tiny_complex: Complex, model: ModelDouble, tmp_path: Path) -> None:
    simulate(tiny_complex, model, tmp_path, n_snapshots=2)
    other = replace(model, path=Path("other.pt"), sha256="1" * 64)
    with pytest.raises(InputError, match=r"another model.* as `model` \(None then, SHA-256 .*`overwrite=True`"):
        simulate(tiny_complex, other, tmp_path, n_snapshots=4, resume=True)


def test_nothing_to_resume(tiny_complex: Complex, model: ModelDouble, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run to resume"):
        simulate(tiny_complex, model, tmp_path, resume=True)


def test_out_is_a_file(tiny_complex: Complex, model: ModelDouble, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        simulate(tiny_complex, model, tmp_path / "file")


def test_a_run_that_breaks_names_the_step_and_keeps_what_was_good(tiny_complex: Complex, tmp_path: Path) -> None:
    model = make_double(tiny_complex)
    model.stiffness = -1e5  # a hill: positions grow until they overflow
    start = tiny_complex.with_ligand_positions(tiny_complex.ligand.positions + 0.01)
    with pytest.raises(NonFiniteStateError, match=r"step \d+"):
        simulate(start, model, tmp_path, n_snapshots=500, projection=False)
    files = RunFiles(tmp_path)
    record = json.loads(files.record.read_text())
    assert record["status"].startswith("failed: step")
    frames = mdtraj.load(str(files.trajectory), top=str(files.topology))
    assert len(frames) == record["n_snapshots_done"] == len(files.log.read_text().splitlines()) - 1
