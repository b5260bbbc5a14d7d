"""Fixtures that several test folders share."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from openmm import Platform

from openmm_neuralmd.models.export import export_model
from openmm_neuralmd.models.networks.bindingnet import BindingNet
from openmm_neuralmd.molecule.complex import Complex
from tests.helpers import make_complex

_NETWORK = {"hidden": 16, "n_layers": 1, "n_radial": 8, "ligand_cutoff": 5.0, "pocket_cutoff": 10.0}


@pytest.fixture(scope="session", autouse=True)
def never_wait_for_the_disk() -> Iterator[None]:
    """No test pulls the plug; that the disk is waited for is seen from the calls."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def tiny_complex() -> Complex:
    """A chiral ligand with hydrogens, a ring and a line of atoms, in a ring of glycines."""
    return make_complex()


@pytest.fixture(params=["Reference", "CPU"])
def platform(request: pytest.FixtureRequest) -> Platform:
    """Each OpenMM platform that computes in double precision."""
    return Platform.getPlatformByName(request.param)


@pytest.fixture(params=["Reference", "CPU", "OpenCL", "CUDA"])
def any_platform(request: pytest.FixtureRequest) -> Platform:
    """Each OpenMM platform of this machine, in double precision where it can be chosen; none is preferred."""
    names = [Platform.getPlatform(k).getName() for k in range(Platform.getNumPlatforms())]
    if request.param not in names:
        pytest.skip(f"OpenMM finds no {request.param} device here (OpenCL on the CPU: install pocl-opencl-icd)")
    chosen = Platform.getPlatformByName(request.param)
    if "Precision" in chosen.getPropertyNames():
        chosen.setPropertyDefaultValue("Precision", "double")
    return chosen


@pytest.fixture(scope="session")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model files of small untrained networks, by kind: "ode" and "sde"."""
    folder = tmp_path_factory.mktemp("models")
    for kind in ("ode", "sde"):
        config = {**_NETWORK, "stochastic": kind == "sde"}
        torch.manual_seed(0)
        metadata = {
            "kind": kind,
            "config": config,
            "snapshot_interval": 80.0,
            "elements": [1, 6, 7, 8, 9, 16, 17],
            "scheme": "leapfrog",
            "steps_per_snapshot": 1,
        }
        export_model(BindingNet(**config), metadata, folder / f"{kind}.pt")
    return {kind: folder / f"{kind}.pt" for kind in ("ode", "sde")}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The root of a file system with one megabyte, which only root can mount."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def usual_handlers() -> Iterator[None]:
    """Signals as of a program that was just started in a terminal; workers of pytest-xdist ignore SIGINT."""
    requests = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in requests}
    for number in requests:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
