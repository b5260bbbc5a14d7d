"""Trajectory files of several engines, whole and damaged."""

import gzip
import os
import re
import shutil
import struct
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from openmm_neuralmd.analysis.bundled import get_bundled_path
from openmm_neuralmd.errors import InputError, NeuralMDError, TopologyMismatchError, describe_error
from openmm_neuralmd.io.formats import read_dcd_layout
from openmm_neuralmd.io.topologies import describe_damage, guess_elements, load_topology
from openmm_neuralmd.io.trajectories import (
    CHUNK_FRAMES,
    TrajectoryFile,
    open_run,
    open_trajectory,
)
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
    with pytest.raises(InputError, match="`interval`"):
        open_trajectory(path, POCKET)
    assert open_trajectory(path, POCKET, interval=80.0).interval == 80.0


def test_hdf5_is_its_own_topology(replica: mdtraj.Trajectory, tmp_path: Path) -> None:
    file = open_trajectory(write(replica, tmp_path / "a.h5"))
    assert file.topology.n_atoms == replica.n_atoms
    with pytest.raises(InputError, match="`top`"):
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


def write_big_endian(path: Path) -> None:
    """The bytes of each number of a DCD file the other way round, as on other machines."""
    content = path.read_bytes()
    layout = read_dcd_layout(path)
    assert layout is not None
    title = slice(100, layout[0] - 16)  # texts stay as they are
    swapped = bytearray(np.frombuffer(content, dtype="<i4").astype(">i4").tobytes())
    swapped[4:8], swapped[title] = content[4:8], content[title]
    path.write_bytes(swapped)


def test_dcd_of_another_machine(replica: mdtraj.Trajectory, tmp_path: Path) -> None:
    path = write(replica, tmp_path / "a.dcd")
    flat = mdtraj.Trajectory(replica.xyz, replica.topology)
    write(flat, path)  # without a box, whose numbers are of double length
    write_big_endian(path)
    found, notes = read_all(open_trajectory(path, POCKET, interval=80.0))
    assert (len(found), notes) == (len(replica), [])
    assert found.xyz == pytest.approx(replica.xyz, abs=1e-3)


OTHERS = ("xtc", "trr", "nc", "h5", "dcd", "xyz", "pdb", "gro")


