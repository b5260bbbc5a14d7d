"""Every kind of model runs in a Context through ``simulate``, and goes on after an interruption to the byte."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from openmm_neuralmd.models.export import Model, export_model, load_model
from openmm_neuralmd.models.registry import build_network, list_kinds
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.simulation.replicas import run_replicas
from openmm_neuralmd.simulation.run import simulate
from tests.helpers import SINGLE_PRECISION_A

CONFIG = {"hidden": 8, "n_layers": 1, "n_radial": 8, "ligand_cutoff": 5.0, "pocket_cutoff": 10.0}


@pytest.fixture(params=list_kinds())
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Model:
    torch.manual_seed(0)
    metadata = {"kind": request.param, "config": CONFIG, "snapshot_interval": 80.0, "elements": [1, 6, 7, 8, 9, 16, 17],
                "scheme": "leapfrog", "steps_per_snapshot": 1}  # fmt: skip
    export_model(build_network(request.param, CONFIG), metadata, tmp_path / "model.pt")
    return load_model(tmp_path / "model.pt")


def test_any_kind_runs_and_resumes_to_the_byte(model: Model, tiny_complex: Complex, tmp_path: Path) -> None:
    options = {"seed": 7, "platform": "Reference"}
    whole = simulate(tiny_complex, model, tmp_path / "whole", n_snapshots=6, **options)
    simulate(tiny_complex, model, tmp_path / "parts", n_snapshots=4, **options)
    parts = simulate(tiny_complex, model, tmp_path / "parts", n_snapshots=6, resume=True, **options)
    assert parts.trajectory.read_bytes() == whole.trajectory.read_bytes()
    assert parts.log.read_bytes() == whole.log.read_bytes()
    assert json.loads(whole.record.read_text())["model_metadata"]["kind"] == model.kind


def test_run_is_the_path_of_replicas(model: Model, tiny_complex: Complex, tmp_path: Path) -> None:
    import mdtraj

    files = simulate(tiny_complex, model, tmp_path / "run", n_snapshots=3, seed=7, platform="Reference")
    found = mdtraj.load_dcd(str(files.trajectory), top=str(files.topology)).xyz[:, tiny_complex.ligand.atom_indices]
    expected = run_replicas(tiny_complex, model, n_snapshots=3, seeds=[7])[:, 0]
    np.testing.assert_allclose(found, expected, atol=SINGLE_PRECISION_A / 10.0)
