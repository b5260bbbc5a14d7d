"""The examples run as a user would run them, shortened."""

import subprocess
import sys
from pathlib import Path

import mdtraj
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def run_4g3e(out: Path, *options: str, status: int = 0) -> str:
    command = [sys.executable, str(EXAMPLES / "4g3e.py"), "--out", str(out), "--snapshots", "4", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def test_4g3e(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    printed = run_4g3e(out)
    assert "ligand RMSD to the start" in printed
    assert f"vmd {out / 'topology.pdb'} {out / 'trajectory.dcd'}" in printed
    assert (out / "overview.png").stat().st_size > 20_000
    assert "<html" in (out / "comparison" / "report.html").read_text()
    trajectory = mdtraj.load(str(out / "trajectory.dcd"), top=str(out / "topology.pdb"))
    assert (trajectory.n_frames, trajectory.n_atoms) == (4, 5166)


@pytest.mark.slow
def test_4g3e_over_its_own_result(tmp_path: Path) -> None:
    first = run_4g3e(tmp_path)
    assert "--force" in run_4g3e(tmp_path, status=2) or "overwrite" in run_4g3e(tmp_path, status=2)
    assert run_4g3e(tmp_path, "--force") == first  # same seed, same numbers, as make demo does again
