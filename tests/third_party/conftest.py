"""A package of somebody else, installed into a folder of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.third_party.commands import TRAIN

Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that pip installs ``package`` into."""
    folder = tmp_path_factory.mktemp("third party")
    source = shutil.copytree(Path(__file__).parent / "package", folder / "package")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*command, "--target", str(folder / "site"), str(source)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"pip cannot install a package here: {done.stderr.strip().splitlines()[-1:]}")
    return folder / "site"


@pytest.fixture(scope="session")
def run_python(site: Path) -> Run:
    """Runs Python where the package is installed; what it prints is in the result."""

    def run(*arguments: object, folder: Path) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(site)]), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, timeout=300, check=False
        )

    return run


@pytest.fixture(scope="session")
def trained(run_python: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of the package's kind, from `neuralmd train` on the bundled MD."""
    folder = tmp_path_factory.mktemp("trained")
    fast = ["--radial", 6, "--iterations", 150, "--batch-size", 8, "--learning-rate", 0.005, "--quiet", "--threads", 1]
    done = run_python(*TRAIN, *fast, "--out", folder / "walk.pt", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "walk.pt"
