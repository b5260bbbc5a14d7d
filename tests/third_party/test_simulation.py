"""A kind that another package brings runs in OpenMM: `neuralmd simulate`, interrupted and resumed to the byte."""

import json
from pathlib import Path

from tests.third_party.conftest import Run


def test_it_is_simulated_and_resumed(trained: Path, run_python: Run, tmp_path: Path) -> None:
    def simulate(out: str, *options: object) -> None:
        words = ["-m", "openmm_neuralmd.cli", "simulate", "--model", trained, "--seed", 5, "--out", out, "--quiet"]
        done = run_python(*words, *options, folder=tmp_path)
        assert done.returncode == 0, done.stderr

    simulate("whole", "--snapshots", 6)
    simulate("parts", "--snapshots", 4)
    simulate("parts", "--snapshots", 6, "--resume")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for name in ("trajectory.dcd", "log.csv", "topology.pdb"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes()
    record = json.loads((parts / "run.json").read_text())
    assert record["model_metadata"]["kind"] == "walk"
    assert record["applicability"]["ligand_similarity"] == 1.0
