"""Copies of a trajectory in other formats: the same frames with right times, never stale, never half-written."""

import socket
import time
from pathlib import Path

import h5py
import MDAnalysis
import mdtraj
import numpy as np
import pytest

from openmm_neuralmd.errors import InputError, StorageError
from openmm_neuralmd.io import conversion
from openmm_neuralmd.io.conversion import write_copies
from openmm_neuralmd.io.copy_format import list_copy_formats
from openmm_neuralmd.io.directory import RunFiles
from openmm_neuralmd.io.hdf5_trajectories import HDF5Reader
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.simulation.run import simulate
from tests.helpers import ModelDouble, make_double


@pytest.fixture
def model(tiny_complex: Complex) -> ModelDouble:
    return make_double(tiny_complex, amplitude=0.3, friction=0.5)


def read(files: RunFiles, name: str) -> mdtraj.Trajectory:
    if name == "h5":
        with HDF5Reader(files.get_copy(name)) as file:
            return file.read_as_traj(file.read_topology(), len(file))
    return mdtraj.load(str(files.get_copy(name)), top=str(files.topology))


@pytest.mark.parametrize("name", ["h5", "nc", "xtc"])
def test_copies_hold_the_frames_of_the_dcd(
    name: str, tiny_complex: Complex, model: ModelDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openmm_neuralmd.io.conversion._CHUNK", 3)
    files = simulate(tiny_complex, model, tmp_path, n_snapshots=7, formats=[name])
    expected = mdtraj.load(str(files.trajectory), top=str(files.topology))
    found = read(files, name)
    np.testing.assert_allclose(found.xyz, expected.xyz, rtol=0, atol=6e-4 if name == "xtc" else 1e-6)
    np.testing.assert_allclose(found.time, 80.0 * np.arange(1, 8))
    assert not any(files.get_copy(other).exists() for other in list_copy_formats() if other != name)
    if name != "h5":
        universe = MDAnalysis.Universe(str(files.topology), str(files.get_copy(name)))
        assert universe.trajectory.dt == pytest.approx(80.0)
        assert len(universe.trajectory) == 7


def test_a_copy_follows_when_the_run_goes_on(tiny_complex: Complex, model: ModelDouble, tmp_path: Path) -> None:
    simulate(tiny_complex, model, tmp_path / "a", n_snapshots=3, formats=["xtc"])
    parts = simulate(tiny_complex, model, tmp_path / "a", n_snapshots=6, resume=True)
    whole = simulate(tiny_complex, model, tmp_path / "b", n_snapshots=6, formats=["xtc"])
    assert parts.get_copy("xtc").read_bytes() == whole.get_copy("xtc").read_bytes()
    replaced = simulate(tiny_complex, model, tmp_path / "a", n_snapshots=2, overwrite=True)
    assert not replaced.get_copy("xtc").exists()


def test_an_interrupted_run_has_its_copy(tiny_complex: Complex, model: ModelDouble, tmp_path: Path) -> None:
    def interrupt(done: int, _: float) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(tiny_complex, model, tmp_path, n_snapshots=9, formats=["nc"], progress=interrupt)
    assert read(RunFiles(tmp_path), "nc").n_frames == 2


@pytest.mark.parametrize("name", list_copy_formats())
def test_copies_of_equal_runs_are_equal(
    name: str, tiny_complex: Complex, model: ModelDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the time, the computer, or the version of a library."""
    first = simulate(tiny_complex, model, tmp_path / "a", n_snapshots=5, formats=[name]).get_copy(name).read_bytes()
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 1e6)
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    monkeypatch.setattr("platform.node", lambda: "elsewhere")
    for library in (mdtraj, h5py, np):
        monkeypatch.setattr(library, "__version__", "9.9.9")
    second = simulate(tiny_complex, model, tmp_path / "b", n_snapshots=5, formats=[name]).get_copy(name).read_bytes()
    assert first == second
    for word in (b"MDTraj", b"elsewhere", socket.gethostname().encode(), time.strftime("%Y-").encode()):
        assert word not in first


@pytest.mark.parametrize("name", list_copy_formats())
def test_hdf5_and_the_rest_hold_no_time_of_the_system(
    name: str, tiny_complex: Complex, model: ModelDouble, tmp_path: Path
) -> None:
    """HDF5 asks the system for the time, which no patch reaches."""
    files = simulate(tiny_complex, model, tmp_path, n_snapshots=2, formats=[name])
    first = files.get_copy(name).read_bytes()
    time.sleep(1.05)
    write_copies(files, [name], interval=80.0)
    assert files.get_copy(name).read_bytes() == first


@pytest.mark.parametrize("name", list_copy_formats())
@pytest.mark.parametrize("missing", [1, 10, 5000])
def test_a_file_that_may_not_grow(
    name: str, missing: int, tiny_complex: Complex, model: ModelDouble, tmp_path: Path
) -> None:
    """mdtraj's XTC writer does not notice, HDF5 ends the interpreter; the earlier copy stays."""
    resource = pytest.importorskip("resource")
    files = simulate(tiny_complex, model, tmp_path, n_snapshots=30, formats=[name])
    whole = files.get_copy(name).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) - missing, limits[1]))
    try:
        with pytest.raises(
            StorageError, match=rf"trajectory\.{name}: cannot be written .*: the file may not grow further"
        ):
            write_copies(files, [name], interval=80.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files.get_copy(name).read_bytes() == whole
    assert len(list(tmp_path.iterdir())) == len(files.list_existing())


@pytest.mark.parametrize("name", list_copy_formats())
@pytest.mark.parametrize("damage", ["cut", "zeros"])
def test_a_copy_that_lacks_frames_takes_no_place(
    name: str, damage: str, tiny_complex: Complex, model: ModelDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = simulate(tiny_complex, model, tmp_path, n_snapshots=30)

    def convert_badly(path: Path, *args: object) -> bool:
        content = path.read_bytes()
        kept = len(content) * 2 // 3
        path.write_bytes(content[:kept] + (bytes(200) + content[kept + 200 :] if damage == "zeros" else b""))
        return is_whole(path, *args)

    is_whole = conversion._is_whole
    monkeypatch.setattr(conversion, "_is_whole", convert_badly)
    with pytest.raises(InputError, match="does not hold what was written to it"):
        write_copies(files, [name], interval=80.0)
    assert not files.get_copy(name).exists()


def test_unknown_format(tiny_complex: Complex, model: ModelDouble, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown trajectory format 'trr'; choose of h5, nc, "):
        simulate(tiny_complex, model, tmp_path / "run", formats=["trr"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", list_copy_formats())
def test_names_need_not_be_ascii(name: str, tiny_complex: Complex, model: ModelDouble, tmp_path: Path) -> None:
    files = simulate(tiny_complex, model, tmp_path / "Müller", n_snapshots=3, formats=[name])
    plain = simulate(tiny_complex, model, tmp_path / "plain", n_snapshots=3, formats=[name])
    copies = [file.get_copy(name) for file in (files, plain)]
    left = copies[0].with_name(f".tmp-0123456789abcdef{copies[0].suffix}")
    left.write_bytes(b"left by a process that was killed")
    simulate(tiny_complex, model, tmp_path / "Müller", n_snapshots=3, formats=[name], resume=True)
    assert not left.exists()
    assert not copies[0].is_symlink()
    assert copies[0].read_bytes() == copies[1].read_bytes()
