"""What befalls the directory of a reference run: damage, other processes, replacement, full disks, signals."""

import json
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from openmm_neuralmd.cli import main
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.folders import own_folder
from openmm_neuralmd.io.checkpoint import write_state
from openmm_neuralmd.reference import openmm_engine
from openmm_neuralmd.reference.directory import ReferenceFiles
from openmm_neuralmd.reference.openmm_engine import read_reference_state
from tests.helpers import edit_json, read_folder

SHORT = "--solvent none --time 0.06 --interval 0.02 --equilibration 0.1 --threads 1 --quiet".split()
Words = list[str]


@pytest.fixture
def words(pocket: Path, parameters: Path) -> Words:
    return ["reference", str(pocket), "--ligand", "0WC", "--ligand-parameters", str(parameters), *SHORT]


@pytest.fixture(scope="module")
def finished(pocket: Path, parameters: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a run."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    new = ["reference", str(pocket), "--ligand", "0WC", "--ligand-parameters", str(parameters), *SHORT]
    assert main([*new, "--out", str(folder)]) == 0
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def files(finished: dict[str, bytes], tmp_path: Path) -> ReferenceFiles:
    """A copy of that run."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name, content in finished.items():
        (folder / name).write_bytes(content)
    return ReferenceFiles(folder)


def resume(files: ReferenceFiles, *more: str, time: float = 0.1) -> int:
    return main(["reference", "--resume", "--time", f"{time:g}", "--quiet", *more, "--out", str(files.folder)])


DAMAGES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "zeros in the trajectory": ("trajectory.dcd", lambda b: b[:1000] + bytes(50) + b[1050:]),
    "last frame cut": ("trajectory.dcd", lambda b: b[:-10]),
    "another header": ("trajectory.dcd", lambda b: b[:44] + b"\1\2\3\4" + b[48:]),
    "row twice": ("log.csv", lambda b: b.replace(b"\n0.04", b"\n0.02,1\n0.04")),
    "number changed": ("log.csv", lambda b: b.replace(b"0.0400,", b"0.0400,9")),
    "rows missing": ("log.csv", lambda b: b.splitlines(keepends=True)[0]),
    "checkpoint cut": ("checkpoint", lambda b: b[:-90]),
    "checkpoint changed": ("checkpoint", lambda b: b[:5000] + bytes([b[5000] ^ 1]) + b[5001:]),
    "system changed": ("system.xml.gz", lambda b: b + b"x"),
    "start changed": ("start.pdb.gz", lambda b: b[:-9]),
    "record cut": ("run.json", lambda b: b[:90]),
    "record is a list": ("run.json", lambda b: b"[" + b + b"]"),
    "ligand is a number": ("run.json", edit_json(lambda r: r.update(ligand=5))),
    "no engine": ("run.json", edit_json(lambda r: r.pop("engine"))),
    "settings are null": ("run.json", edit_json(lambda r: r.update(settings=None))),
    "time is a text": ("run.json", edit_json(lambda r: r["settings"].update(time_ps="long"))),
    "interval is zero": ("run.json", edit_json(lambda r: r["settings"].update(interval_ps=0))),
    "sessions are a text": ("run.json", edit_json(lambda r: r.update(sessions="two"))),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_seen_and_nothing_is_changed(
    damage: str, files: ReferenceFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    name, change = DAMAGES[damage]
    path = files.folder / name
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert path.read_bytes() != before
    unchanged = read_folder(files.folder)
    assert resume(files) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert name in error
    assert read_folder(files.folder) == unchanged


@pytest.mark.parametrize(
    "name", ["trajectory.dcd", "log.csv", "checkpoint", "run.json", "topology.pdb", "start.pdb.gz"]
)
def test_a_file_is_not_there(name: str, files: ReferenceFiles, capsys: pytest.CaptureFixture[str]) -> None:
    (files.folder / name).unlink()
    unchanged = read_folder(files.folder)
    assert resume(files) == 2
    assert name in capsys.readouterr().err
    assert read_folder(files.folder) == unchanged


@pytest.mark.parametrize(
    ("name", "value"), [("positions", np.zeros((2, 3))), ("box", np.full((3, 3), np.nan)), ("step", -3), ("step", "x")]
)
def test_odd_checkpoints(name: str, value: object, files: ReferenceFiles) -> None:
    with np.load(files.checkpoint) as data:
        n_atoms = len(data["positions"])
    state = vars(read_reference_state(files.checkpoint, n_atoms))
    write_state(files.checkpoint, {**state, name: value})
    with pytest.raises(InputError, match="checkpoint"):
        read_reference_state(files.checkpoint, n_atoms)


def test_a_run_that_is_longer_already(files: ReferenceFiles, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where it was killed, and its record does not say how long."""
    files.record.write_bytes(edit_json(lambda r: r.pop("n_snapshots_done"))(files.record.read_bytes()))
    unchanged = read_folder(files.folder)
    assert resume(files, time=0.02) == 2
    assert "is 0.06 ps long already" in capsys.readouterr().err
    assert read_folder(files.folder) == unchanged


def test_other_versions_are_told_and_kept(files: ReferenceFiles, caplog: pytest.LogCaptureFixture) -> None:
    def age(record: dict) -> None:
        record["sessions"][-1]["versions"]["openmm"] = record["versions"]["openmm"] = "8.6.0"

    files.record.write_bytes(edit_json(age)(files.record.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert resume(files) == 0
    assert "was made with openmm 8.6.0 (now" in caplog.text
    versions = [s["versions"]["openmm"] for s in json.loads(files.record.read_text())["sessions"]]
    assert versions[0] == "8.6.0"
    assert versions[1] != "8.6.0"


def test_one_process_at_a_time(files: ReferenceFiles, words: Words, capsys: pytest.CaptureFixture[str]) -> None:
    with own_folder(files.folder):
        unchanged = read_folder(files.folder)
        assert resume(files) == 2
        assert main([*words, "--force", "--out", str(files.folder)]) == 2
        assert read_folder(files.folder) == unchanged
    assert capsys.readouterr().err.count("another process is writing there") == 2


class TestReplacing:
    @pytest.mark.parametrize("error", [InputError("broken"), KeyboardInterrupt()])
    def test_the_old_run_stays_until_there_is_a_frame(
        self, error: BaseException, files: ReferenceFiles, words: Words, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise error

        unchanged = read_folder(files.folder)
        monkeypatch.setattr(openmm_engine._Run, "_write", fail)  # after minimisation and equilibration
        assert main([*words, "--force", "--seed", "4", "--out", str(files.folder)]) != 0
        assert read_folder(files.folder) == unchanged

    def test_then_it_goes(self, files: ReferenceFiles, words: Words) -> None:
        before = files.trajectory.read_bytes()
        files.energies.write_text("of the old run")
        assert main([*words, "--force", "--seed", "4", "--out", str(files.folder)]) == 0
        assert files.trajectory.read_bytes() != before
        assert not files.energies.exists()
        assert json.loads(files.record.read_text())["settings"]["seed"] == 4
        assert sorted(p.name for p in files.folder.iterdir()) == sorted(p.name for p in files.list_existing())
        assert resume(files) == 0


@pytest.mark.usefixtures("usual_handlers")
def test_sigterm(
    words: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = openmm_engine._Run._write

    def send_at_the_second(self: openmm_engine._Run, state: object, frame: int) -> None:
        if frame == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        write(self, state, frame)  # type: ignore[arg-type]

    monkeypatch.setattr(openmm_engine._Run, "_write", send_at_the_second)
    assert main([*words, "--out", str(tmp_path / "run")]) == 143
    assert "neuralmd: ended by SIGTERM; what was written is good" in capsys.readouterr().err
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "interrupted by SIGTERM"
    assert record["n_snapshots_done"] == 2
    assert resume(ReferenceFiles(tmp_path / "run"), time=0.06) == 0


def test_a_full_disk(small_disk: Path, words: Words, capsys: pytest.CaptureFixture[str]) -> None:
    with (small_disk / "ballast").open("wb", buffering=0) as file:
        file.write(bytes(2**20))
        file.truncate(2**20 - 2**17)
    words[words.index("--time") + 1] = "1.2"
    assert main([*words, "--out", str(small_disk / "run")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "the disk is full: make room" in error
    (small_disk / "ballast").unlink()
    assert resume(ReferenceFiles(small_disk / "run"), time=0.6) == 0
