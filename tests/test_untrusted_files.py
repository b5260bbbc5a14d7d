"""Files of a user run no code: HDF5 with pickles through every command that opens one, and names of other readers."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import mdtraj
import numpy as np
import pytest

from openmm_neuralmd.analysis.bundled import get_bundled_path
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.io.topologies import load_structure_file
from openmm_neuralmd.io.trajectories import open_trajectory
from tests.helpers import ROOT, save_trajectory

POCKET, XTC = get_bundled_path("pocket.pdb"), get_bundled_path("r1_pocket.xtc")

COMMANDS = """
import json, sys
from openmm_neuralmd.cli import main
for words in json.loads(sys.argv[1]):
    print(main(words), file=sys.stderr)
loaded = [name for name in ("tables", "blosc2", "numexpr") if name in sys.modules]
assert not loaded, loaded
"""


class _Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return open, (self.marker, "w")


def set_traps(path: Path, marker: Path) -> Path:
    """Pickles wherever PyTables would read one: attributes, and arrays of objects."""
    trap = np.bytes_(pickle.dumps(_Trap(marker), protocol=0))
    with h5py.File(path, "r+") as file:
        for name in ("application", "FILTERS", "title", "TITLE", "CLASS", "conventions", "forcefield"):
            file.attrs[name] = trap
        for item in ("topology", "coordinates", "time"):
            for name in ("FLAVOR", "TITLE", "CLASS", "VERSION", "mine"):
                file[item].attrs[name] = trap
        objects = file.create_dataset("constraints", (1,), dtype=h5py.vlen_dtype(np.uint8))
        objects[0] = np.frombuffer(bytes(trap), dtype=np.uint8)
        objects.attrs["CLASS"], objects.attrs["PSEUDOATOM"] = np.bytes_("VLARRAY"), np.bytes_("object")
    return path


@pytest.fixture(scope="module")
def frames() -> mdtraj.Trajectory:
    return mdtraj.load(str(XTC), top=str(POCKET))


@pytest.fixture
def trapped(frames: mdtraj.Trajectory, tmp_path: Path) -> Path:
    return set_traps(save_trajectory(frames[:12], tmp_path / "a.h5"), tmp_path / "ran")


def test_the_traps_work(trapped: Path) -> None:
    pytest.importorskip("tables", reason="without PyTables nothing reads the pickles")
    with mdtraj.formats.HDF5TrajectoryFile(str(trapped)) as file:
        assert file.application
    assert trapped.with_name("ran").exists()


@pytest.mark.slow
def test_no_command_runs_what_an_hdf5_file_holds(trapped: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "trajectory.h5").write_bytes(trapped.read_bytes())
    (run / "topology.pdb").write_bytes(POCKET.read_bytes())
    small = ["--iterations", "2", "--hidden", "8", "--layers", "1", "--batch-size", "2", "--quiet"]
    h5, out = str(trapped), str(tmp_path / "out")
    commands = [
        ["compare", str(run), "--reference", h5, "--top", h5, "--ligand", "0WC", "--out", out],
        ["compare", h5, "--run-top", h5, "--reference", h5, "--ligand", "0WC", "--out", out],
        ["train", h5, "--ligand", "0WC", "--kind", "ode", "--out", str(tmp_path / "m.pt"), *small],
        ["evaluate", str(tmp_path / "m.pt"), "--trajectory", h5, "--ligand", "0WC", "--seeds", "0", "--samples", "2",
         "--out", str(tmp_path / "e")],
        ["simulate", h5, "--ligand", "0WC", "--snapshots", "2", "--quiet", "--format", "h5", "--out",
         str(tmp_path / "s")],
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    statuses = [line for line in done.stderr.splitlines() if line in ("0", "1", "2")]
    assert statuses == ["0"] * len(commands), done.stderr
    assert not (tmp_path / "ran").exists()
    assert (tmp_path / "s" / "trajectory.h5").is_file()


OTHERS = [".lh5", ".gsd", ".hoomdxml", ".xml", ".mol2", ".arc", ".dtr", ".stk", ".ncrst", ".pkl", ".npz", ".npy", ""]


@pytest.mark.parametrize("suffix", OTHERS)
def test_formats_that_are_not_on_the_list(trapped: Path, suffix: str) -> None:
    path = trapped.rename(trapped.with_name(f"b{suffix}"))
    with pytest.raises(InputError, match="not a trajectory format"):
        open_trajectory(path, POCKET, interval=80.0)
    for read in (load_structure_file, lambda top: open_trajectory(XTC, top)):
        with pytest.raises(InputError, match="not a topology format"):
            read(path)
    assert not path.with_name("ran").exists()


@pytest.mark.parametrize("suffix", [".xtc", ".dcd", ".trr", ".nc", ".pdb", ".gro", ".prmtop", ".cif", ".tpr", ".psf"])
def test_hdf5_under_another_name(trapped: Path, suffix: str) -> None:
    path = trapped.rename(trapped.with_name(f"b{suffix}"))
    readers = [lambda p: open_trajectory(p, POCKET, interval=80.0), load_structure_file]
    for read in readers:
        with pytest.raises(InputError, match=r"holds HDF5, not|is NetCDF 4|is not a t"):
            read(path)
    assert not path.with_name("ran").exists()
