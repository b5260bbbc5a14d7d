"""What befalls a run directory: other processes, a failed replacement, damage of every kind, full disks, signals."""

import json
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from openmm_neuralmd.errors import InputError, NonFiniteStateError, StorageError
from openmm_neuralmd.folders import own_folder
from openmm_neuralmd.io.checkpoint import read_checkpoint, write_state
from openmm_neuralmd.io.directory import RunFiles
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.signals import Terminated
from openmm_neuralmd.simulation.run import simulate
from tests.helpers import ModelDouble, edit_json, make_double, read_folder

N_DONE = 6


@pytest.fixture
def model(tiny_complex: Complex) -> ModelDouble:
    return make_double(tiny_complex, amplitude=0.3, friction=0.5)


def put(content: bytes) -> Callable[[bytes], bytes]:
    return lambda _: content


def cut_out(content: bytes, start: int, length: int) -> bytes:
    return content[:start] + content[start + length :]


def fill(content: bytes, start: int, filling: bytes) -> bytes:
    return content[:start] + filling + content[start + len(filling) :]


def swap_lines(content: bytes, a: int, b: int) -> bytes:
    lines = content.splitlines(keepends=True)
    lines[a], lines[b] = lines[b], lines[a]
    return b"".join(lines)


def double_line(content: bytes, k: int) -> bytes:
    lines = content.splitlines(keepends=True)
    return b"".join([*lines[:k], lines[k], *lines[k:]])