@pytest.mark.parametrize("suffix", ["xtc", "trr", "nc", "h5", "dcd"])
@pytest.mark.parametrize("other", OTHERS)
def test_a_file_under_a_wrong_name(replica: mdtraj.Trajectory, tmp_path: Path, suffix: str, other: str) -> None:
    if suffix == other:
        return
    path = write(replica[:2], tmp_path / f"a.{other}").rename(tmp_path / f"b.{suffix}")
    with pytest.raises(InputError, match=rf"b\.{suffix}: (holds|does not begin|not a readable|is NetCDF 4)") as caught:
        open_trajectory(path, POCKET, interval=80.0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [*FORMATS, "dcd", "xyz", "lammpstrj", "pdb", "gro", "prmtop", "psf", "cif", "tpr"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty or cut short"),
        (gzip.compress(b"frames", mtime=0), "packed with gzip"),
        (b"PK\x03\x04 and more", "packed with zip"),
        (b"hello world\n" * 50, ""),
        (b"\n\n", ""),
        (bytes(3000), ""),
        (b"\xff" * 3000, ""),
        (None, "is a folder"),
    ],
)
def test_what_is_no_file_of_its_format(tmp_path: Path, suffix: str, content: bytes | None, message: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    for read in (lambda: open_trajectory(path, POCKET, interval=80.0), lambda: load_topology(path)):
        with pytest.raises(NeuralMDError, match=rf"a\.{suffix}: .*({message}|is not a \w+ format)") as caught:
            read()
        assert "\n" not in str(caught.value)
        assert not re.search(r" \(\)|: ;|: $", str(caught.value))


@pytest.mark.parametrize("suffix", [*FORMATS, "dcd", "xyz", "lammpstrj"])
def test_one_frame_and_one_atom(replica: mdtraj.Trajectory, tmp_path: Path, suffix: str) -> None:
    """One frame is read where its interval is known; one atom is enough."""
    path = write(replica[0], tmp_path / f"a.{suffix}")
    with pytest.raises(InputError, match="holds 1 frame"):
        open_trajectory(path, POCKET)
    found, notes = read_all(open_trajectory(path, POCKET, interval=80.0))
    assert (len(found), notes) == (1, [])
    one = replica.atom_slice([0])
    write(one[0], tmp_path / "one.pdb")
    path = write(one, tmp_path / f"one.{suffix}")
    found, notes = read_all(open_trajectory(path, tmp_path / "one.pdb", interval=80.0))
    assert (found.xyz.shape, notes) == ((36, 1, 3), [])
    with pytest.raises(TopologyMismatchError, match="does not fit its topology of 1281 atoms"):
        open_trajectory(path, POCKET, interval=80.0)


@pytest.mark.parametrize(("suffix", "place", "order"), [("xtc", 4, ">"), ("trr", 64, ">"), ("dcd", None, "<")])
@pytest.mark.parametrize("n_atoms", [-1, 0, 1, 2**31 - 1])
def test_headers_that_claim_other_atoms(
    replica: mdtraj.Trajectory, tmp_path: Path, suffix: str, place: int | None, order: str, n_atoms: int
) -> None:
    """No room is made for two billion atoms."""
    path = write(replica, tmp_path / f"a.{suffix}")
    content = bytearray(path.read_bytes())
    layout = read_dcd_layout(path)
    place = layout[0] - 8 if place is None and layout is not None else place
    content[place : place + 4] = struct.pack(f"{order}i", n_atoms)
    path.write_bytes(content)
    with pytest.raises(TopologyMismatchError, match=f"it has {n_atoms};"):
        open_trajectory(path, POCKET, interval=80.0)


@pytest.mark.parametrize("suffix", [".dcd", ".xtc", ".trr", ".nc", ".h5"])
def test_headers_without_frames(replica: mdtraj.Trajectory, tmp_path: Path, suffix: str) -> None:
    path = write(replica, tmp_path / f"a{suffix}")
    layout = read_dcd_layout(path)
    sizes = {".dcd": layout and layout[0], ".xtc": 52, ".trr": 84, ".nc": 1016, ".h5": 2048}
    path.write_bytes(path.read_bytes()[: sizes[suffix]])
    with pytest.raises(InputError, match=rf"a\{suffix}: (holds no complete frame|cannot be read|not a readable)"):
        open_trajectory(path, POCKET, interval=80.0)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ', "", "\udcff"])
def test_a_run_whose_record_is_damaged(bundled_run: Path, tmp_path: Path, text: str) -> None:
    folder = shutil.copytree(bundled_run, tmp_path / "run")
    (folder / "run.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"run\.json: not valid JSON: \S") as caught:
        open_run(folder)
    assert "\n" not in str(caught.value)


class SilentError(Exception):
    def __str__(self) -> str:
        return " \n"


@pytest.mark.parametrize(
    "error",
    [
        *(kind() for kind in (ValueError, OSError, KeyError, IndexError, TypeError, RuntimeError, MemoryError)),
        *(kind("") for kind in (ValueError, KeyError, AssertionError, EOFError, StopIteration)),
        SilentError(), KeyError("()"), RecursionError("maximum recursion depth exceeded"), ValueError("\n\n: \nend\n"),
        UnicodeDecodeError("utf-8", b"a", 0, 1, "why"),
    ],
)  # fmt: skip
def test_no_reason_is_empty(error: Exception) -> None:
    for reason in (describe_error(error), describe_damage(error)):
        assert re.search(r"\w", reason)
        assert "\n" not in reason


@pytest.mark.parametrize(
    ("suffix", "place", "value"),
    [
        ("trr", 20 + 4 * 4, 2**31 - 1),  # bytes of the box
        ("trr", 64, 77),  # atoms
        ("trr", 56, 2**30),  # bytes of the velocities
        ("trr", 28, 12),  # bytes of a block that has no use
        ("xtc", 52, 2**30),  # atoms, the second time
        ("xtc", 84, 80),  # beyond the table of sizes
        ("xtc", 88, 2**30),  # bytes of packed numbers
        ("xtc", 60, 2**30),  # smallest number, above the largest
    ],
)
@pytest.mark.parametrize("frame", [0, 3])
def test_headers_that_contradict_themselves(
    replica: mdtraj.Trajectory, tmp_path: Path, suffix: str, place: int, value: int, frame: int
) -> None:
    """mdtraj would write where it must not, and the interpreter end."""
    sizes = [write(replica[: n + 1], tmp_path / f"a.{suffix}").stat().st_size for n in range(frame)]
    path = write(replica, tmp_path / f"a.{suffix}")
    content = bytearray(path.read_bytes())
    start = sizes[-1] if sizes else 0
    content[start + place : start + place + 4] = struct.pack(">i", value)
    path.write_bytes(content)
    if frame == 0:
        with pytest.raises(NeuralMDError, match=r"no complete frame|does not fit"):
            open_trajectory(path, POCKET)
        return
    found, notes = read_all(open_trajectory(path, POCKET))
    assert len(found) == 3
    assert "damaged or cut after frame 3" in notes[0]


@pytest.mark.parametrize("suffix", [".dcd", ".xtc", ".h5", ".nc", ".pdb"])
def test_a_named_pipe_is_not_waited_for(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"pipe{suffix}"
    os.mkfifo(path)
    with pytest.raises(InputError, match=rf"pipe\{suffix}: is no regular file"):
        open_trajectory(path, path, interval=80.0)
    with pytest.raises(InputError, match="no such file; give a trajectory"):
        open_trajectory(tmp_path / f"none{suffix}", POCKET)
