"""What OpenMM evaluates for the ligand: a force, an acceleration with noise, or a displacement.

OpenMM gets one array from each evaluation. What it holds, for the ligand's heavy atoms, is said by a context parameter,
the stage, which the programs in ``simulation.programs`` set before they ask:

============  ================================================  =====================================================
Stage         What is returned                                  Who asks
============  ================================================  =====================================================
FORCE         F(x) [kJ/mol/nm]; 0 from a model that is none     everybody outside a step: reporters, other integrators
ACCELERATION  F(x)/m + B(x) xi / sqrt(dt) [nm/ps^2]             force program, as often as its scheme needs it
PROJECTION    d [nm]: bonds are whole at x + d                  force program with projection, once a step
VIBRATION     u [nm]: x + u is shown, and not felt              force program with noise and projection, once a step
ADVANCE       v [nm/ps] after the next snapshot, made here      displacement program, once a step
PAST          0; x is the snapshot before the present one       displacement program, where ADVANCE knew no path
DISPLACEMENT  d [nm]: the next snapshot is at x + d             displacement program, once a step
============  ================================================  =====================================================

Energies are 0, but for ``NEEDS_PAST``, by which ADVANCE says that it knows no path to the present positions.
"""

import zlib
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeGuard, cast

import numpy as np
import openmm as mm
import torch

from openmm_neuralmd.dynamics.noise import draw_normals
from openmm_neuralmd.dynamics.projection import BondProjection
from openmm_neuralmd.dynamics.scheme import find_schemes
from openmm_neuralmd.errors import InputError, ModelContractError, NonFiniteStateError, ProjectionError
from openmm_neuralmd.models.bound import BoundForce, BoundModel
from openmm_neuralmd.models.export import load_model
from openmm_neuralmd.molecule.complex import Complex, Ligand
from openmm_neuralmd.molecule.images import LigandImage, shift_to_nearest_image
from openmm_neuralmd.simulation.model_files import find_model_file
from openmm_neuralmd.simulation.snapshots import SnapshotPath
from openmm_neuralmd.simulation.watch import CALLER_PARAMETER, NOBODY, find_watch
from openmm_neuralmd.units import ANGSTROM_PER_NM, compute_force_factor, compute_velocity_factor

STAGE_PARAMETER = "neuralmd_stage"
TIMESTEP_PARAMETER = "neuralmd_timestep"
SCHEME_PARAMETER = "neuralmd_scheme"
"""Of the propagator in a displacement program, see ``number_scheme``."""
STEPS_PARAMETER = "neuralmd_steps"
"""Of the propagator for a snapshot in a displacement program; 0 for the model's own."""
NEEDS_PAST = 1.0  # any energy but 0
_MAX_LANDMARKS = 16  # CA atoms, which OpenMM copies at each step; a domain that moved shows in a few
_MOST_SCHEMES = 2**24 - 1  # single precision holds the integers up to there
_SAME_INTERVAL = 1e-5  # relative
_MOVED_NM = 0.05  # more than formats round, less than another frame differs


class Stage(IntEnum):
    """What the force object returns; see above."""

    FORCE = 0
    ACCELERATION = 1
    PROJECTION = 2
    VIBRATION = 3
    ADVANCE = 4
    PAST = 5
    DISPLACEMENT = 6


def make_context_parameters(timestep: float) -> dict[str, float]:
    """The context parameters of the force and their defaults, for a timestep [ps]."""
    return {
        STAGE_PARAMETER: float(Stage.FORCE),
        TIMESTEP_PARAMETER: timestep,
        SCHEME_PARAMETER: number_scheme(None),
        STEPS_PARAMETER: 0.0,
        CALLER_PARAMETER: NOBODY,
    }


def number_scheme(name: str | None) -> float:
    """A scheme's number, for context parameters, which hold no text; 0 for the model's own."""
    return 0.0 if name is None else float(1 + zlib.crc32(name.encode()) % _MOST_SCHEMES)


