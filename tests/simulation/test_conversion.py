"""Copies of a trajectory in other formats: the same frames with right times, never stale, never half-written."""

from pathlib import Path

import MDAnalysis
import mdtraj
import numpy as np
import pytest

from openmm_neuralmd.complex import Complex
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.simulation.directory import COPY_FORMATS, RunFiles
from openmm_neuralmd.simulation.run import simulate
from tests.helpers import ModelDouble, make_double


@pytest.fixture
def model(tiny_complex: Complex) -> ModelDouble:
    return make_double(tiny_complex, amplitude=0.3, friction=0.5)


def read(files: RunFiles, name: str) -> mdtraj.Trajectory:
    top = None if name == "h5" else str(files.topology)
    return mdtraj.load(str(files.get_copy(name)), **({"top": top} if top else {}))


@pytest.mark.parametrize("name", COPY_FORMATS)
def test_copies_hold_the_frames_of_the_dcd(
    name: str, tiny_complex: Complex, model: ModelDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openmm_neuralmd.simulation.conversion._CHUNK", 3)
    files = simulate(tiny_complex, model, tmp_path, n_snapshots=7, formats=[name])
    expected = mdtraj.load(str(files.trajectory), top=str(files.topology))
    found = read(files, name)
    np.testing.assert_allclose(found.xyz, expected.xyz, rtol=0, atol=6e-4 if name == "xtc" else 1e-6)
    np.testing.assert_allclose(found.time, 80.0 * np.arange(1, 8))
    assert not any(files.get_copy(other).exists() for other in COPY_FORMATS if other != name)
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


def test_unknown_format(tiny_complex: Complex, model: ModelDouble, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown trajectory format 'trr'; choose of xtc, nc, h5"):
        simulate(tiny_complex, model, tmp_path / "run", formats=["trr"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", COPY_FORMATS)
def test_names_need_not_be_ascii(name: str, tiny_complex: Complex, model: ModelDouble, tmp_path: Path) -> None:
    files = simulate(tiny_complex, model, tmp_path / "Müller", n_snapshots=3, formats=[name])
    plain = simulate(tiny_complex, model, tmp_path / "plain", n_snapshots=3, formats=[name])
    copies = [file.get_copy(name) for file in (files, plain)]
    left = copies[0].with_name(f".tmp-0123456789abcdef{copies[0].suffix}")
    left.write_bytes(b"left by a process that was killed")
    simulate(tiny_complex, model, tmp_path / "Müller", n_snapshots=3, formats=[name], resume=True)
    assert not left.exists()
    assert not copies[0].is_symlink()
    if name == "xtc":  # the others keep the time of writing
        assert copies[0].read_bytes() == copies[1].read_bytes()
    assert copies[0].stat().st_size == copies[1].stat().st_size
