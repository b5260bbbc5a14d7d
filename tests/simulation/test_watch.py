"""Errors of a callable reach the caller whose step it served, whatever other Contexts do meanwhile."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openmm as mm
import pytest
import torch

from openmm_neuralmd.errors import NeuralMDError, NonFiniteStateError
from openmm_neuralmd.models.bound import BoundModel
from openmm_neuralmd.models.export import load_model
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.simulation import watch
from openmm_neuralmd.simulation.force import NeuralMDForce
from openmm_neuralmd.simulation.integrators import NeuralMDIntegrator
from openmm_neuralmd.simulation.rigid import build_rigid_system
from tests.helpers import ModelDouble, make_double

Break = Callable[[], None]


class Meeting(ModelDouble):
    """Waits at each evaluation for the other thread, then does what it was told."""

    barrier: threading.Barrier
    end: Break | None = None

    def compute_force(self, positions: torch.Tensor) -> torch.Tensor:
        self.barrier.wait(timeout=20)
        if self.end is not None and self.n_evaluations == 2:
            self.end()
            return super().compute_force(positions) * torch.nan
        return super().compute_force(positions)


def fail_as(error: BaseException) -> Break:
    def fail() -> None:
        raise error

    return fail


def give_nan() -> None:
    pass


def step_in_threads(pairs: list[tuple[mm.Context, NeuralMDIntegrator]], steps: int) -> list[BaseException | None]:
    """What each integrator's step raised, all at once in threads of their own."""
    raised: list[BaseException | None] = [None] * len(pairs)

    def step(k: int) -> None:
        try:
            pairs[k][1].step(steps)
        except BaseException as error:
            raised[k] = error

    threads = [threading.Thread(target=step, args=(k,)) for k in range(len(pairs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not watch._watches
    return raised


def make_pair(
    complex_: Complex, model: ModelDouble | BoundModel, platform: mm.Platform
) -> tuple[mm.Context, NeuralMDIntegrator]:
    force = NeuralMDForce(complex_, model)
    system = build_rigid_system(complex_)
    force.add_to(system)
    integrator = NeuralMDIntegrator(force)
    context = mm.Context(system, integrator, platform)
    context.setPositions(complex_.positions)
    return context, integrator


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((give_nan, None), (NonFiniteStateError, None)),
        ((None, fail_as(ZeroDivisionError("a"))), (None, ZeroDivisionError)),
        ((fail_as(ZeroDivisionError("a")), fail_as(MemoryError("b"))), (ZeroDivisionError, MemoryError)),
        ((fail_as(KeyboardInterrupt()), give_nan), (KeyboardInterrupt, NonFiniteStateError)),
    ],
)
def test_two_threads_keep_their_errors_apart(
    ends: tuple[Break | None, ...],
    expected: tuple[type[BaseException] | None, ...],
    tiny_complex: Complex,
    platform: mm.Platform,
) -> None:
    barrier = threading.Barrier(2)
    pairs = []
    for end in ends:
        model = Meeting(**vars(make_double(tiny_complex)))
        model.barrier, model.end = barrier, end
        pairs.append(make_pair(tiny_complex, model, platform))
    steps = 3  # both end in the third, or go through it
    raised = step_in_threads(pairs, steps)
    assert [None if error is None else type(error) for error in raised] == list(expected)
    for (context, _), error in zip(pairs, raised, strict=True):
        assert context.getStepCount() == (steps if error is None else 2)
        if isinstance(error, NonFiniteStateError):
            assert "step 3" in str(error)


@pytest.mark.parametrize("way", ["one System", "XML"])
def test_contexts_of_one_system_keep_their_errors_apart(
    way: str, tiny_complex: Complex, model_files: dict[str, Path], platform: mm.Platform
) -> None:
    """One callable for both, or a copy of it that OpenMM made; one Context has a NaN, the other has not."""
    system = build_rigid_system(tiny_complex)
    force = NeuralMDForce(tiny_complex, load_model(model_files["sde"]), seed=5)
    force.add_to(system)
    systems = [system, system if way == "one System" else mm.XmlSerializer.clone(system)]
    pairs = []
    for s in systems:
        integrator = NeuralMDIntegrator(s)
        context = mm.Context(s, integrator, platform)
        context.setPositions(tiny_complex.positions)
        integrator.step(1)
        pairs.append((context, integrator))
    for broken in (0, 1):
        velocities = np.zeros_like(tiny_complex.positions)
        velocities[tiny_complex.ligand.atom_indices] = np.nan
        pairs[broken][0].setVelocities(velocities)
        raised = step_in_threads(pairs, 20)
        assert isinstance(raised[broken], NeuralMDError)
        assert raised[1 - broken] is None
        pairs[broken][0].setPositions(tiny_complex.positions)
        pairs[broken][0].setVelocities(np.zeros_like(velocities))


def test_a_caller_that_has_gone_gets_nothing(tiny_complex: Complex) -> None:
    """An evaluation after a step belongs to nobody: it raises what OpenMM makes of it, and leaves nothing behind."""
    context, integrator = make_pair(tiny_complex, make_double(tiny_complex), mm.Platform.getPlatformByName("Reference"))
    integrator.step(1)
    positions = tiny_complex.positions.copy()
    positions[tiny_complex.ligand.atom_indices] = np.nan
    context.setPositions(positions)
    with pytest.raises(mm.OpenMMException):
        context.getState(forces=True)
    context.setPositions(tiny_complex.positions)
    integrator.step(1)
