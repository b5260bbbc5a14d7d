"""Trajectory files of several engines, whole and damaged."""

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from openmm_neuralmd.analysis.bundled import get_bundled_path
from openmm_neuralmd.analysis.topologies import guess_elements
from openmm_neuralmd.analysis.trajectories import (
    CHUNK_FRAMES,
    TrajectoryFile,
    open_run,
    open_trajectory,
)
from openmm_neuralmd.errors import InputError, TopologyMismatchError
from tests.helpers import save_trajectory as write

POCKET = get_bundled_path("pocket.pdb")
FORMATS = ("xtc", "trr", "nc", "h5")


@pytest.fixture(scope="module")
def replica() -> mdtraj.Trajectory:
    return mdtraj.load(str(get_bundled_path("r1_pocket.xtc")), top=str(POCKET))


def read_all(file: TrajectoryFile) -> tuple[mdtraj.Trajectory, list[str]]:
    notes: list[str] = []
    chunks = list(file.iterate(np.arange(file.topology.n_atoms), notes))
    assert max(len(c) for c in chunks) <= CHUNK_FRAMES
    return mdtraj.join(chunks), notes


@pytest.mark.parametrize("suffix", FORMATS)
def test_formats(replica: mdtraj.Trajectory, tmp_path: Path, suffix: str) -> None:
    file = open_trajectory(write(replica, tmp_path / f"a.{suffix}"), POCKET)
    assert file.interval == 80.0
    found, notes = read_all(file)
    assert notes == []
    assert found.xyz == pytest.approx(replica.xyz, abs=1e-3)


def test_openmm_dcd_carries_its_interval(bundled_run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = open_run(bundled_run)
    assert (file.interval, file.topology.n_atoms, file.info["ligand"]) == (80.0, 5166, "0WC")
    assert len(read_all(file)[0]) == 36
    assert capfd.readouterr().out == ""  # mdtraj's DCD reader prints; --json output must stay clean


def test_interval_of_mdtraj_dcd_is_asked_for(replica: mdtraj.Trajectory, tmp_path: Path) -> None:
    path = write(replica, tmp_path / "a.dcd")
    with pytest.raises(InputError, match="--interval"):
        open_trajectory(path, POCKET)
    assert open_trajectory(path, POCKET, interval=80.0).interval == 80.0


def test_hdf5_is_its_own_topology(replica: mdtraj.Trajectory, tmp_path: Path) -> None:
    file = open_trajectory(write(replica, tmp_path / "a.h5"))
    assert file.topology.n_atoms == replica.n_atoms
    with pytest.raises(InputError, match="--top"):
        open_trajectory(get_bundled_path("r1_pocket.xtc"))


@pytest.mark.parametrize("suffix", ["xtc", "trr", "dcd"])
def test_cut_files_give_the_frames_they_have(replica: mdtraj.Trajectory, tmp_path: Path, suffix: str) -> None:
    path = write(replica, tmp_path / f"a.{suffix}")
    path.write_bytes(path.read_bytes()[: int(0.55 * path.stat().st_size)])
    found, notes = read_all(open_trajectory(path, POCKET, interval=80.0))
    assert len(found) == 19
    assert found.xyz == pytest.approx(replica.xyz[:19], abs=1e-3)
    assert "frame 19" in notes[0]


@pytest.mark.parametrize("suffix", ["xtc", "trr", "dcd"])
@pytest.mark.parametrize("size", [0, 10, 60, 200, 500])
def test_files_cut_before_the_first_frame_ends(
    replica: mdtraj.Trajectory, tmp_path: Path, suffix: str, size: int
) -> None:
    path = write(replica, tmp_path / f"a.{suffix}")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match=rf"a\.{suffix}"):
        open_trajectory(path, POCKET, interval=80.0)


def test_frames_after_nan_are_left_out(replica: mdtraj.Trajectory, tmp_path: Path) -> None:
    broken = replica[:]
    broken.xyz[7, 3] = np.nan
    found, notes = read_all(open_trajectory(write(broken, tmp_path / "a.nc"), POCKET))
    assert len(found) == 7
    assert "frame 7" in notes[0]


