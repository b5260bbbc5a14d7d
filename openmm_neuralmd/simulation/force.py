"""The learned force as an OpenMM Force: add it to any System in one line.

One ``openmm.PythonForce`` does everything that a coarse step needs, so the whole step stays inside OpenMM. A context
parameter, set by ``NeuralMDIntegrator``, says what the next evaluation returns; whoever else asks gets the force.
"""

import io
import logging
import pickle
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import openmm as mm
import torch
from openmm import unit

from openmm_neuralmd.checks import an_instance, check_arguments
from openmm_neuralmd.errors import InputError, describe_error
from openmm_neuralmd.force_field.movers import MOVERS
from openmm_neuralmd.models.bound import BoundModel
from openmm_neuralmd.models.export import Model, build_whole_system_module
from openmm_neuralmd.molecule.complex import Complex, Ligand, Protein
from openmm_neuralmd.molecule.images import LigandImage, bring_ligand_to_protein, read_box
from openmm_neuralmd.simulation.arguments import FORCE_ARGUMENTS, bind_model
from openmm_neuralmd.simulation.computation import (
    STAGE_PARAMETER,
    TIMESTEP_PARAMETER,
    LigandComputation,
    Stage,
    StepSettings,
)
from openmm_neuralmd.simulation.rigid import HeldFixed, check_ligand, hold_surroundings
from openmm_neuralmd.units import ANGSTROM_PER_NM, compute_force_factor

FORCE_NAME = "NeuralMDForce"
DRIFT_NAME = "NeuralMDDrift"
BACKENDS = {
    "python": "openmm.PythonForce; always there",
    "pythontorch": "openmmtorch.PythonTorchForce: no copies through NumPy; in no released openmm-torch yet",
    "torchforce": "openmmtorch.TorchForce: the model without Python, Newtonian models only; XML holds the weights",
}
_PROBE_TOLERANCE = 1e-4
_PICKLED = {
    (LigandComputation.__module__, LigandComputation.__name__),
    *((c.__module__, c.__name__) for c in (Complex, Ligand, Protein)),
    *(("numpy", name) for name in ("ndarray", "dtype")),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
}
"""Module and name of all that a pickled LigandComputation names, with NumPy 1 and 2."""
_log = logging.getLogger(__name__)
_N_FORCE_GROUPS = 32


