"""The learned force as an OpenMM Force: add it to any System in one line.

One ``openmm.PythonForce`` does everything that a coarse step needs, so the whole step stays inside OpenMM. A context
parameter, set by ``NeuralMDIntegrator``, says what the next evaluation returns; whoever else asks gets the force.
"""

import hashlib
import os
import pickle
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import openmm as mm
import torch
from openmm import unit

from openmm_neuralmd.complex import Complex, Ligand
from openmm_neuralmd.errors import InputError, ModelContractError, NonFiniteStateError, ProjectionError
from openmm_neuralmd.models.export import BoundModel, Model, load_model
from openmm_neuralmd.simulation.imaging import LigandImage, bring_ligand_to_protein, read_box
from openmm_neuralmd.simulation.projection import BondProjection
from openmm_neuralmd.simulation.rigid import HeldFixed, check_ligand, hold_surroundings
from openmm_neuralmd.solvers.noise import check_seed, draw_increments
from openmm_neuralmd.units import ANGSTROM_PER_NM, compute_force_factor

FORCE_NAME = "NeuralMDForce"
STAGE_PARAMETER = "neuralmd_stage"
TIMESTEP_PARAMETER = "neuralmd_timestep"
MODEL_PATH_VARIABLE = "NEURALMD_MODEL_PATH"
_N_FORCE_GROUPS = 32
_MOVERS = (
    "CMMotionRemover",
    "AndersenThermostat",
    "MonteCarloBarostat",
    "MonteCarloAnisotropicBarostat",
    "MonteCarloFlexibleBarostat",
    "MonteCarloMembraneBarostat",
)


class Stage(IntEnum):
    """What the force object returns, for ligand heavy atoms."""

    FORCE = 0  # F(x) [kJ/mol/nm], with the masses of the elements
    ACCELERATION = 1  # F(x)/m + B(x) xi / sqrt(timestep) [nm/ps^2]; independent of the System's masses
    PROJECTION = 2  # displacement [nm] to positions with whole bonds


@dataclass(frozen=True)
class StepSettings:
    """What an integrator must know of the force.

    Attributes:
        force_group: Of the force in its System.
        snapshot_interval: [ps].
        friction: [1/snapshot].
        scheme, steps_per_snapshot: The model's own.
        has_noise: Whether the model is a Langevin one.
        projection: Whether bonds are brought back after each step.
        is_held: Whether hydrogens follow and everything else is fixed.
    """

    force_group: int
    snapshot_interval: float
    friction: float
    scheme: str
    steps_per_snapshot: int
    has_noise: bool
    projection: bool
    is_held: bool


class NeuralMDForce(mm.PythonForce):
    """Learned force on the heavy atoms of one ligand.

    ``force.add_to(system)`` prepares the System and adds the force; ``system.addForce(force)`` only adds it. The
    force is not conservative and contributes no energy: ``compute_physical_energy`` reads that of the other forces.

    Args:
        complex_: The complex as it stands in the System: same atoms, same positions of the protein.
        model: A loaded model, which is bound to the complex here, or one that is bound already.
        seed: Of the noise, 0 to 2^64 - 1.
        projection: Whether ``NeuralMDIntegrator`` brings bonds back after each step.

    Attributes:
        model: The bound model.
        computation: The callable that OpenMM evaluates.
        held: What ``add_to`` held fixed; None before it, and where the force was added without.

    Raises:
        InputError: If the seed is out of range.
        ModelContractError: If the model does not fit the ligand.
    """

    def __init__(self, complex_: Complex, model: Model | BoundModel, *, seed: int = 0, projection: bool = True) -> None:
        self.complex = bring_ligand_to_protein(complex_)
        self.model: BoundModel = model.bind(self.complex) if isinstance(model, Model) else model
        self.seed = check_seed(seed)
        self.projection = projection
        self.held: HeldFixed | None = None
        ligand = self.complex.ligand
        if self.model.n_atoms != ligand.n_atoms:
            raise ModelContractError(
                f"the model is bound to {self.model.n_atoms} atoms, ligand {ligand.name} has {ligand.n_atoms} heavy "
                "atoms: bind it to this complex"
            )
        self.computation = LigandComputation(self.complex, self.model, seed=seed, projection=projection)
        default_timestep = self.model.snapshot_interval / self.model.steps_per_snapshot
        parameters = {STAGE_PARAMETER: float(Stage.FORCE), TIMESTEP_PARAMETER: default_timestep}
        super().__init__(self.computation, parameters, ligand.atom_indices.tolist())
        self.setName(FORCE_NAME)
        self.setForceGroup(_N_FORCE_GROUPS - 1)
        self.setUsesPeriodicBoundaryConditions(read_box(self.complex.topology) is not None)

    def add_to(self, system: mm.System) -> HeldFixed:
        """Add the force to a System and hold everything but the ligand's heavy atoms.

        The other forces stay as they are, in their force groups.

        Returns:
            What is held fixed, printable.

        Raises:
            InputError: If the System has a barostat, thermostat, motion remover or another NeuralMDForce, or no
                force group is free.
            TopologyMismatchError: If the System's particles are not the complex's atoms.
        """
        forces = list(system.getForces())
        _refuse_movers(forces)
        check_ligand(system, self.complex)
        self.setForceGroup(_find_free_group(forces))
        self.setUsesPeriodicBoundaryConditions(system.usesPeriodicBoundaryConditions())
        self.held = hold_surroundings(system, self.complex)
        system.addForce(self)
        self._system = system  # the System owns the C++ force from now on: it must not go first
        return self.held

    def get_step_settings(self) -> StepSettings:
        """What ``NeuralMDIntegrator`` must know."""
        return self.computation.get_step_settings(self.getForceGroup(), is_held=self.held is not None)

    def __copy__(self) -> "NeuralMDForce":
        duplicate = NeuralMDForce(self.complex, self.model, seed=self.seed, projection=self.projection)
        duplicate.setForceGroup(self.getForceGroup())
        duplicate.setUsesPeriodicBoundaryConditions(self.usesPeriodicBoundaryConditions())
        return duplicate


