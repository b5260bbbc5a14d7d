"""Runs of models that are no force: whole, resumed to the byte after any interruption, damage noticed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from openmm import Platform

from openmm_neuralmd.errors import InputError, NonFiniteStateError
from openmm_neuralmd.io.checkpoint import read_checkpoint, write_state
from openmm_neuralmd.io.directory import RunFiles
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.simulation.run import simulate
from tests.helpers import ROOT
from tests.simulation.test_run import read_bytes
from tests.simulation.test_snapshots import walk_alone
from tests.simulation.walk import WalkModel, make_walk


@pytest.fixture
def model(tiny_complex: Complex) -> WalkModel:
    return make_walk(tiny_complex)


def test_files_of_a_run(tiny_complex: Complex, model: WalkModel, tmp_path: Path) -> None:
    files = simulate(tiny_complex, model, tmp_path, n_snapshots=7, seed=7, formats=["xtc", "h5"])
    ligand = tiny_complex.ligand
    start = ligand.positions
    expected = walk_alone(start, np.zeros_like(start), n=7)
    trajectory = mdtraj.load(str(files.trajectory), top=str(files.topology))
    np.testing.assert_allclose(trajectory.xyz[:, ligand.atom_indices], expected, rtol=0, atol=1e-6)
    rows = np.loadtxt(files.log, delimiter=",", skiprows=1)
    np.testing.assert_allclose(rows[:, 1], 80.0 * np.arange(1, 8))
    np.testing.assert_allclose(rows[:, 2], np.sqrt(((expected - start) ** 2).sum(-1).mean(-1)), rtol=0, atol=1e-6)
    first, second = ligand.bonds.T
    lengths = np.linalg.norm(expected[:, first] - expected[:, second], axis=-1)
    reference = np.linalg.norm(ligand.geometry[first] - ligand.geometry[second], axis=-1)
    np.testing.assert_allclose(rows[:, 3], np.abs(lengths - reference).max(axis=1), rtol=0, atol=1e-6)
    assert not rows[:, 4].any()
    record = json.loads(files.record.read_text())
    assert record["status"] == "finished"
    assert record["timestep_ps"] == 80.0
    assert record["settings"]["scheme"] is None
    assert {p.name for p in files.folder.iterdir()} >= {"trajectory.xtc", "trajectory.h5"}
    bonded = ligand.atom_indices[ligand.hydrogen_parents]
    hydrogens = np.linalg.norm(trajectory.xyz[:, ligand.hydrogen_indices] - trajectory.xyz[:, bonded], axis=-1)
    assert hydrogens.max() < 0.115


@pytest.mark.parametrize("done", [1, 2, 3, 4, 5])
def test_stopped_amid_a_block_and_resumed_gives_the_same_bytes(
    done: int, tiny_complex: Complex, model: WalkModel, any_platform: Platform, tmp_path: Path
) -> None:
    name = any_platform.getName()
    whole = read_bytes(simulate(tiny_complex, model, tmp_path / "whole", n_snapshots=7, platform=name))
    simulate(tiny_complex, model, tmp_path / "parts", n_snapshots=done, platform=name)
    parts = simulate(
        tiny_complex, make_walk(tiny_complex), tmp_path / "parts", n_snapshots=7, platform=name, resume=True
    )
    assert read_bytes(parts) == whole
    again = simulate(tiny_complex, model, tmp_path / "parts", n_snapshots=7, platform=name, resume=True)
    assert read_bytes(again) == whole


CHILD = """
import sys
from pathlib import Path
from openmm_neuralmd.simulation.run import simulate
from tests.helpers import make_complex
from tests.simulation.walk import make_walk
complex_ = make_complex()
def report(done, time):
    print(done, flush=True)
resume = Path(sys.argv[1]).exists()
simulate(complex_, make_walk(complex_), sys.argv[1], n_snapshots=100000, progress=report, resume=resume)
"""


def test_killed_and_resumed_gives_the_same_bytes(tiny_complex: Complex, model: WalkModel, tmp_path: Path) -> None:
    folder, script = tmp_path / "killed", tmp_path / "child.py"
    script.write_text(CHILD)
    done = 0
    for pause in (0.01, 0.0123):
        with subprocess.Popen(
            [sys.executable, str(script), str(folder)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        ) as child:
            assert child.stdout is not None
            while int(child.stdout.readline()) < done + 20:
                pass
            time.sleep(pause)
            child.send_signal(signal.SIGKILL)
        done = read_checkpoint(RunFiles(folder).checkpoint, tiny_complex.ligand.n_atoms).snapshot
    resumed = read_bytes(simulate(tiny_complex, model, folder, n_snapshots=done + 5, resume=True))
    assert resumed == read_bytes(simulate(tiny_complex, model, tmp_path / "whole", n_snapshots=done + 5))


def test_a_walk_that_breaks_keeps_what_was_good(tiny_complex: Complex, tmp_path: Path) -> None:
    model = make_walk(tiny_complex, breaks_at=2)
    with pytest.raises(NonFiniteStateError, match="step 2: the walk"):
        simulate(tiny_complex, model, tmp_path, n_snapshots=9)
    record = json.loads(RunFiles(tmp_path).record.read_text())
    assert record["status"].startswith("failed: step 2")
    assert record["n_snapshots_done"] == 3


DAMAGES: dict[str, Callable[[dict], object]] = {
    "nothing kept": lambda s: s.update(kept={}),
    "no pending snapshots": lambda s: s["kept"].pop("pending"),
    "of fewer atoms": lambda s: s["kept"].update({k: v[..., 1:, :] for k, v in s["kept"].items() if v.ndim > 1}),
    "shapes that differ": lambda s: s["kept"].update(shown=s["kept"]["shown"][1:]),
    "a text": lambda s: s["kept"].update(state_step=np.asarray("many")),
    "texts for memory": lambda s: s["kept"].update({"memory.trend": np.asarray(["a"])}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_checkpoint_with_something_else_is_refused(
    damage: str, tiny_complex: Complex, model: WalkModel, tmp_path: Path
) -> None:
    files = simulate(tiny_complex, model, tmp_path, n_snapshots=4)
    state = dict(vars(read_checkpoint(files.checkpoint, tiny_complex.ligand.n_atoms)))
    DAMAGES[damage](state)
    write_state(files.checkpoint, state)
    before = files.checkpoint.read_bytes()
    with pytest.raises(InputError, match=r"checkpoint: damaged checkpoint .*start again"):
        simulate(tiny_complex, model, tmp_path, n_snapshots=7, resume=True)
    assert files.checkpoint.read_bytes() == before


def test_a_changed_number_of_what_is_kept_is_seen(tiny_complex: Complex, model: WalkModel, tmp_path: Path) -> None:
    files = simulate(tiny_complex, model, tmp_path, n_snapshots=4)
    trend = read_checkpoint(files.checkpoint, tiny_complex.ligand.n_atoms).kept["memory.trend"].tobytes()
    content = files.checkpoint.read_bytes()
    assert trend in content
    files.checkpoint.write_bytes(content.replace(trend, bytes(len(trend))))
    with pytest.raises(InputError, match="damaged checkpoint"):
        simulate(tiny_complex, model, tmp_path, n_snapshots=7, resume=True)


def test_another_scheme_is_refused(tiny_complex: Complex, model: WalkModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this model knows none"):
        simulate(tiny_complex, model, tmp_path, scheme="heun")
    assert not RunFiles(tmp_path).list_existing()
