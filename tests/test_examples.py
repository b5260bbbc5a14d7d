"""The examples run as a user would run them, shortened."""

import subprocess
import sys
from pathlib import Path

import mdtraj

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def test_4g3e(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    command = [sys.executable, str(EXAMPLES / "4g3e.py"), "--out", str(out), "--snapshots", "4"]
    for _ in range(2):  # again over its own result, as make demo does
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "ligand RMSD to the start" in done.stdout
    assert f"vmd {out / 'topology.pdb'} {out / 'trajectory.dcd'}" in done.stdout
    assert (out / "overview.png").stat().st_size > 20_000
    assert "<html" in (out / "comparison" / "report.html").read_text()
    trajectory = mdtraj.load(str(out / "trajectory.dcd"), top=str(out / "topology.pdb"))
    assert (trajectory.n_frames, trajectory.n_atoms) == (4, 5166)