def read_step_settings(system: mm.System) -> StepSettings:
    """What an integrator must know of the force in a System, also after XML or a copy.

    Raises:
        InputError: If the System holds no NeuralMDForce, or one whose model has no file.
    """
    force = next((f for f in system.getForces() if f.getName() == FORCE_NAME), None)
    if force is None:
        raise InputError("the System holds no NeuralMDForce: add one with force.add_to(system)")
    content = ElementTree.fromstring(mm.XmlSerializer.serialize(force)).get("function", "")
    computation: LigandComputation = pickle.loads(bytes.fromhex(content))
    is_held = any(system.getParticleMass(i)._value == 0.0 for i in range(system.getNumParticles()))
    return computation.get_step_settings(force.getForceGroup(), is_held=is_held)


def compute_physical_energy(context: mm.Context) -> unit.Quantity:
    """Potential energy [kJ/mol] of all forces but NeuralMDForce, which is not called."""
    groups = set(range(_N_FORCE_GROUPS))
    for force in context.getSystem().getForces():
        if force.getName() == FORCE_NAME:
            groups.discard(force.getForceGroup())
    return context.getState(getEnergy=True, groups=groups).getPotentialEnergy()


class LigandComputation:
    """What OpenMM calls: positions of the ligand's heavy atoms in, by ``Stage``, force, acceleration or displacement.

    Pickling stores the model file's path and SHA-256, not its weights; the file is looked for, checked and bound again
    at the first evaluation, because an error while OpenMM reads XML would end the interpreter.

    Attributes:
        n_projections, n_iterations: How often the projection moved atoms, and its iterations, since the start.
        last_iterations: Of the last projection.
    """

    # on the class, for the integrator's step: OpenMM hands on the message of an exception, no more
    last_error: BaseException | None = None
    last_step = 0

    def __init__(self, complex_: Complex, model: BoundModel, *, seed: int, projection: bool) -> None:
        self._model: BoundModel | None = model
        self._settings: dict[str, Any] = {
            # topology and positions of the whole System are not needed, and not pickled
            "complex": replace(complex_, topology=None, positions=np.empty((0, 3))),
            "path": str(model.path),
            "sha256": model.sha256,
            "dtype": str(model.dtype).removeprefix("torch."),
            "seed": seed,
            "step": {
                "snapshot_interval": model.snapshot_interval,
                "friction": model.friction,
                "scheme": model.scheme,
                "steps_per_snapshot": model.steps_per_snapshot,
                "has_noise": model.n_noise > 0,
                "projection": projection,
            },
        }
        self._set_up()

    def _set_up(self) -> None:
        ligand: Ligand = self._settings["complex"].ligand
        self._masses = ligand.masses[:, None]
        self._image = LigandImage(ligand)
        self._projection = BondProjection(ligand) if self._settings["step"]["projection"] else None
        self.n_projections = self.n_iterations = self.last_iterations = 0

    def get_step_settings(self, force_group: int, *, is_held: bool) -> StepSettings:
        return StepSettings(force_group=force_group, is_held=is_held, **self._settings["step"])

    def __call__(self, state: mm.State) -> tuple[float, np.ndarray]:
        try:
            return 0.0, self._compute(state)
        except BaseException as error:
            LigandComputation.last_error = error
            raise

    def _compute(self, state: mm.State) -> np.ndarray:
        step = state.getStepCount()
        LigandComputation.last_step = step + 1
        parameters = state.getParameters()
        positions = state.getPositions(asNumpy=True)._value
        if not np.isfinite(positions).all():
            raise NonFiniteStateError(
                f"step {step + 1}: ligand positions are NaN or infinite; the model leaves the range it was trained on "
                "(try more steps per snapshot, or keep the bond projection on)"
            )
        box = _read_state_box(state)
        if box is not None:
            positions = self._image.restore(positions, box)
        stage = int(parameters[STAGE_PARAMETER])
        if stage == Stage.PROJECTION:
            return self._compute_displacement(positions, step)
        acceleration = self._compute_acceleration(positions, step, parameters[TIMESTEP_PARAMETER], stage)
        if not np.isfinite(acceleration).all():
            raise NonFiniteStateError(f"step {step + 1}: the model's force is NaN or infinite")
        if stage == Stage.FORCE:
            acceleration *= self._masses  # 1 Da nm/ps^2 is 1 kJ/mol/nm
        return acceleration

    def _compute_acceleration(self, positions: np.ndarray, step: int, timestep: float, stage: int) -> np.ndarray:
        """F/m, and noise where the stage asks for it [nm/ps^2], (n_atoms, 3)."""
        model = self._model if self._model is not None else self._load()
        with torch.inference_mode():  # here, because OpenMM may call from a thread of its own
            x = torch.from_numpy(ANGSTROM_PER_NM * positions).to(model.dtype).unsqueeze(0)
            if stage == Stage.ACCELERATION and model.n_noise > 0:
                increments = draw_increments(self._settings["seed"], step, model.n_noise)
                force, noise = model.compute_force_and_noise(x, torch.from_numpy(increments).to(model.dtype)[None])
                scale = (timestep / model.snapshot_interval) ** -0.5
                acceleration = force / model.masses[:, None] + scale * noise
            else:
                acceleration = model.compute_force(x) / model.masses[:, None]
            result = acceleration[0].to(torch.float64).numpy()
        return result * compute_force_factor(model.snapshot_interval)

    def _compute_displacement(self, positions: np.ndarray, step: int) -> np.ndarray:
        if self._projection is None:
            return np.zeros_like(positions)
        try:
            projected, iterations = self._projection.project(positions)
        except (ProjectionError, NonFiniteStateError) as error:
            raise type(error)(f"step {step + 1}: {error}") from error
        self.last_iterations = int(iterations)
        self.n_iterations += self.last_iterations
        self.n_projections += self.last_iterations > 0
        return projected - positions

    def _load(self) -> BoundModel:
        """Find, check and bind the model file that a pickled computation names."""
        settings = self._settings
        path = find_model_file(Path(settings["path"]), settings["sha256"])
        self._model = load_model(path).bind(settings["complex"], dtype=getattr(torch, settings["dtype"]))
        return self._model

    def __getstate__(self) -> dict[str, Any]:
        if not self._settings["sha256"]:
            raise ModelContractError("the model was not loaded from a file, so a System with its force cannot be saved")
        return self._settings

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._settings, self._model = state, None
        self._set_up()


