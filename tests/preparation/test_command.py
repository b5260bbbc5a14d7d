"""``neuralmd prepare``, and ``neuralmd simulate`` on what it wrote, without further options."""

import json
from collections.abc import Callable
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from openmm_neuralmd.cli import main
from openmm_neuralmd.molecule.complex import is_prepared
from tests.preparation.conftest import SMILES


@pytest.fixture
def words(write_entry: Callable[..., Path], tmp_path: Path) -> list[str]:
    path = write_entry()
    return ["prepare", str(path), "--ligand", "0WC", "--smiles", SMILES, "--out", str(tmp_path / "out")]


def test_prepared_folder_runs(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    printed = capsys.readouterr().out
    for part in ("C19H16ClN5OS", "; 1 water removed", "kept rigid, without force on the ligand: ZN:B:902"):
        assert part in printed
    run = tmp_path / "run"
    assert main(["simulate", str(tmp_path / "out"), "--snapshots", "3", "--quiet", "--out", str(run)]) == 0
    frames = mdtraj.load(str(run / "trajectory.dcd"), top=str(run / "topology.pdb"))
    assert frames.n_frames == 3
    assert np.isfinite(frames.xyz).all()
    record = json.loads((run / "run.json").read_text())
    assert record["applicability"]["ligand_similarity"] == 1.0
    assert record["applicability"]["is_seen"]  # twelve residues of the training protein


def test_json(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ligand_selection"] == "0WC:B:702"


def test_another_file_in_the_folder_is_not_what_was_prepared(words: list[str], tmp_path: Path) -> None:
    assert main(words) == 0
    out = tmp_path / "out"
    assert is_prepared(out)
    assert is_prepared(out / "complex.pdb")
    (out / "pose.pdb").write_text((out / "complex.pdb").read_text())
    assert not is_prepared(out / "pose.pdb")


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--ligand", "HOH", "rename the ligand"),
        ("--smiles", "CCO", "C2 O1 (C2H6O)"),
        ("--max-gap", "-1", "0 or more"),
        ("--out", __file__, "is a file; give a directory"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], capsys: pytest.CaptureFixture[str], option: str, value: str, expected: str
) -> None:
    assert main([*words, option, value]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    assert expected in captured.err
