"""Wrong input to the command line: ``scripts/check_inputs.py`` finds no wrong answer, and would find one."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts import check_inputs
from scripts.check_inputs import Answer, call, compare_snapshots, find_faults, list_cases, take_snapshot
from tests.helpers import ROOT

RIGHT = Answer(2, "", "neuralmd: error: --threads 0: give 1 or more\n")


def test_there_are_calls_for_every_command() -> None:
    cases = list_cases()
    assert len(cases) >= 440
    assert len(set(cases)) == len(cases)
    for command in ("prepare", "simulate", "reference", "train", "compare", "evaluate", "info", "benchmark"):
        assert sum(case.words[:1] == (command,) for case in cases) >= 20


def test_a_right_answer() -> None:
    assert find_faults(RIGHT, "--threads") == []


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (RIGHT._replace(status=0), "status 0"),
        (RIGHT._replace(status="ValueError: x"), "status ValueError"),
        (RIGHT._replace(out="loaded\n"), "stdout"),
        (RIGHT._replace(err=""), "0 lines"),
        (RIGHT._replace(err="note: x\n" + RIGHT.err), "does not begin with neuralmd"),
        (RIGHT._replace(err=RIGHT.err + "more\n"), "2 lines"),
        (RIGHT._replace(err=RIGHT.err.replace("threads", "thread")), "is not named"),
        (RIGHT._replace(err=RIGHT.err.replace("give", "() give")), "empty reason"),
        (RIGHT._replace(err="neuralmd: error: --threads:\n"), "empty reason"),
        (RIGHT._replace(err="neuralmd: error: --threads <NULL>\n"), "words of a library"),
        (RIGHT._replace(err="neuralmd: error: --threads (KeyError('a'))\n"), "words of a library"),
        (RIGHT._replace(changes=("made out",)), "made out"),
    ],
)
def test_a_wrong_answer_is_found(answer: Answer, fault: str) -> None:
    assert any(fault in found for found in find_faults(answer, "--threads"))


def test_changes_are_found(tmp_path: Path) -> None:
    for name in ("same", "changed", "gone"):
        (tmp_path / name).write_text("text")
    before = take_snapshot(tmp_path)
    (tmp_path / "changed").write_text("tent")
    (tmp_path / "gone").unlink()
    (tmp_path / "folder").mkdir()
    found = compare_snapshots(before, take_snapshot(tmp_path))
    assert found == (f"made {tmp_path}/folder", f"removed {tmp_path}/gone", f"changed {tmp_path}/changed")
    assert compare_snapshots(before, before) == ()


def test_streams_of_c_and_exceptions_are_caught(capfd: pytest.CaptureFixture[str]) -> None:
    def answer(_: list[str]) -> int:
        os.write(1, b"from C")
        raise ValueError("broken")

    assert call(answer, []) == Answer("ValueError: broken", "from C", "")
    assert capfd.readouterr() == ("", "")


def test_a_call_that_hangs_is_found_even_if_it_hides_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(_: list[str]) -> int:
        try:
            time.sleep(20)
        except OSError:
            return 2
        return 0

    monkeypatch.setattr(check_inputs, "LONGEST_S", 1)
    assert call(answer, []).status == "hangs"


@pytest.mark.slow
def test_every_wrong_call_gets_its_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "check_inputs.py", "--work", tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 wrong of " in done.stdout
