"""Back ends evaluate the same forces and give the same paths; broken ones are told apart.

``make test-torchforce`` runs this file in an environment with openmmtorch, where nothing of it is skipped.
"""

import logging
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import openmm as mm
import pytest
import torch

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.models.bound import BoundForce
from openmm_neuralmd.models.export import load_model
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.simulation.force import NeuralMDForce, choose_backend, compute_physical_energy
from openmm_neuralmd.simulation.integrators import NeuralMDIntegrator
from openmm_neuralmd.simulation.rigid import build_rigid_system
from tests.helpers import SINGLE_PRECISION_A, build_periodic_system, make_complex

RELATIVE = 1e-4


def find_torch_force() -> str:
    """Why TorchForce cannot be tested here; empty if it can."""
    try:
        import openmmtorch
    except Exception as error:
        return f"openmmtorch: {error}"
    return "" if hasattr(openmmtorch, "TorchForce") else "openmmtorch without TorchForce"


needs_torch_force = pytest.mark.skipif(bool(find_torch_force()), reason=f"make test-torchforce ({find_torch_force()})")


@pytest.fixture(params=[pytest.param("torchforce", marks=needs_torch_force), "pythontorch"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each back end beside "python"; where no release has PythonTorchForce, one made of PythonForce as documented."""
    if request.param == "pythontorch":
        use_python_torch_force(monkeypatch)
    return request.param


def use_python_torch_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PythonTorchForce after upstream's documentation: State and tensor in, tensors out."""
    module = sys.modules.get("openmmtorch", ModuleType("openmmtorch"))
    if hasattr(module, "PythonTorchForce"):
        return

    class PythonTorchForce(mm.PythonForce):
        def __init__(self, computation, parameters, particles) -> None:
            def compute(state: mm.State) -> tuple[float, np.ndarray]:
                energy, forces = computation(state, torch.from_numpy(state.getPositions(asNumpy=True)._value))
                assert isinstance(energy, torch.Tensor)
                assert isinstance(forces, torch.Tensor)
                return energy.item(), forces.numpy()

            super().__init__(compute, parameters, particles)

    monkeypatch.setattr(module, "PythonTorchForce", PythonTorchForce, raising=False)
    monkeypatch.setitem(sys.modules, "openmmtorch", module)


@pytest.fixture
def model(tiny_complex: Complex, model_files: dict[str, Path]) -> BoundForce:
    return load_model(model_files["ode"]).bind(tiny_complex)


def make_context(complex_: Complex, model: BoundForce, backend: str, platform: mm.Platform) -> mm.Context:
    force = NeuralMDForce(complex_, model, backend=backend)
    system = build_rigid_system(complex_)
    force.add_to(system)
    context = mm.Context(system, NeuralMDIntegrator(force), platform)
    context.setPositions(complex_.positions)
    return context


def test_same_forces(backend: str, tiny_complex: Complex, model: BoundForce, platform: mm.Platform) -> None:
    forces = [
        make_context(tiny_complex, model, name, platform).getState(forces=True).getForces(asNumpy=True)._value
        for name in (backend, "python")
    ]
    assert np.abs(forces[1]).max() > 0
    np.testing.assert_allclose(forces[0], forces[1], rtol=0, atol=RELATIVE * np.abs(forces[1]).max())


def test_same_path(backend: str, tiny_complex: Complex, model: BoundForce, platform: mm.Platform) -> None:
    paths = []
    for name in (backend, "python"):
        context = make_context(tiny_complex, model, name, platform)
        context.getIntegrator().step(20)
        paths.append(context.getState(positions=True).getPositions(asNumpy=True)._value)
    assert np.abs(paths[1] - tiny_complex.positions).max() > 1e-3
    assert 10 * np.abs(paths[0] - paths[1]).max() < SINGLE_PRECISION_A


def test_any_periodic_image(backend: str, model_files: dict[str, Path], platform: mm.Platform) -> None:
    complex_ = make_complex(box=4.0)
    force = NeuralMDForce(complex_, load_model(model_files["ode"]), backend=backend)
    box = np.array([[4.0, 0, 0], [1.2, 3.9, 0], [-1.2, 1.3, 3.7]])
    system = build_periodic_system(complex_, box)
    force.add_to(system)
    context = mm.Context(system, NeuralMDIntegrator(force), platform)
    ligand = complex_.ligand.atom_indices
    found = []
    for shifts in (0, np.random.default_rng(2).integers(-2, 3, size=(len(ligand), 3))):
        positions = complex_.positions.copy()
        positions[ligand] += shifts @ box if np.ndim(shifts) else 0.0
        context.setPositions(positions)
        found.append(context.getState(forces=True).getForces(asNumpy=True)._value[ligand])
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=RELATIVE * np.abs(found[0]).max())
    assert compute_physical_energy(context)._value == pytest.approx(0.0, abs=1e-6)


@needs_torch_force
def test_torch_force_refuses_noise(tiny_complex: Complex, model_files: dict[str, Path]) -> None:
    with pytest.raises(NotImplementedError, match="Newtonian models only"):
        NeuralMDForce(tiny_complex, load_model(model_files["sde"]), backend="torchforce")


def test_python_torch_force_takes_noise(
    tiny_complex: Complex, model_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_python_torch_force(monkeypatch)
    model = load_model(model_files["sde"]).bind(tiny_complex)
    paths = []
    for name in ("pythontorch", "python"):
        context = make_context(tiny_complex, model, name, mm.Platform.getPlatformByName("Reference"))
        context.getIntegrator().step(5)
        paths.append(context.getState(positions=True).getPositions(asNumpy=True)._value)
    np.testing.assert_allclose(paths[0], paths[1], rtol=0, atol=1e-6)


class TestChoice:
    def test_unknown_backend(self, tiny_complex, model) -> None:
        with pytest.raises(InputError, match="unknown backend 'jax'; choose one of auto, python"):
            choose_backend("jax", tiny_complex, model)

    def test_absent_backend_says_what_to_install(self, tiny_complex, model, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "openmmtorch", None)
        with pytest.raises(InputError, match=r"openmmtorch==1\.5"):
            choose_backend("torchforce", tiny_complex, model)

    def test_auto_falls_back_with_one_line(self, tiny_complex, model, monkeypatch, caplog) -> None:
        monkeypatch.setitem(sys.modules, "openmmtorch", None)
        with caplog.at_level(logging.INFO, logger="openmm_neuralmd"):
            assert choose_backend("auto", tiny_complex, model) == "python"
        assert len(caplog.records) == 1
        assert "torchforce: " in caplog.text

    def test_auto_takes_the_newest_class(self, tiny_complex, model, monkeypatch) -> None:
        use_python_torch_force(monkeypatch)
        assert choose_backend("auto", tiny_complex, model) == "pythontorch"

    def test_a_backend_with_wrong_forces_is_not_used(self, tiny_complex, model, monkeypatch, caplog) -> None:
        class Wrong(mm.CustomExternalForce):
            def __init__(self, *_: object) -> None:
                super().__init__("x")
                for k in range(tiny_complex.ligand.n_atoms):
                    self.addParticle(k)

        module = ModuleType("openmmtorch")
        module.PythonTorchForce = Wrong  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "openmmtorch", module)
        with caplog.at_level(logging.INFO, logger="openmm_neuralmd"):
            assert choose_backend("auto", tiny_complex, model) == "python"
        assert "forces differ" in caplog.text

    @needs_torch_force
    def test_auto_takes_torch_force(self, tiny_complex, model) -> None:
        assert choose_backend("auto", tiny_complex, model) in ("torchforce", "pythontorch")
