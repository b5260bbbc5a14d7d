"""``neuralmd reference`` as its user meets it: what it refuses, in one line and with nothing left behind."""

import json
import shutil
from pathlib import Path

import pytest

from openmm_neuralmd.analysis.bundled import get_bundled_path
from openmm_neuralmd.cli import main

SHORT = "--solvent none --time 0.04 --interval 0.02 --equilibration 0.1 --threads 1 --quiet".split()


@pytest.fixture
def words(pocket: Path, parameters: Path) -> list[str]:
    return ["reference", str(pocket), "--ligand", "0WC", "--ligand-parameters", str(parameters), *SHORT]


def test_a_short_run(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    assert main([*words, "--out", out]) == 0
    printed = capsys.readouterr().out
    assert "2 frames, 0.02 ps apart, of 291 atoms" in printed
    assert "in vacuum: good for tests" in printed
    assert f"neuralmd compare RUN --reference {out}" in printed
    assert main([*words, "--out", out]) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert main(["reference", "--resume", "--time", "0.06", "--quiet", "--json", "--out", out]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["n_snapshots_done"] == 3
    assert record["settings"]["time_ps"] == 0.06
    assert main([*words, "--force", "--out", out]) == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["n_snapshots_done"] == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--time", "-5"], "--time -5: give a number above 0"),
        (["--time", "0.05"], "whole number of intervals"),
        (["--threads", "0"], "--threads 0"),
        (["--platform", "Abacus"], "no OpenMM platform 'Abacus'"),
        (["--padding", "-1"], "--padding -1"),
        (["--resume", "--force"], "exclude each other"),
        (["--resume"], "holds no run to resume"),
        (["--top", "x.pdb"], "--system and --top belong together"),
        (["--system", "x.xml", "--top", "x.pdb"], "--system is complete"),
        (["--ligand", "XYZ"], "ligand 'XYZ' not found"),
        (["--sdf", "none.sdf"], "none.sdf"),
        (["--pressure", "1"], "--pressure 1: --solvent none has no box"),
        (["--engine", "gromacs", "--platform", "CPU"], "--platform: no effect with --engine gromacs"),
        (["--temperature", "1e30"], "--temperature 1e+30: give a number above 0"),
        (["--timestep", "1e-320"], "give a number above 0"),
        (["--threads", "100000"], "--threads 100000: give 1 or more, at most"),
    ],
)
def test_what_cannot_be_run(
    words: list[str], more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, *more, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_an_sdf_of_several_molecules_is_noted(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = tmp_path / "two.sdf"
    two.write_text(2 * get_bundled_path("ligand.sdf").read_text())
    assert main([*words, "--sdf", str(two), "--out", str(tmp_path / "run")]) == 0
    assert "note: two.sdf: molecule 1 of 2 used" in capsys.readouterr().err


def test_missing_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "run")]
    assert main(["reference", "none.pdb", "--ligand", "LIG", *out]) == 2
    assert "none.pdb: no such file" in capsys.readouterr().err
    assert main(["reference", "--system", "none.xml", "--top", "none.pdb", *out]) == 2
    assert "none.xml: no such file" in capsys.readouterr().err


def test_other_settings_when_resuming(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "run")]
    assert main([*words, *out]) == 0
    for more, message in (
        (["--seed", "3"], "made with seed 0, now it is 3"),
        (["--timestep", "2"], "made with timestep_ps 0.004, now it is 0.002"),
        (["--time", "0.02"], "is 0.04 ps long already"),
        (["--time", "0.05"], "whole number of intervals"),
        (["--solvent", "tip3p"], "leave out the complex"),
        (["--ligand", "0WC"], "leave out the complex and what it is made with (--ligand)"),
        (["--engine", "gromacs"], "made with --engine openmm"),
    ):
        assert main(["reference", "--resume", *more, *out]) == 2
        assert message in capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "finished"


def test_without_gromacs(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("parmed", reason="pip install 'openmm_neuralmd[gromacs]'")
    monkeypatch.setenv("PATH", str(tmp_path))
    for more in (["--engine", "gromacs"], ["--check-energies"]):
        assert main([*words, *more, "--out", str(tmp_path / "run")]) == 2
        assert "gmx is not on PATH: install GROMACS" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(shutil.which("gmx") is None, reason="GROMACS is not installed")
def test_what_gromacs_cannot_hold_is_said_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """4G3E in vacuum."""
    pytest.importorskip("parmed", reason="pip install 'openmm_neuralmd[gromacs]'")
    run = tmp_path / "run"
    assert main(["reference", "--engine", "gromacs", "--solvent", "none", "--quiet", "--out", str(run)]) == 2
    assert "too large for a GROMACS run in vacuum" in capsys.readouterr().err
    assert not run.exists()