class NeuralMDForce(mm.PythonForce):
    """Learned force on the heavy atoms of one ligand.

    ``force.add_to(system)`` prepares the System and adds the force; ``system.addForce(force)`` only adds it. The
    force is not conservative and contributes no energy: ``compute_physical_energy`` reads that of the other forces.

    Args:
        complex_: The complex as it stands in the System: same atoms, same positions of the protein.
        model: A loaded model, which is bound to the complex here, or one that is bound already.
        seed: Of the noise, 0 to 2^64 - 1.
        projection: Whether ``NeuralMDIntegrator`` brings bonds back after each step.
        backend: What evaluates the model, see ``BACKENDS``; others than "python" need ``add_to``.

    Attributes:
        model: The bound model.
        computation: The callable that OpenMM evaluates.
        held: What ``add_to`` held fixed; None before it, and where the force was added without.

    Raises:
        InputError: If an argument cannot be used, or the backend is unknown or does not work here.
        ModelContractError: If the model does not fit the ligand.
        NotImplementedError: If the backend cannot evaluate a model with noise.
    """

    @check_arguments(**FORCE_ARGUMENTS)
    def __init__(
        self,
        complex_: Complex,
        model: Model | BoundModel,
        *,
        seed: int = 0,
        projection: bool = True,
        backend: str = "python",
    ) -> None:
        self.complex = bring_ligand_to_protein(complex_)
        self.model: BoundModel = bind_model(model, self.complex)
        self.seed = seed
        self.projection = projection
        self.held: HeldFixed | None = None
        self.backend = choose_backend(backend, self.complex, self.model)
        self.computation = LigandComputation(
            self.complex,
            self.model,
            seed=seed,
            projection=projection,
            computes_drift=self.backend != "torchforce",
        )
        default_timestep = self.model.snapshot_interval / self.model.steps_per_snapshot
        self._parameters = {STAGE_PARAMETER: float(Stage.FORCE), TIMESTEP_PARAMETER: default_timestep}
        super().__init__(self.computation, self._parameters, self.computation.particles)
        self._drift_group: int | None = None
        self._has_integrator = False
        self.setName(FORCE_NAME)
        self.setForceGroup(_N_FORCE_GROUPS - 1)
        self.setUsesPeriodicBoundaryConditions(read_box(self.complex.topology) is not None)

    @check_arguments(system=an_instance(mm.System, of="an openmm.System"))
    def add_to(self, system: mm.System) -> HeldFixed:
        """Add the force to a System and hold everything but the ligand's heavy atoms.

        The other forces stay as they are, in their force groups.

        Returns:
            What is held fixed, printable.

        Raises:
            InputError: If this force is in a System already, or an integrator was made for it; or if the System has a
                barostat, thermostat, motion remover or another NeuralMDForce, or no force group is free.
            TopologyMismatchError: If the System's particles are not the complex's atoms.
        """
        if self.held is not None or not self.thisown:
            raise InputError("this NeuralMDForce is in a System already; make another one for another System")
        if self._has_integrator:
            raise InputError(
                "a NeuralMDIntegrator was made for this NeuralMDForce before add_to, which changes what it must do: "
                "make the force anew, then add_to, then the integrator"
            )
        forces = list(system.getForces())
        _refuse_movers(forces)
        check_ligand(system, self.complex)
        groups = _find_free_groups(forces, 2 if self.backend == "torchforce" else 1)
        is_periodic = system.usesPeriodicBoundaryConditions()
        self.held = hold_surroundings(system, self.complex)
        carriers: list[mm.Force] = [self]
        if self.backend == "torchforce":
            ligand = self.complex.ligand
            carriers.append(_make_torch_force(self.model, ligand))
            self._drift_group = groups[1]
            for particle, mass in zip(ligand.atom_indices.tolist(), ligand.masses.tolist(), strict=True):
                system.setParticleMass(particle, mass)  # the force is for the masses of the elements
        elif self.backend == "pythontorch":
            carriers = [_make_python_torch_force(self.computation, self._parameters, self.computation.particles)]
        self.setForceGroup(groups[0])
        for carrier, group, name in zip(carriers, groups, (FORCE_NAME, DRIFT_NAME), strict=False):
            carrier.setForceGroup(group)
            carrier.setName(name)
            carrier.setUsesPeriodicBoundaryConditions(is_periodic)
            system.addForce(carrier)
        self._system = system  # the System owns the C++ force from now on: it must not go first
        return self.held

    def get_step_settings(self) -> StepSettings:
        """What ``NeuralMDIntegrator`` must know; it stays so from then on.

        Raises:
            InputError: If the System was given constraints after ``add_to``.
        """
        self._has_integrator = True
        if self.held is not None and self._system.getNumConstraints():
            raise InputError(
                f"the System has {self._system.getNumConstraints()} constraints that were added after add_to, which "
                "removes them: they cannot act among held particles; remove them"
            )
        return self.computation.get_step_settings(
            self.getForceGroup(), drift_group=self._drift_group, is_held=self.held is not None
        )

    def __copy__(self) -> "NeuralMDForce":
        duplicate = NeuralMDForce(
            self.complex, self.model, seed=self.seed, projection=self.projection, backend=self.backend
        )
        duplicate.setForceGroup(self.getForceGroup())
        duplicate.setUsesPeriodicBoundaryConditions(self.usesPeriodicBoundaryConditions())
        return duplicate


def read_step_settings(system: mm.System) -> StepSettings:
    """What an integrator must know of the force in a System, also after XML or a copy.

    Raises:
        InputError: If the System holds no NeuralMDForce, one whose model has no file, or another force of its name.
    """
    forces = {f.getName(): f for f in system.getForces()}
    force, drift = forces.get(FORCE_NAME), forces.get(DRIFT_NAME)
    if force is None:
        raise InputError("the System holds no NeuralMDForce: add one with force.add_to(system)")
    content = ElementTree.fromstring(mm.XmlSerializer.serialize(force)).get("function", "")
    computation = _read_computation(bytes.fromhex(content))
    # add_to leaves no constraint; with one, GPU platforms would not bear what a held System's program does
    masses = [system.getParticleMass(i)._value for i in range(system.getNumParticles())]
    is_held = 0.0 in masses and system.getNumConstraints() == 0
    drift_group = None if drift is None else drift.getForceGroup()
    return computation.get_step_settings(force.getForceGroup(), drift_group=drift_group, is_held=is_held)


