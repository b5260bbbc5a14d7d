"""A System with the force as XML and as a copy: the model's path and SHA-256, never its weights."""

import copy
import shutil
from pathlib import Path

import numpy as np
import openmm as mm
import pytest

from openmm_neuralmd.errors import InputError, ModelContractError
from openmm_neuralmd.models.export import load_model
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.simulation.force import FORCE_NAME, NeuralMDForce
from openmm_neuralmd.simulation.integrators import NeuralMDIntegrator
from openmm_neuralmd.simulation.model_files import MODEL_PATH_VARIABLE
from openmm_neuralmd.simulation.rigid import build_rigid_system
from tests.helpers import make_double


@pytest.fixture
def own_model(model_files: dict[str, Path], tmp_path: Path) -> Path:
    """A model file that a test may move or damage."""
    return Path(shutil.copy(model_files["sde"], tmp_path / "mine.pt"))


def build(complex_: Complex, path: Path) -> tuple[mm.System, NeuralMDIntegrator]:
    system = build_rigid_system(complex_)
    force = NeuralMDForce(complex_, load_model(path), seed=5)
    force.add_to(system)
    return system, NeuralMDIntegrator(force)


def run(complex_: Complex, system: mm.System, integrator: mm.Integrator) -> np.ndarray:
    context = mm.Context(system, integrator, mm.Platform.getPlatformByName("Reference"))
    context.setPositions(complex_.positions)
    integrator.step(3)
    return context.getState(positions=True).getPositions(asNumpy=True)._value


def test_xml_and_copies_give_the_same_path(tiny_complex: Complex, own_model: Path) -> None:
    system, integrator = build(tiny_complex, own_model)
    read_back = mm.XmlSerializer.deserialize(mm.XmlSerializer.serialize(system))
    integrator_read_back = mm.XmlSerializer.deserialize(mm.XmlSerializer.serialize(integrator))
    copied = copy.deepcopy(system)
    expected = run(tiny_complex, system, integrator)
    assert np.array_equal(run(tiny_complex, read_back, integrator_read_back), expected)
    assert np.array_equal(run(tiny_complex, copied, build(tiny_complex, own_model)[1]), expected)
    assert FORCE_NAME in [f.getName() for f in copied.getForces()]


def test_integrator_of_a_system_that_was_read(tiny_complex: Complex, own_model: Path) -> None:
    system, integrator = build(tiny_complex, own_model)
    read_back = mm.XmlSerializer.deserialize(mm.XmlSerializer.serialize(system))
    expected = run(tiny_complex, system, integrator)
    assert np.array_equal(run(tiny_complex, read_back, NeuralMDIntegrator(read_back)), expected)


def test_integrator_of_a_system_without_the_force(tiny_complex: Complex) -> None:
    with pytest.raises(InputError, match="holds no NeuralMDForce"):
        NeuralMDIntegrator(build_rigid_system(tiny_complex))


def test_xml_names_the_file_and_holds_no_weights(tiny_complex: Complex, own_model: Path) -> None:
    system, _ = build(tiny_complex, own_model)
    xml = mm.XmlSerializer.serialize(system)
    content = bytes.fromhex(max(xml.split('"'), key=len))
    assert str(own_model).encode() in content
    assert load_model(own_model).sha256.encode() in content
    assert len(content) < 30_000 < own_model.stat().st_size


def test_copy_of_the_force(tiny_complex: Complex, own_model: Path) -> None:
    force = NeuralMDForce(tiny_complex, load_model(own_model), seed=5, projection=False)
    force.setForceGroup(7)
    copied = copy.deepcopy(force)
    assert isinstance(copied, NeuralMDForce)
    assert (copied.getForceGroup(), copied.seed, copied.projection) == (7, 5, False)


def test_moved_file_is_named_and_found_through_the_variable(
    tiny_complex: Complex, own_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, integrator = build(tiny_complex, own_model)
    xml = mm.XmlSerializer.serialize(system)
    expected = run(tiny_complex, system, integrator)
    elsewhere = own_model.parent / "elsewhere"
    elsewhere.mkdir()
    shutil.move(own_model, elsewhere / own_model.name)
    moved = mm.XmlSerializer.deserialize(xml)
    integrator = NeuralMDIntegrator(NeuralMDForce(tiny_complex, load_model(elsewhere / "mine.pt")))
    with pytest.raises(ModelContractError, match=rf"mine\.pt.*not there.*{MODEL_PATH_VARIABLE}"):
        run(tiny_complex, moved, integrator)
    monkeypatch.setenv(MODEL_PATH_VARIABLE, f"/nowhere:{elsewhere}")
    found = mm.XmlSerializer.deserialize(xml)
    integrator = NeuralMDIntegrator(NeuralMDForce(tiny_complex, load_model(elsewhere / "mine.pt")))
    assert np.array_equal(run(tiny_complex, found, integrator), expected)


def test_changed_file_is_refused(tiny_complex: Complex, own_model: Path, model_files: dict[str, Path]) -> None:
    system, integrator = build(tiny_complex, own_model)
    xml = mm.XmlSerializer.serialize(system)
    shutil.copy(model_files["ode"], own_model)
    with pytest.raises(ModelContractError, match="another content"):
        run(tiny_complex, mm.XmlSerializer.deserialize(xml), integrator)


class _Trap:
    """What its pickle calls when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __call__(self, state: mm.State) -> tuple[float, np.ndarray]:
        return 0.0, np.zeros((1, 3))

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("content", ["trap", "other"])
def test_an_integrator_unpickles_nothing_but_the_computation(content: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    system = mm.System()
    system.addParticle(1.0)
    force = mm.PythonForce(_Trap(marker) if content == "trap" else _harmless)
    force.setName(FORCE_NAME)
    system.addForce(force)
    with pytest.raises(InputError, match="does not belong to a NeuralMDForce"):
        NeuralMDIntegrator(system)
    assert not marker.exists()


def _harmless(state: mm.State) -> tuple[float, np.ndarray]:
    return 0.0, np.zeros((1, 3))


def test_model_without_a_file_cannot_be_saved(tiny_complex: Complex) -> None:
    system = build_rigid_system(tiny_complex)
    NeuralMDForce(tiny_complex, make_double(tiny_complex)).add_to(system)
    with pytest.raises(mm.OpenMMException, match="could not be pickled"):
        mm.XmlSerializer.serialize(system)
