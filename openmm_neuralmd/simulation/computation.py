"""What OpenMM evaluates for the ligand: force, acceleration with noise, or the displacement to whole bonds."""

import hashlib
import os
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import openmm as mm
import torch

from openmm_neuralmd.complex import Complex, Ligand
from openmm_neuralmd.errors import InputError, ModelContractError, NonFiniteStateError, ProjectionError
from openmm_neuralmd.models.bound import BoundModel
from openmm_neuralmd.models.export import load_model
from openmm_neuralmd.simulation.imaging import LigandImage, shift_to_nearest_image
from openmm_neuralmd.simulation.projection import BondProjection
from openmm_neuralmd.solvers.noise import draw_increments
from openmm_neuralmd.units import ANGSTROM_PER_NM, compute_force_factor, compute_velocity_factor

STAGE_PARAMETER = "neuralmd_stage"
TIMESTEP_PARAMETER = "neuralmd_timestep"
MODEL_PATH_VARIABLE = "NEURALMD_MODEL_PATH"
_MAX_LANDMARKS = 16
_MOVED_NM = 0.05  # more than formats round, less than another frame differs


class Stage(IntEnum):
    """What the force object returns, for ligand heavy atoms."""

    FORCE = 0  # F(x) [kJ/mol/nm], with the masses of the elements
    ACCELERATION = 1  # F(x)/m + B(x) xi / sqrt(timestep) [nm/ps^2]; independent of the System's masses
    PROJECTION = 2  # displacement [nm] to positions with whole bonds
    VIBRATION = 3  # displacement [nm] of bonds and angles about them


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
        computes_drift: Whether the force computes F(x)/m itself; else a force in ``drift_group`` computes F(x).
        drift_group: Force group of that force.
        is_held: Whether hydrogens follow and everything else is fixed.
    """

    force_group: int
    snapshot_interval: float
    friction: float
    scheme: str
    steps_per_snapshot: int
    has_noise: bool
    projection: bool
    computes_drift: bool
    is_held: bool
    drift_group: int | None = None


class LigandComputation:
    """What OpenMM calls: positions of the ligand's heavy atoms in, by ``Stage``, force, acceleration or displacement.

    Pickling stores the model file's path and SHA-256, not its weights; the file is looked for, checked and bound again
    at the first evaluation, because an error while OpenMM reads XML would end the interpreter.

    Attributes:
        n_projections, n_iterations: How often the projection moved atoms, and its iterations, since the start.
        last_iterations: Of the last projection.
        last_vibration: Of the last step [nm], (n_atoms, 3); the next step begins by taking it away.
    """

    # on the class, for the integrator's step: OpenMM hands on the message of an exception, no more
    last_error: BaseException | None = None
    last_step = 0

    def __init__(
        self, complex_: Complex, model: BoundModel, *, seed: int, projection: bool, computes_drift: bool = True
    ) -> None:
        self._model: BoundModel | None = model
        protein, pose = complex_.protein, complex_.ligand.positions
        from_ligand = np.linalg.norm(protein.backbone[:, None, 1] - pose, axis=-1).min(axis=1)
        landmarks = np.argsort(from_ligand, kind="stable")[:_MAX_LANDMARKS]
        self._settings: dict[str, Any] = {
            "particles": [*complex_.ligand.atom_indices.tolist(), *protein.ca_indices[landmarks].tolist()],
            "landmarks": protein.backbone[landmarks, 1],
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
                "computes_drift": computes_drift,
            },
        }
        self._set_up()

    def _set_up(self) -> None:
        ligand: Ligand = self._settings["complex"].ligand
        self._masses = ligand.masses[:, None]
        self._image = LigandImage(ligand)
        self._projection = BondProjection(ligand) if self._settings["step"]["projection"] else None
        self.n_projections = self.n_iterations = self.last_iterations = 0
        self.last_vibration = np.zeros((ligand.n_atoms, 3))

    @property
    def particles(self) -> list[int]:
        """Whose positions it takes: the ligand's heavy atoms, then CA atoms that show where the protein stands."""
        return list(self._settings["particles"])

    @property
    def n_atoms(self) -> int:
        """Heavy atoms of the ligand, the first of ``particles``: those that move."""
        return len(self._masses)

    def get_step_settings(self, force_group: int, *, drift_group: int | None, is_held: bool) -> StepSettings:
        """What an integrator must know, with what depends on the System."""
        return StepSettings(force_group=force_group, drift_group=drift_group, is_held=is_held, **self._settings["step"])

    def __call__(self, state: mm.State, tensor: torch.Tensor | None = None) -> tuple[Any, Any]:
        """Energy 0 and the forces: for PythonForce from the State, as arrays; for PythonTorchForce as tensors."""
        try:
            if tensor is None:
                return 0.0, self._compute(state, state.getPositions(asNumpy=True)._value)
            forces = self._compute(state, tensor.detach().to("cpu", torch.float64).numpy())
            return torch.zeros((), dtype=tensor.dtype), torch.from_numpy(forces).to(tensor)
        except BaseException as error:
            LigandComputation.last_error = error
            raise

    def _compute(self, state: mm.State, positions: np.ndarray) -> np.ndarray:
        results = np.zeros_like(positions)
        n_atoms = len(self._masses)
        results[:n_atoms] = self._compute_ligand(state, positions[:n_atoms], positions[n_atoms:])
        return results

    def _compute_ligand(self, state: mm.State, positions: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        step = state.getStepCount()
        LigandComputation.last_step = step + 1
        parameters = state.getParameters()
        if not np.isfinite(positions).all():
            raise NonFiniteStateError(
                f"step {step + 1}: ligand positions are NaN or infinite; the model leaves the range it was trained on "
                "(try more steps per snapshot, or keep the bond projection on)"
            )
        box = _read_state_box(state)
        if box is not None:
            positions = self._image.restore(positions, box)
        stage = int(parameters[STAGE_PARAMETER])
        asked_first = Stage.ACCELERATION if self._settings["step"]["computes_drift"] else Stage.PROJECTION
        if stage == asked_first and len(landmarks) > 0:
            self._check_protein(landmarks, box, step)
        if stage == Stage.PROJECTION:
            return self._compute_displacement(positions, step)
        if stage == Stage.VIBRATION:
            return self._compute_vibration(positions, step)
        if not self._settings["step"]["computes_drift"]:
            return np.zeros_like(positions)
        acceleration = self._compute_acceleration(positions, step, parameters[TIMESTEP_PARAMETER], stage)
        if not np.isfinite(acceleration).all():
            raise NonFiniteStateError(f"step {step + 1}: the model's force is NaN or infinite")
        if stage == Stage.FORCE:
            acceleration *= self._masses  # 1 Da nm/ps^2 is 1 kJ/mol/nm
        return acceleration

    def _check_protein(self, landmarks: np.ndarray, box: np.ndarray | None, step: int) -> None:
        away = landmarks - self._settings["landmarks"]
        if box is not None:
            away = shift_to_nearest_image(away, box)
        furthest = float(np.linalg.norm(away, axis=-1).max())
        if not furthest < _MOVED_NM:
            raise InputError(
                f"step {step + 1}: the protein is not where it was when NeuralMDForce was made (a CA atom near the "
                f"ligand is {furthest:.2g} nm away): set the positions of that complex, or make Complex and "
                "NeuralMDForce anew from these positions"
            )

    def _compute_acceleration(self, positions: np.ndarray, step: int, timestep: float, stage: int) -> np.ndarray:
        """F/m, and noise where the stage asks for it [nm/ps^2], (n_atoms, 3)."""
        model = self._model if self._model is not None else self._load()
        with torch.inference_mode():  # here, because OpenMM may call from a thread of its own
            x = torch.from_numpy(ANGSTROM_PER_NM * positions).unsqueeze(0)
            if stage == Stage.ACCELERATION and model.n_noise > 0:
                increments = draw_increments(self._settings["seed"], step, model.n_noise)
                force, noise = model.compute_force_and_noise(x, torch.from_numpy(increments)[None])
                scale = (timestep / model.snapshot_interval) ** -0.5
                # summed in double precision as in solvers: rounding is the one difference that could grow between them
                acceleration = (force / model.masses[:, None]).double() + scale * noise.double()
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

    def _compute_vibration(self, positions: np.ndarray, step: int) -> np.ndarray:
        model = self._model if self._model is not None else self._load()
        normals = draw_increments(self._settings["seed"], step, model.n_noise + positions.size)[model.n_noise :]
        with torch.inference_mode():
            x = torch.from_numpy(ANGSTROM_PER_NM * positions).unsqueeze(0)
            vibration = model.compute_vibration(x, torch.from_numpy(normals)[None])
        self.last_vibration = vibration[0].to(torch.float64).numpy() / ANGSTROM_PER_NM
        return self.last_vibration

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


def map_velocities(model: BoundModel, positions: np.ndarray, velocities: np.ndarray) -> np.ndarray:
    """Velocities to start with [nm/ps] from those at hand, as the model maps them.

    Args:
        model: Bound model; most leave velocities as they are.
        positions, velocities: [nm], [nm/ps], (..., n_atoms, 3).
    """
    shape = (-1, *positions.shape[-2:])
    factor = compute_velocity_factor(model.snapshot_interval)
    with torch.inference_mode():
        x = torch.from_numpy(ANGSTROM_PER_NM * positions.reshape(shape))
        v = torch.from_numpy(velocities.reshape(shape) / factor)
        mapped = model.map_velocities(x, v)
    return factor * mapped.to(torch.float64).numpy().reshape(positions.shape)


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