@dataclass(frozen=True)
class StepSettings:
    """What an integrator must know of the force.

    Attributes:
        force_group: Of the force in its System.
        is_force: Whether the model is a force; else only its propagator can move the ligand, and what is about forces
            here has no meaning.
        snapshot_interval: [ps].
        friction: [1/snapshot].
        scheme, steps_per_snapshot: The model's own; None where it is no force.
        has_noise: Whether the force is a Langevin one.
        projection: Whether bonds are brought back after each step.
        computes_drift: Whether the force computes F(x)/m itself; else a force in ``drift_group`` computes F(x).
        drift_group: Force group of that force.
        is_held: Whether hydrogens follow and everything else is fixed.
    """

    force_group: int
    is_force: bool
    snapshot_interval: float
    friction: float
    scheme: str | None
    steps_per_snapshot: int | None
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

    def __init__(
        self, complex_: Complex, model: BoundModel, *, seed: int, projection: bool, computes_drift: bool = True
    ) -> None:
        self._model: BoundModel | None = model
        protein, pose = complex_.protein, complex_.ligand.positions
        from_ligand = np.linalg.norm(protein.backbone[:, None, 1] - pose, axis=-1).min(axis=1)
        landmarks = np.argsort(from_ligand, kind="stable")[:_MAX_LANDMARKS]
        step = _read_force(model) if gives_force(model) else _NO_FORCE
        self._settings: dict[str, Any] = {
            "particles": [*complex_.ligand.atom_indices.tolist(), *protein.ca_indices[landmarks].tolist()],
            "landmarks": protein.backbone[landmarks, 1],
            # topology and positions of the whole System are not needed, and not pickled
            "complex": replace(complex_, topology=None, positions=np.empty((0, 3))),
            "path": str(model.path),
            "sha256": model.sha256,
            "dtype": str(getattr(model, "dtype", torch.float32)).removeprefix("torch."),
            "seed": seed,
            "step": {
                **step,
                "snapshot_interval": model.snapshot_interval,
                "projection": projection,
                "computes_drift": computes_drift,
            },
        }
        self._set_up()

    def _set_up(self) -> None:
        ligand: Ligand = self._settings["complex"].ligand
        self._masses = ligand.masses[:, None]
        self._image = LigandImage(ligand)
        step = self._settings["step"]
        self._projection = BondProjection(ligand) if step["projection"] and step["is_force"] else None
        self.n_projections = self.n_iterations = self.last_iterations = 0
        self.last_vibration = np.zeros((ligand.n_atoms, 3))
        self._drawn: tuple[int, torch.Tensor] | None = None  # of the last step
        self._paths: dict[tuple[float, int], SnapshotPath] = {}
        self._pasts: dict[float, tuple[int, np.ndarray]] = {}  # by caller: step and positions

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
        """Energy and forces, see above: for PythonForce from the State, as arrays; for PythonTorchForce as tensors."""
        parameters = dict(state.getParameters())
        watch = find_watch(parameters)
        watch.step = state.getStepCount() + 1
        try:
            if tensor is None:
                return self._compute(state, parameters, state.getPositions(asNumpy=True)._value)
            energy, forces = self._compute(state, parameters, tensor.detach().to("cpu", torch.float64).numpy())
            return torch.tensor(energy, dtype=tensor.dtype), torch.from_numpy(forces).to(tensor)
        except BaseException as error:
            watch.error = error
            raise

    def _compute(
        self, state: mm.State, parameters: dict[str, float], positions: np.ndarray
    ) -> tuple[float, np.ndarray]:
        results = np.zeros_like(positions)
        n_atoms = len(self._masses)
        x, step, box = positions[:n_atoms], state.getStepCount(), _read_state_box(state)
        if not np.isfinite(x).all():
            raise NonFiniteStateError(
                f"step {step + 1}: ligand positions are NaN or infinite; the model leaves the range it was trained on "
                "(try more steps per snapshot, or keep the bond projection on)"
            )
        if box is not None:
            x = self._image.restore(x, box)
        stage = Stage(int(parameters[STAGE_PARAMETER]))
        asked_first = Stage.ACCELERATION if self._settings["step"]["computes_drift"] else Stage.PROJECTION
        if stage in (asked_first, Stage.ADVANCE) and len(positions) > n_atoms:
            self._check_protein(positions[n_atoms:], box, step)
        if stage in (Stage.ADVANCE, Stage.PAST, Stage.DISPLACEMENT):
            energy, results[:n_atoms] = self._compute_snapshot(stage, x, box, step, parameters)
            return energy, results
        results[:n_atoms] = self._compute_step(stage, x, step, parameters[TIMESTEP_PARAMETER])
        return 0.0, results

    def _compute_step(self, stage: Stage, positions: np.ndarray, step: int, timestep: float) -> np.ndarray:
        """What a force program asks for, or whoever wants the force."""
        settings = self._settings["step"]
        if stage == Stage.PROJECTION:
            return self._compute_displacement(positions, step)
        if stage == Stage.VIBRATION:
            return self._compute_vibration(positions, step)
        if not (settings["computes_drift"] and settings["is_force"]):
            return np.zeros_like(positions)
        acceleration = self._compute_acceleration(positions, step, timestep, stage)
        if not np.isfinite(acceleration).all():
            raise NonFiniteStateError(f"step {step + 1}: the model's force is NaN or infinite")
        if stage == Stage.FORCE:
            acceleration *= self._masses  # 1 Da nm/ps^2 is 1 kJ/mol/nm
        return acceleration

    def _compute_snapshot(
        self, stage: Stage, positions: np.ndarray, box: np.ndarray | None, step: int, parameters: dict[str, float]
    ) -> tuple[float, np.ndarray]:
        """What a displacement program asks for."""
        still, caller = np.zeros_like(positions), parameters[CALLER_PARAMETER]
        if stage == Stage.PAST:
            self._pasts[caller] = step, positions
            return 0.0, still
        interval = self._settings["step"]["snapshot_interval"]
        if abs(parameters[TIMESTEP_PARAMETER] - interval) > _SAME_INTERVAL * interval:
            raise InputError(
                f"the integrator's step size is {parameters[TIMESTEP_PARAMETER]:g} ps; this program moves by snapshots "
                f"of {interval:g} ps: leave the step size as it is"
            )

        def restore(shown: np.ndarray) -> np.ndarray:
            return shown if box is None else self._image.restore(shown, box)

        with torch.no_grad():  # not inference_mode: a propagator may differentiate an energy
            path = self.get_path(parameters[SCHEME_PARAMETER], int(parameters[STEPS_PARAMETER]))
            kept = path.find(step, positions, restore)
            if kept is None:
                noted_at, past = self._pasts.pop(caller, (None, still))
                if noted_at != step:
                    return NEEDS_PAST, still
                if box is not None:
                    moved = positions.mean(axis=0) - past.mean(axis=0)
                    past = past + (moved - shift_to_nearest_image(moved, box))
                kept = path.start(step, past, positions)
            following = path.advance(kept)
        if stage == Stage.ADVANCE:
            return 0.0, following.velocities
        return 0.0, following.shown - kept.shown + (restore(kept.shown) - positions)

    def get_path(self, scheme_number: float, steps: int) -> SnapshotPath:
        """The paths by the model's propagator with a scheme, see ``number_scheme``, and steps per snapshot, or 0.

        Raises:
            InputError: If no scheme here has the number, or the model's propagator cannot have them.
        """
        key = scheme_number, steps
        if key not in self._paths:
            names = {number_scheme(name): name for name in (None, *find_schemes())}
            if scheme_number not in names:
                raise InputError(
                    f"the integrator steps by a scheme that is none of {', '.join(find_schemes())}: install the "
                    "package that offers it, or make a NeuralMDIntegrator anew"
                )
            propagator = self._get_model().make_propagator(
                scheme=names[scheme_number],
                steps_per_snapshot=steps or None,
                projection=self._settings["step"]["projection"],
            )
            interval = self._settings["step"]["snapshot_interval"]
            path = SnapshotPath(propagator, seed=self._settings["seed"], snapshot_interval=interval)
            self._paths.setdefault(key, path)  # another thread may have been here meanwhile
        return self._paths[key]

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
        model = self._get_force()
        with torch.inference_mode():  # here, because OpenMM may call from a thread of its own
            x = torch.from_numpy(ANGSTROM_PER_NM * positions).unsqueeze(0)
            if stage == Stage.ACCELERATION and model.n_noise > 0:
                force, noise = model.compute_force_and_noise(x, self._draw(model, step)[:, : model.n_noise])
                scale = (timestep / model.snapshot_interval) ** -0.5
                # summed in double precision, as in ``Stepped``: else rounding could grow between the two
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
        model = self._get_force()
        with torch.inference_mode():
            x = torch.from_numpy(ANGSTROM_PER_NM * positions).unsqueeze(0)
            vibration = model.compute_vibration(x, self._draw(model, step)[:, model.n_noise :])
        self.last_vibration = vibration[0].to(torch.float64).numpy() / ANGSTROM_PER_NM
        return self.last_vibration

    def _draw(self, model: BoundForce, step: int) -> torch.Tensor:
        """Normals of a step and of its vibration, (1, n_noise + 3 n_atoms)."""
        drawn = self._drawn  # once: another Context may step in another thread
        if drawn is None or drawn[0] != step:
            n = model.n_noise + self.last_vibration.size
            drawn = self._drawn = step, draw_normals([self._settings["seed"]], step, n)
        return drawn[1]

    def _get_model(self) -> BoundModel:
        """The model; the file that a pickled computation names is found, checked and bound here."""
        if self._model is None:
            settings = self._settings
            path = find_model_file(Path(settings["path"]), settings["sha256"])
            self._model = load_model(path).bind(settings["complex"], dtype=getattr(torch, settings["dtype"]))
        return self._model

    def _get_force(self) -> BoundForce:
        return cast(BoundForce, self._get_model())

    def __getstate__(self) -> dict[str, Any]:
        if not self._settings["sha256"]:
            raise ModelContractError("the model was not loaded from a file, so a System with its force cannot be saved")
        return self._settings

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._settings, self._model = state, None
        self._set_up()


def gives_force(model: BoundModel) -> TypeGuard[BoundForce]:
    """Whether a bound model is a force; else it has a propagator alone."""
    return bool(getattr(model, "is_force", True))


_NO_FORCE = {"is_force": False, "friction": 0.0, "scheme": None, "steps_per_snapshot": None, "has_noise": False}


def _read_force(model: BoundForce) -> dict[str, Any]:
    return {
        "is_force": True,
        "friction": model.friction,
        "scheme": model.scheme,
        "steps_per_snapshot": model.steps_per_snapshot,
        "has_noise": model.n_noise > 0,
    }


def map_velocities(model: BoundForce, positions: np.ndarray, velocities: np.ndarray) -> np.ndarray:
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


def _read_state_box(state: mm.State) -> np.ndarray | None:
    """Box vectors [nm], (3, 3); None where the force is not periodic."""
    try:
        return state.getPeriodicBoxVectors(asNumpy=True)._value
    except mm.OpenMMException:
        return None
