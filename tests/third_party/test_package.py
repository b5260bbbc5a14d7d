"""A kind that another package brings is trained, shown and judged like any other, without a line changed here."""

import csv
import json
from pathlib import Path

import pytest

from tests.third_party.commands import TRAIN, list_data
from tests.third_party.conftest import Run

SUITE = """
from openmm_neuralmd.molecule.complex import load_bundled_complex
from openmm_neuralmd.testing.contract import CHECKS, build_case

case = build_case("walk", load_bundled_complex())
for check in CHECKS:
    check(case)
print(len(CHECKS), "checks passed")
"""


def test_it_is_trained(trained: Path) -> None:
    with (trained.with_suffix(".training") / "metrics.csv").open() as file:
        losses = [float(row["training_loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < losses[0]


def test_its_file_is_read(trained: Path, run_python: Run, tmp_path: Path) -> None:
    done = run_python("-m", "openmm_neuralmd.cli", "info", trained, "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    metadata = json.loads(done.stdout)
    assert metadata["kind"] == "walk"
    assert metadata["config"] == {"n_radial": 6, "pocket_cutoff": 10.0}


def test_it_is_judged(trained: Path, run_python: Run, tmp_path: Path) -> None:
    words = ["-m", "openmm_neuralmd.cli", "evaluate", trained, "--trajectory", TRAIN[3], *list_data()]
    done = run_python(*words, "--seeds", "0", "--samples", 2, "--out", "judged", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "judged" / "metrics.json").read_text())["rows"]
    assert rows[0]["label"] == "Random walk"
    assert rows[0]["paper MAE [A]"] > 0.0


def test_it_keeps_the_contract(run_python: Run, tmp_path: Path) -> None:
    done = run_python("-c", SUITE, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "checks passed" in done.stdout


def test_options_that_it_does_not_know_are_refused(run_python: Run, tmp_path: Path) -> None:
    for option in (["--hidden", 8], ["--displacement", 2]):
        done = run_python(*TRAIN, *option, "--out", "m.pt", folder=tmp_path)
        assert done.returncode == 2
        assert f"{option[0]}: no effect with --kind walk" in done.stderr


def test_without_the_package_its_files_are_refused(trained: Path) -> None:
    from openmm_neuralmd.errors import ModelContractError
    from openmm_neuralmd.models.export import load_model

    with pytest.raises(ModelContractError, match="entry kind is the text 'walk'; expected one of"):
        load_model(trained)


def test_broken_package_is_named(site: Path, run_python: Run, tmp_path: Path) -> None:
    """A module that cannot be imported stands before the good one."""
    (tmp_path / "neuralmd_walk.py").write_text("import a_module_that_is_not_there\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from openmm_neuralmd.cli import main; sys.exit(main())"
    done = run_python("-c", code, *TRAIN[2:], "--out", "m.pt", folder=tmp_path)
    assert done.returncode == 2
    assert "package neuralmd-walk cannot be imported (No module named 'a_module_that_is_not_there')" in done.stderr
    done = run_python("-c", code, "info", "sde", folder=tmp_path)
    assert done.returncode == 0, done.stderr