@pytest.mark.parametrize("top", ["complex.pdb", "pocket.pdb"])
def test_topology_must_fit(bundled_run: Path, top: str) -> None:
    trajectory = bundled_run / "trajectory.dcd" if top == "pocket.pdb" else get_bundled_path("r1_pocket.xtc")
    with pytest.raises(TopologyMismatchError, match="does not fit"):
        open_trajectory(trajectory, get_bundled_path(top))


def test_a_missing_file_and_an_empty_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        open_trajectory(tmp_path / "a.xtc", POCKET)
    with pytest.raises(InputError, match="not a run directory"):
        open_run(tmp_path)
    with pytest.raises(InputError, match="no such directory"):
        open_run(tmp_path / "nowhere")
    (tmp_path / "a.xtc").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"a\.xtc"):
        open_trajectory(tmp_path / "a.xtc", POCKET)


@pytest.mark.parametrize("interval", [0.0, -5.0, float("nan")])
def test_an_interval_is_positive(interval: float) -> None:
    with pytest.raises(InputError, match="more than 0 ps"):
        open_trajectory(get_bundled_path("r1_pocket.xtc"), POCKET, interval=interval)


def test_a_single_frame_is_called_that(replica: mdtraj.Trajectory, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds 1 frame"):
        open_trajectory(write(replica[0], tmp_path / "a.xtc"), POCKET)


def test_a_structure_is_no_trajectory() -> None:
    with pytest.raises(InputError, match="not a trajectory format"):
        open_trajectory(POCKET, POCKET, interval=1.0)


def test_topologies_without_atoms_and_damaged_hdf5(replica: mdtraj.Trajectory, tmp_path: Path) -> None:
    (tmp_path / "a.pdb").write_text("hello\n")
    with pytest.raises(InputError, match="holds no atoms"):
        open_trajectory(get_bundled_path("r1_pocket.xtc"), tmp_path / "a.pdb")
    path = write(replica, tmp_path / "a.h5")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="Unable to open"):
        open_trajectory(path)


def test_cut_netcdf_gives_the_frames_it_has(replica: mdtraj.Trajectory, tmp_path: Path) -> None:
    path = write(replica, tmp_path / "a.nc")
    path.write_bytes(path.read_bytes()[: int(0.55 * path.stat().st_size)])
    file = open_trajectory(path, POCKET)
    assert file.interval == 80.0
    found, notes = read_all(file)
    assert len(found) == 19
    assert found.xyz == pytest.approx(replica.xyz[:19], abs=1e-6)
    assert "cut after frame 19 of 36" in notes[0]
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"a\.nc"):
        open_trajectory(path, POCKET)


def test_readers_in_c_do_not_print(
    replica: mdtraj.Trajectory, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(replica, tmp_path / "a.xtc")
    path.write_bytes(path.read_bytes()[: int(0.55 * path.stat().st_size)])
    read_all(open_trajectory(path, POCKET))
    assert capfd.readouterr() == ("", "")


def test_elements_from_masses() -> None:
    """Methyl, hydroxyl and a chlorine, with hydrogens as heavy as 3 Da at the cost of what they are bonded to."""
    bonds = np.array([(0, 1), (0, 2), (0, 3), (0, 4), (4, 5)])
    plain = guess_elements(np.array([12.01, 1.008, 1.008, 1.008, 16.0, 1.008, 35.45]), bonds)
    heavy = guess_elements(np.array([6.03, 3.0, 3.0, 3.0, 14.01, 3.0, 35.45]), bonds)
    assert [e.symbol for e in plain] == [e.symbol for e in heavy] == ["C", "H", "H", "H", "O", "H", "Cl"]


@pytest.mark.parametrize("suffix", [*FORMATS, "dcd"])
def test_names_need_not_be_ascii(replica: mdtraj.Trajectory, tmp_path: Path, suffix: str) -> None:
    """mdtraj's own readers of XTC, TRR and DCD fail on them."""
    folder = tmp_path / "Müller, Übung"
    folder.mkdir()
    top = folder / "Tasche.pdb"
    top.write_bytes(POCKET.read_bytes())
    path = write(replica, tmp_path / f"a.{suffix}").rename(folder / f"Läufe.{suffix}")
    file = open_trajectory(path, top, interval=80.0)
    found, notes = read_all(file)
    assert (notes, file.label) == ([], "Läufe")
    assert found.xyz == pytest.approx(replica.xyz, abs=1e-3)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"Läufe\.\w+: "):
        read_all(open_trajectory(path, top, interval=80.0))
