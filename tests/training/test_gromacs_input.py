"""`neuralmd train` and `evaluate` on GROMACS and Amber files alone, without a PDB file."""

import re
from importlib import resources
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from openmm_neuralmd.cli import main
from openmm_neuralmd.models.export import load_model
from tests.helpers import make_complex, save_trajectory

ASSETS = Path(str(resources.files("openmm_neuralmd") / "assets" / "4g3e"))
DATA = Path(__file__).parents[1] / "data"
FAST = ["--hidden", "8", "--layers", "1", "--iterations", "4", "--batch-size", "4", "--quiet", "--threads", "1"]


@pytest.fixture
def frames() -> mdtraj.Trajectory:
    """The tests' tiny complex, wrapped into a box around the origin."""
    tiny = make_complex()
    noise = np.random.default_rng(0).normal(scale=0.003, size=(20, *tiny.positions.shape))
    made = mdtraj.Trajectory(tiny.positions + noise, mdtraj.Topology.from_openmm(tiny.topology))
    made.time = 80.0 * np.arange(20)
    made.unitcell_vectors = np.repeat(4.0 * np.eye(3)[None], 20, axis=0)
    made.xyz = np.mod(made.xyz, 4.0)
    return made


@pytest.mark.parametrize(
    ("suffix", "top", "note"),
    [
        (".xtc", "top.gro", "top.gro holds no bonds of the ligand"),
        (".xtc", DATA / "tiny.tpr", "bond orders of LIG were perceived"),
        (".nc", DATA / "tiny.prmtop", "tiny.prmtop holds no coordinates: the pose is the first frame of md.nc"),
        (".h5", None, "bond orders of LIG were perceived"),
    ],
)
def test_training_and_evaluation(suffix, top, note, frames, tmp_path, capsys):
    if str(top).endswith(".tpr"):
        pytest.importorskip("MDAnalysis")
    save_trajectory(frames, tmp_path / f"md{suffix}")
    frames[0].save(str(tmp_path / "top.gro"))
    md, out = str(tmp_path / f"md{suffix}"), tmp_path / "m.pt"
    files = [*(["--top", str(tmp_path / top)] if top else []), "--ligand", "LIG", "--superpose", "all"]
    assert main(["train", md, *files, "--kind", "ode", "--out", str(out), *FAST]) == 0
    printed = capsys.readouterr().err
    assert note in printed
    assert all(line.startswith("note: ") for line in printed.splitlines())
    noted = load_model(out).metadata["training"]["complexes"][0]["notes"]
    assert printed.splitlines()[: len(noted)] == [f"note: {n}".replace("`sdf`", "--sdf") for n in noted]
    words = ["--trajectory", md, *files, "--samples", "2", "--seeds", "0", "--out", str(tmp_path / "e")]
    assert main(["evaluate", str(out), *words]) == 0
    if suffix == ".h5":
        (tmp_path / "list.csv").write_text(f"trajectory,ligand\n{md},LIG\n")
        words = ["train", "--complexes", str(tmp_path / "list.csv"), "--superpose", "all", "--kind", "ode"]
        assert main([*words, "--out", str(tmp_path / "t.pt"), *FAST]) == 0


def test_simulation_of_a_gro_file(tmp_path, capsys):
    mdtraj.load(str(ASSETS / "pocket.pdb")).save(str(tmp_path / "md.gro"))
    words = ["simulate", str(tmp_path / "md.gro"), "--ligand", "0WC", "--snapshots", "2", "--quiet"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    assert "holds no elements" in capsys.readouterr().err
    assert len(mdtraj.load(str(tmp_path / "run/trajectory.dcd"), top=str(tmp_path / "run/topology.pdb"))) == 2


@pytest.mark.parametrize("suffix", [".xtc", ".nc", ".h5", ".dcd"])
@pytest.mark.parametrize("n_frames", [1, 2, 3])
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_too_few_frames(command, n_frames, suffix, frames, tmp_path, capsys):
    """One line that tells how many there are, not an IndexError."""
    md = str(save_trajectory(frames[:n_frames], tmp_path / f"md{suffix}"))
    top = str(save_trajectory(frames[0], tmp_path / "top.gro"))
    words = ["--top", top, "--ligand", "LIG", "--interval", "80"]
    if command == "train":
        words = ["train", md, *words, "--superpose", "all", "--kind", "ode", "--out", str(tmp_path / "m.pt"), *FAST]
    else:
        words = ["evaluate", "ode", "--trajectory", md, *words, "--superpose", "all", "--seeds", "0", "--samples", "2"]
        words += ["--out", str(tmp_path / "e")]
    assert main(words) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "note: " not in line]
    assert len(lines) == 1
    assert lines[0].startswith("neuralmd: error: ")
    assert re.search(r"frames are for this part|leave too few", lines[0])
    assert not (tmp_path / "m.pt").exists()
