"""Every command, interrupted at random moments and on disks that are too small: nothing is lost."""

import os
import subprocess
import sys

import pytest

from tests.helpers import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("command", ["simulate", "train", "reference", "prepare"])
def test_nothing_is_lost(command: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Once in each way here; ``--times 20`` by hand."""
    script = [sys.executable, str(ROOT / "scripts" / "interrupt_commands.py"), "--times", "1", "--commands", command]
    script += ["--folder", str(tmp_path_factory.mktemp(command))]
    done = subprocess.run(
        script, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("all right\n")