MIDDLE = 1500  # a place within the second frame
DAMAGES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "zeros in the trajectory": ("trajectory.dcd", lambda b: fill(b, MIDDLE, bytes(200))),
    "one bit of a frame": ("trajectory.dcd", lambda b: fill(b, MIDDLE, bytes([b[MIDDLE] ^ 1]))),
    "a piece of the trajectory missing": ("trajectory.dcd", lambda b: cut_out(b, MIDDLE, 100)),
    "a piece of the trajectory too many": ("trajectory.dcd", lambda b: b[:MIDDLE] + bytes(100) + b[MIDDLE:]),
    "trajectory cut by frames": ("trajectory.dcd", lambda b: b[: len(b) // 2]),
    "only the header": ("trajectory.dcd", lambda b: b[:276]),
    "empty trajectory": ("trajectory.dcd", put(b"")),
    "zeros all over": ("trajectory.dcd", lambda b: bytes(len(b))),
    "another header": ("trajectory.dcd", lambda b: fill(b, 44, b"\1\2\3\4")),
    "a text for a trajectory": ("trajectory.dcd", put(b"hello\n" * 1000)),
    "garbage in the log": ("log.csv", lambda b: fill(b, 120, b"\xff\xfegarbage")),
    "a number of the log changed": ("log.csv", lambda b: fill(b, 110, b"9")),
    "a row twice": ("log.csv", lambda b: double_line(b, 2)),
    "a row missing": ("log.csv", lambda b: b"".join(b.splitlines(keepends=True)[:2])),
    "rows exchanged": ("log.csv", lambda b: swap_lines(b, 1, 2)),
    "line ends of another system": ("log.csv", lambda b: b.replace(b"\n", b"\r\n")),
    "only the names of columns": ("log.csv", lambda b: b.splitlines(keepends=True)[0]),
    "other names of columns": ("log.csv", lambda b: b.replace(b"time_ps", b"time_ns")),
    "empty log": ("log.csv", put(b"")),
    "empty checkpoint": ("checkpoint", put(b"")),
    "checkpoint cut": ("checkpoint", lambda b: b[:-50]),
    "checkpoint with a bit changed": ("checkpoint", lambda b: fill(b, len(b) // 3, bytes([b[len(b) // 3] ^ 1]))),
    "a pickle for a checkpoint": ("checkpoint", put(b"\x80\x04K\x05.")),
    "a text for a checkpoint": ("checkpoint", put(b"checkpoint")),
    "empty record": ("run.json", put(b"")),
    "record cut": ("run.json", lambda b: b[: len(b) // 2]),
    "record of another encoding": ("run.json", lambda b: b.decode().encode("utf-16")),
    "record is a list": ("run.json", put(b"[1, 2]")),
    "record is nested too deeply": ("run.json", put(b"[" * 200_000)),
    "record without settings": ("run.json", edit_json(lambda r: r.pop("settings"))),
    "settings are a list": ("run.json", edit_json(lambda r: r.update(settings=[1]))),
    "another seed": ("run.json", edit_json(lambda r: r["settings"].update(seed=5))),
    "a seed that is a text": ("run.json", edit_json(lambda r: r["settings"].update(seed="0"))),
    "record without sessions": ("run.json", edit_json(lambda r: r.pop("sessions"))),
    "sessions are a number": ("run.json", edit_json(lambda r: r.update(sessions=3))),
    "a session is null": ("run.json", edit_json(lambda r: r.update(sessions=[None]))),
    "a session without times": ("run.json", edit_json(lambda r: r.update(sessions=[{"from_snapshot": 0}]))),
    "a negative time": ("run.json", edit_json(lambda r: r["sessions"][0].update(wall_time_s=-1))),
    "a time that is no number": ("run.json", lambda b: b.replace(b'"wall_time_s": ', b'"wall_time_s": NaN, "x": ')),
    "another start": ("topology.pdb", lambda b: b.replace(b" 0.000 ", b" 0.001 ")),
    "empty topology": ("topology.pdb", put(b"")),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_complex: Complex) -> dict[str, bytes]:
    """The files of a run."""
    folder = tmp_path_factory.mktemp("finished")
    simulate(tiny_complex, make_double(tiny_complex, amplitude=0.3, friction=0.5), folder, n_snapshots=N_DONE)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def run(finished: dict[str, bytes], tmp_path: Path) -> RunFiles:
    """A copy of that run."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name, content in finished.items():
        (folder / name).write_bytes(content)
    return RunFiles(folder)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_seen_and_nothing_is_changed(
    damage: str, run: RunFiles, tiny_complex: Complex, model: ModelDouble
) -> None:
    name, change = DAMAGES[damage]
    path = run.folder / name
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert path.read_bytes() != before
    unchanged = read_folder(run.folder)
    with pytest.raises(InputError, match=r"damaged|changed since|was made with|cannot be read") as caught:
        simulate(tiny_complex, model, run.folder, n_snapshots=N_DONE + 2, resume=True)
    assert name in str(caught.value) or "was made with" in str(caught.value)
    assert read_folder(run.folder) == unchanged


@pytest.mark.parametrize("name", ["trajectory.dcd", "log.csv", "checkpoint", "run.json"])
@pytest.mark.parametrize("instead", ["nothing", "a folder", "a dangling link"])
def test_a_file_is_not_there(name: str, instead: str, run: RunFiles, tiny_complex: Complex, model: ModelDouble) -> None:
    path = run.folder / name
    path.unlink()
    if instead == "a folder":
        path.mkdir()
    elif instead == "a dangling link":
        path.symlink_to("nowhere")
    unchanged = read_folder(run.folder)
    with pytest.raises(InputError, match=name):
        simulate(tiny_complex, model, run.folder, n_snapshots=N_DONE + 2, resume=True)
    assert read_folder(run.folder) == unchanged


def test_a_missing_topology_is_written_again(run: RunFiles, tiny_complex: Complex, model: ModelDouble) -> None:
    before = run.topology.read_text()
    run.topology.unlink()
    simulate(tiny_complex, model, run.folder, n_snapshots=N_DONE, resume=True)
    assert run.topology.read_text() == before


def test_an_edited_checkpoint_is_seen(run: RunFiles, tiny_complex: Complex, model: ModelDouble) -> None:
    with np.load(run.checkpoint) as data:
        content = dict(data)
    content["positions"] = content["positions"] + 0.01
    with run.checkpoint.open("wb") as file:
        np.savez(file, **content)
    with pytest.raises(InputError, match="not as it was written"):
        simulate(tiny_complex, model, run.folder, n_snapshots=N_DONE, resume=True)


def test_a_checkpoint_of_an_earlier_version(run: RunFiles, tiny_complex: Complex, model: ModelDouble) -> None:
    with np.load(run.checkpoint) as data:
        content = {name: values for name, values in data.items() if not name.endswith("digest")}
    with run.checkpoint.open("wb") as file:
        np.savez(file, **content)
    with pytest.raises(InputError, match="of an earlier openmm_neuralmd"):
        simulate(tiny_complex, model, run.folder, n_snapshots=N_DONE, resume=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("positions", np.zeros(3)),
        ("positions", np.full((7, 3), np.nan)),
        ("velocities", np.zeros((7, 3), dtype=np.complex128)),
        ("vibration", np.array("text")),
        ("snapshot", -1),
        ("snapshot", 2.5),
        ("snapshot", np.zeros(2, dtype=np.int64)),
        ("step", "6"),
        ("row", 5),
        ("trajectory_digest", "another"),
    ],
)
def test_odd_checkpoints(name: str, value: object, run: RunFiles, tiny_complex: Complex, model: ModelDouble) -> None:
    """With a digest of their own, as no run would write them."""
    state = vars(read_checkpoint(run.checkpoint, tiny_complex.ligand.n_atoms))
    write_state(run.checkpoint, {**state, name: value})
    with pytest.raises(InputError, match=r"checkpoint|trajectory\.dcd: damaged"):
        simulate(tiny_complex, model, run.folder, n_snapshots=N_DONE, resume=True)


def test_fewer_snapshots_than_there_are(run: RunFiles, tiny_complex: Complex, model: ModelDouble) -> None:
    unchanged = read_folder(run.folder)
    with pytest.raises(InputError, match=f"n_snapshots is 3, the run in .* has {N_DONE} already"):
        simulate(tiny_complex, model, run.folder, n_snapshots=3, resume=True)
    assert read_folder(run.folder) == unchanged


def test_other_versions_are_told_and_kept(
    run: RunFiles, tiny_complex: Complex, model: ModelDouble, caplog: pytest.LogCaptureFixture
) -> None:
    record = json.loads(run.record.read_text())
    now = dict(record["versions"])
    earlier = {**now, "torch": "2.9.1", "openmm": "8.6.0"}
    record["sessions"][-1]["versions"] = record["versions"] = earlier
    run.record.write_text(json.dumps(record))
    with caplog.at_level(logging.WARNING):
        simulate(tiny_complex, model, run.folder, n_snapshots=N_DONE + 1, resume=True)
    assert "was made with openmm 8.6.0 (now" in caplog.text
    assert "torch 2.9.1 (now" in caplog.text
    sessions = json.loads(run.record.read_text())["sessions"]
    assert [s["versions"] for s in sessions] == [earlier, now]
    caplog.clear()
    simulate(tiny_complex, model, run.folder, n_snapshots=N_DONE + 2, resume=True)
    assert caplog.text == ""


def test_frame_and_row_are_on_the_disk_before_the_checkpoint_says_so(
    tiny_complex: Complex, model: ModelDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    replace = os.replace

    def note_sync(number: int) -> None:
        order.append("sync " + os.path.basename(os.readlink(f"/proc/self/fd/{number}")).split("-")[0])

    def note_replace(source: Path, target: Path) -> None:
        order.append(f"replace {Path(target).name}")
        replace(source, target)

    simulate(tiny_complex, model, tmp_path, n_snapshots=1)
    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    simulate(tiny_complex, model, tmp_path, n_snapshots=2, resume=True)
    last = order.index("replace checkpoint")
    assert order[last - 3 : last] == ["sync trajectory.dcd", "sync log.csv", "sync .tmp"]


class TestTwoProcesses:
    @pytest.mark.parametrize("how", [{"resume": True}, {"overwrite": True}, {}])
    def test_the_second_is_told(self, how: dict, run: RunFiles, tiny_complex: Complex, model: ModelDouble) -> None:
        with own_folder(run.folder):  # as a run does
            unchanged = read_folder(run.folder)
            with pytest.raises(InputError, match="another process is writing there"):
                simulate(tiny_complex, model, run.folder, n_snapshots=N_DONE + 1, **how)
            assert read_folder(run.folder) == unchanged

    def test_a_run_owns_its_folder(self, tiny_complex: Complex, model: ModelDouble, tmp_path: Path) -> None:
        def meddle(done: int, _: float) -> None:
            with pytest.raises(InputError, match="another process"):
                simulate(tiny_complex, model, tmp_path / "run", n_snapshots=3, overwrite=True)

        simulate(tiny_complex, model, tmp_path / "run", n_snapshots=2, progress=meddle)
        assert {p.name for p in (tmp_path / "run").iterdir()} == {
            p.name for p in RunFiles(tmp_path / "run").list_existing()
        }


class TestReplacing:
    def test_a_model_that_breaks_at_once_leaves_the_old_run(
        self, run: RunFiles, tiny_complex: Complex, model: ModelDouble
    ) -> None:
        model.centre = model.centre * np.nan
        unchanged = read_folder(run.folder)
        with pytest.raises(NonFiniteStateError):
            simulate(tiny_complex, model, run.folder, n_snapshots=3, overwrite=True)
        assert read_folder(run.folder) == unchanged
        assert sorted(p.name for p in run.folder.iterdir()) == sorted(p.name for p in run.list_existing())

    @pytest.mark.parametrize("error", [KeyboardInterrupt, Terminated(signal.SIGTERM), InputError("mine")])
    def test_an_interruption_before_the_first_snapshot_too(
        self, error: BaseException, run: RunFiles, tiny_complex: Complex, model: ModelDouble
    ) -> None:
        def stop(done: int, _: float) -> None:
            assert done == 0
            raise error

        unchanged = read_folder(run.folder)
        with pytest.raises(type(error) if isinstance(error, BaseException) else error):
            simulate(tiny_complex, model, run.folder, n_snapshots=3, overwrite=True, progress=stop)
        assert read_folder(run.folder) == unchanged

    def test_after_it_the_old_run_is_gone_with_its_copies(
        self, run: RunFiles, tiny_complex: Complex, model: ModelDouble, tmp_path: Path
    ) -> None:
        run.get_copy("xtc").write_bytes(b"of the old run")
        (run.folder / "mine.txt").write_text("mine")

        def stop(done: int, _: float) -> None:
            if done == 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            simulate(tiny_complex, model, run.folder, n_snapshots=3, seed=5, overwrite=True, progress=stop)
        assert not run.get_copy("xtc").exists()
        assert (run.folder / "mine.txt").read_text() == "mine"
        assert json.loads(run.record.read_text())["n_snapshots_done"] == 1
        simulate(tiny_complex, model, run.folder, n_snapshots=3, seed=5, resume=True)
        whole = simulate(tiny_complex, model, tmp_path / "whole", n_snapshots=3, seed=5)
        assert run.trajectory.read_bytes() == whole.trajectory.read_bytes()
        assert run.log.read_bytes() == whole.log.read_bytes()


@pytest.mark.usefixtures("usual_handlers")
def test_the_record_says_that_sigterm_ended_it(tiny_complex: Complex, model: ModelDouble, tmp_path: Path) -> None:
    report = lambda done, _: os.kill(os.getpid(), signal.SIGTERM) if done == 2 else None  # noqa: E731
    with pytest.raises(Terminated):
        simulate(tiny_complex, model, tmp_path, n_snapshots=50, progress=report)
    record = json.loads(RunFiles(tmp_path).record.read_text())
    assert record["status"] == "interrupted by SIGTERM"
    assert record["n_snapshots_done"] == 2
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(
    small_disk: Path, tiny_complex: Complex, model: ModelDouble, tmp_path: Path
) -> None:
    ballast, folder = small_disk / "ballast", small_disk / "run"
    ballast.write_bytes(bytes(950_000))
    with pytest.raises(StorageError, match=rf"^{folder}/[a-z.]+: cannot be written .*: the disk is full"):
        simulate(tiny_complex, model, folder, n_snapshots=400)
    assert RunFiles(folder).checkpoint.is_file()
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]
    ballast.unlink()
    done = read_checkpoint(RunFiles(folder).checkpoint, tiny_complex.ligand.n_atoms).snapshot
    resumed = simulate(tiny_complex, model, folder, n_snapshots=done + 3, resume=True)
    whole = simulate(tiny_complex, model, tmp_path / "whole", n_snapshots=done + 3)
    assert resumed.trajectory.read_bytes() == whole.trajectory.read_bytes()
    assert resumed.log.read_bytes() == whole.log.read_bytes()


def test_a_disk_that_is_full_from_the_start(small_disk: Path, tiny_complex: Complex, model: ModelDouble) -> None:
    with (small_disk / "ballast").open("wb", buffering=0) as file:
        file.write(bytes(2**20))
    with pytest.raises(StorageError, match="the disk is full"):
        simulate(tiny_complex, model, small_disk / "a" / "run", n_snapshots=2)