class _ComputationReader(pickle.Unpickler):
    """Makes a LigandComputation and what belongs to it; a pickle can name any function of Python and call it."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PICKLED:
            raise pickle.UnpicklingError(f"{module}.{name} does not belong to a NeuralMDForce")
        return super().find_class(module, name)


def _read_computation(content: bytes) -> LigandComputation:
    try:
        computation = _ComputationReader(io.BytesIO(content)).load()
    except Exception as error:  # damaged pickles raise anything
        raise InputError(
            f"the System's {FORCE_NAME} cannot be read: {describe_error(error)}; add one with force.add_to(system)"
        ) from error
    if not isinstance(computation, LigandComputation):
        raise InputError(
            f"the System's {FORCE_NAME} holds a {type(computation).__name__}, not what NeuralMDForce evaluates; add "
            "one with force.add_to(system)"
        )
    return computation


@check_arguments(context=an_instance(mm.Context, of="an openmm.Context, such as simulation.context"))
def compute_physical_energy(context: mm.Context) -> unit.Quantity:
    """Potential energy [kJ/mol] of all forces but NeuralMDForce, which is not called."""
    groups = set(range(_N_FORCE_GROUPS))
    for force in context.getSystem().getForces():
        if force.getName() in (FORCE_NAME, DRIFT_NAME):
            groups.discard(force.getForceGroup())
    return context.getState(getEnergy=True, groups=groups).getPotentialEnergy()


def choose_backend(backend: str, complex_: Complex, model: BoundModel) -> str:
    """The backend to use, tried on a System of the ligand alone.

    "auto" takes the first of pythontorch, torchforce and python that works for the model, and logs why.

    Raises:
        InputError: If the backend is unknown, or does not work here.
        NotImplementedError: If it cannot evaluate a model with noise.
    """
    if backend == "python":
        return backend
    if backend == "auto":
        reasons = []
        for candidate in ("pythontorch", "torchforce"):
            problem = _probe(candidate, complex_, model)
            if not problem:
                _log.info("backend %s", candidate)
                return candidate
            reasons.append(f"{candidate}: {problem}")
        _log.info("backend python (%s)", "; ".join(reasons))
        return "python"
    if backend not in BACKENDS:
        raise InputError(f"unknown backend {backend!r}; choose one of auto, {', '.join(BACKENDS)}")
    if backend == "torchforce" and model.n_noise > 0:
        raise NotImplementedError(
            "backend 'torchforce' evaluates Newtonian models only; this one has noise: use 'python'"
        )
    problem = _probe(backend, complex_, model)
    if problem:
        raise InputError(
            f"backend {backend!r} does not work here ({problem}): install an openmmtorch that matches torch "
            f"{torch.__version__}, for example torch==2.9.1 openmm==8.6.1 openmmtorch==1.5, or use 'python'"
        )
    return backend


def _probe(backend: str, complex_: Complex, model: BoundModel) -> str:
    """What is wrong with a backend, in one line; empty if it gives the model's forces."""
    if backend == "torchforce" and model.n_noise > 0:
        return "Newtonian models only"
    ligand = replace(complex_.ligand, atom_indices=np.arange(complex_.ligand.n_atoms))
    try:
        if backend == "torchforce":
            force = _make_torch_force(model, ligand)
        else:
            computation = LigandComputation(complex_, model, seed=0, projection=False)
            parameters = {STAGE_PARAMETER: float(Stage.FORCE), TIMESTEP_PARAMETER: model.snapshot_interval}
            force = _make_python_torch_force(computation, parameters, ligand.atom_indices.tolist())
        system = mm.System()
        for _ in range(ligand.n_atoms):
            system.addParticle(1.0)
        system.addForce(force)
        context = mm.Context(system, mm.VerletIntegrator(1.0), mm.Platform.getPlatformByName("Reference"))
        context.setPositions(ligand.positions)
        found = context.getState(forces=True).getForces(asNumpy=True)._value
    except Exception as error:  # a broken pair of torch and openmmtorch fails in many ways
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    with torch.inference_mode():
        x = torch.from_numpy(ANGSTROM_PER_NM * ligand.positions).to(model.dtype)[None]
        expected = model.compute_force(x)[0].double().numpy() * compute_force_factor(model.snapshot_interval)
    if not np.abs(found - expected).max() <= _PROBE_TOLERANCE * np.abs(expected).max():
        return "its forces differ from the model's"
    return ""


def _make_torch_force(model: BoundModel, ligand: Ligand) -> mm.Force:
    import openmmtorch

    image = LigandImage(ligand)
    tree = (image.children, image.parents, image.paths)
    force = openmmtorch.TorchForce(build_whole_system_module(model, ligand.atom_indices, tree, ligand.positions))
    force.setOutputsForces(True)
    return force


def _make_python_torch_force(
    computation: LigandComputation, parameters: dict[str, float], particles: list[int]
) -> mm.Force:
    import openmmtorch

    return openmmtorch.PythonTorchForce(computation, parameters, particles)


def _refuse_movers(forces: list[mm.Force]) -> None:
    movers = [(k, type(f).__name__) for k, f in enumerate(forces) if type(f).__name__ in MOVERS]
    if movers:
        names = ", ".join(f"{name} (force {k})" for k, name in movers)
        calls = "; ".join(f"system.removeForce({k})" for k, _ in reversed(movers))
        raise InputError(
            f"the System has {names}, which would move what is held fixed or change its velocities; remove it first: "
            f"{calls}"
        )
    if any(f.getName() == FORCE_NAME for f in forces):
        raise InputError("the System has a NeuralMDForce already; one System moves one ligand")


def _find_free_groups(forces: list[mm.Force], n_groups: int) -> list[int]:
    used = {f.getForceGroup() for f in forces}
    used |= {f.getReciprocalSpaceForceGroup() for f in forces if isinstance(f, mm.NonbondedForce)}
    free = [g for g in reversed(range(_N_FORCE_GROUPS)) if g not in used]
    if len(free) < n_groups:
        raise InputError(
            f"the System uses {len(used)} of 32 force groups; NeuralMDForce needs {n_groups} of its own: merge some"
        )
    return free[:n_groups]