def find_model_file(path: Path, sha256: str) -> Path:
    """The model file with this SHA-256: at its path, in a folder of NEURALMD_MODEL_PATH, or among the bundled ones.

    Raises:
        ModelContractError: If there is none, or only one with another content.
    """
    folders = [Path(f) for f in os.environ.get(MODEL_PATH_VARIABLE, "").split(os.pathsep) if f]
    bundled = Path(__file__).resolve().parents[1] / "assets" / "4g3e"
    found = [c for c in (path, *(f / path.name for f in folders), bundled / path.name) if c.is_file()]
    for candidate in found:
        if hashlib.sha256(candidate.read_bytes()).hexdigest() == sha256:
            return candidate
    problem = f"{found[0]} has another content (SHA-256 differs)" if found else "it is not there"
    raise ModelContractError(
        f"model file {path} of a saved System: {problem}; put the original back, or name its folder in "
        f"{MODEL_PATH_VARIABLE}"
    )


def _read_state_box(state: mm.State) -> np.ndarray | None:
    """Box vectors [nm], (3, 3); None where the force is not periodic."""
    try:
        return state.getPeriodicBoxVectors(asNumpy=True)._value
    except mm.OpenMMException:
        return None


def _refuse_movers(forces: list[mm.Force]) -> None:
    movers = [(k, type(f).__name__) for k, f in enumerate(forces) if type(f).__name__ in _MOVERS]
    if movers:
        names = ", ".join(f"{name} (force {k})" for k, name in movers)
        calls = "; ".join(f"system.removeForce({k})" for k, _ in reversed(movers))
        raise InputError(
            f"the System has {names}, which would move what is held fixed or change its velocities; remove it first: "
            f"{calls}"
        )
    if any(f.getName() == FORCE_NAME for f in forces):
        raise InputError("the System has a NeuralMDForce already; one System moves one ligand")


def _find_free_group(forces: list[mm.Force]) -> int:
    used = {f.getForceGroup() for f in forces}
    used |= {f.getReciprocalSpaceForceGroup() for f in forces if isinstance(f, mm.NonbondedForce)}
    free = [g for g in reversed(range(_N_FORCE_GROUPS)) if g not in used]
    if not free:
        raise InputError("the System uses all 32 force groups; NeuralMDForce needs one of its own: merge two of them")
    return free[0]
