"""Every kind of model runs in a Context and through ``simulate``, and goes on after an interruption to the byte."""

import json
from pathlib import Path

import mdtraj
import numpy as np
import openmm as mm
import pytest
import torch

from openmm_neuralmd.dynamics.propagator import propagate
from openmm_neuralmd.models.export import Model, export_model, load_model
from openmm_neuralmd.models.registry import build_network, list_kinds
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.simulation.force import NeuralMDForce
from openmm_neuralmd.simulation.integrators import NeuralMDIntegrator
from openmm_neuralmd.simulation.replicas import run_replicas
from openmm_neuralmd.simulation.rigid import build_rigid_system
from openmm_neuralmd.simulation.run import simulate
from tests.helpers import EXACT_A, SINGLE_PRECISION_A
from tests.simulation.test_snapshots import collect

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
    record = json.loads(whole.record.read_text())
    assert record["model_metadata"]["kind"] == record["kind"] == model.kind


def test_run_is_the_path_of_replicas(model: Model, tiny_complex: Complex, tmp_path: Path) -> None:
    files = simulate(tiny_complex, model, tmp_path / "run", n_snapshots=3, seed=7, platform="Reference")
    found = mdtraj.load_dcd(str(files.trajectory), top=str(files.topology)).xyz[:, tiny_complex.ligand.atom_indices]
    expected = run_replicas(tiny_complex, model, n_snapshots=3, seeds=[7])[:, 0]
    np.testing.assert_allclose(found, expected, atol=SINGLE_PRECISION_A / 10.0)


def test_path_is_that_of_the_propagator(model: Model, tiny_complex: Complex, platform: mm.Platform) -> None:
    """In double precision, in a System and in its copy by XML."""
    bound = model.bind(tiny_complex, dtype=torch.float64)
    force = NeuralMDForce(tiny_complex, bound, seed=5)
    system = build_rigid_system(tiny_complex)
    force.add_to(system)
    propagator = bound.make_propagator()
    start = 10 * torch.from_numpy(np.stack([tiny_complex.ligand.positions] * 2))[None]  # at rest
    with torch.no_grad():
        expected = propagate(propagator, propagator.start(start, [5]), 4)[0][:, 0].numpy() / 10
    for one in (system, mm.XmlSerializer.clone(system)):
        integrator = NeuralMDIntegrator(one)
        assert integrator.by_snapshots is not bound.is_force
        context = mm.Context(one, integrator, platform)
        context.setPositions(tiny_complex.positions)
        assert 10 * np.abs(collect(context, tiny_complex, 4) - expected).max() < EXACT_A
    assert 10 * np.abs(expected[-1] - tiny_complex.ligand.positions).max() > 1e-3


def test_bonds_are_brought_back_or_not(model: Model, tiny_complex: Complex, tmp_path: Path) -> None:
    """The log says how far bonds are off; a force's vibration, which comes with projection, moves them a little."""
    deviations = []
    for projection in (True, False):
        files = simulate(tiny_complex, model, tmp_path / str(projection), n_snapshots=3, projection=projection)
        deviations.append(np.loadtxt(files.log, delimiter=",", skiprows=1)[:, 3].max())
    if model.bind(tiny_complex).is_force:
        assert deviations[0] < 0.02
    else:
        assert deviations[0] < 1e-4 < deviations[1]
