"""The progress bar that all commands show."""

import pytest

from openmm_neuralmd.cli.progress import ProgressBar


def test_it_appears_with_the_first_report_below_notes(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar("snapshot", is_quiet=False, notes=["read with care"])
    assert capsys.readouterr().err == ""
    bar.show(2, 4, text="0.16 ns")
    bar.show(4, 4)
    bar.close()
    shown = capsys.readouterr().err
    assert shown.startswith("note: read with care\n")
    assert "4/4" in shown
    assert "0.16 ns" in shown


def test_quiet_shows_notes_alone(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar("snapshot", is_quiet=True, notes=["read with care"])
    bar.show(1, 1)
    bar.close()
    assert capsys.readouterr().err == "note: read with care\n"


def test_a_passing_bar_is_for_terminals(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar("complex", is_quiet=False, is_passing=True)
    bar.show(1, 2)
    bar.close()
    assert capsys.readouterr().err == ""


def test_it_begins_again_with_the_next_series(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar("snapshot", is_quiet=False)
    for title in ("energies of r1", "energies of r2"):
        for done in range(1, 4):
            bar.show(done, 3, title=title)
    bar.close()
    shown = capsys.readouterr().err
    assert "energies of r1" in shown
    assert "energies of r2" in shown
    assert shown.count("3/3") >= 2


def test_times_have_their_phase(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar("ps", is_quiet=False)
    bar.show(0.0, 0.04, title="heating")
    bar.show(0.04, 0.04, title="production")
    bar.close()
    assert "production" in capsys.readouterr().err
