"""The table and the picture of a run."""

import math
from pathlib import Path

import pytest

from openmm_neuralmd.analysis.plots import write_overview
from openmm_neuralmd.analysis.summary import summarize_run, tabulate_run


def test_a_run_that_is_replica_r2(bundled_run: Path) -> None:
    table = tabulate_run(bundled_run, superpose_on="all")  # as its ligand was placed
    assert table.columns == ("run", "r1", "r2", "frozen", "mean")
    for name, (run, r1, r2, frozen, mean) in table.rows.items():
        assert not math.isnan(run), name
        if "distance to r1" in name:
            assert (r1, r2) == (0.0, 1.0)
            assert run == pytest.approx(1.0, abs=0.02)
            assert frozen > 3
        elif "RMSF" in name:
            assert run == pytest.approx(r2, rel=0.01)
            assert frozen == mean == 0.0
        elif "chirality" in name:
            assert run == r1 == r2 == frozen == 0.0
    assert table.rows["protein clashes per frame"][1] == 0.0


def test_text_says_where_numbers_come_from(bundled_run: Path) -> None:
    text = summarize_run(bundled_run)
    assert "superposed on the CA atoms of the pocket" in text
    assert "36 frames, 80 ps apart (2.88 ns)" in text
    assert "mean of the first 80 % of r1" in text
    assert "RMSF, mean over atoms [Å]" in text
    widths = {len(line) for line in text.splitlines()[:9]}
    assert len(widths) == 1  # aligned


def test_picture(bundled_run: Path, tmp_path: Path) -> None:
    assert write_overview(bundled_run, tmp_path / "overview.png").stat().st_size > 20_000
