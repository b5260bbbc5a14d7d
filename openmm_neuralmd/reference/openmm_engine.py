"""A reference run through OpenMM: minimisation, equilibration and production, resumed from its last frame."""

import copy
import time
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import openmm as mm
from openmm import unit

from openmm_neuralmd.errors import InputError, NonFiniteStateError, StorageError
from openmm_neuralmd.io.checkpoint import read_fields, write_state
from openmm_neuralmd.io.directory import check_files, check_nothing_is_lost, describe_end
from openmm_neuralmd.io.writers import (
    CSVWriter,
    DCDWriter,
    write_json,
)
from openmm_neuralmd.molecule.images import find_nearest_image
from openmm_neuralmd.reference.directory import (
    REFERENCE_COLUMNS,
    PhaseProgress,
    Place,
    ReferenceFiles,
    end_session,
    note_versions,
)
from openmm_neuralmd.reference.protocol import (
    FRICTION_PER_PS,
    RESTRAINT_KJ_PER_MOL_NM2,
    START_TEMPERATURE,
    Phase,
    Protocol,
)
from openmm_neuralmd.reference.system import MolecularSystem, convert_box
from openmm_neuralmd.signals import hold_signals
from openmm_neuralmd.simulation.run import find_platform

_MINIMISATION_STEPS = 500  # at most; enough to take overlaps away
_EQUILIBRATION_PARTS = 20  # of each phase: rungs of the heating ladder, progress and checkpoints
_STEPS_WITHOUT_A_LOOK = 50  # at whether the run is to end
_BAROSTAT_STEPS = 25  # between its attempts, OpenMM's own default
_DA_PER_NM3_IN_G_PER_ML = 1.66053906660e-3  # CODATA 2018
_BOLTZMANN = 8.31446261815324e-3  # kJ/mol/K


@dataclass(frozen=True)
class ReferenceState:
    """State of all atoms after a step.

    Attributes:
        step: Steps taken.
        positions, velocities: [nm], [nm/ps], float64, (n_atoms, 3).
        box: [nm], (3, 3), of zeros where there is none.
        trajectory_digest, log_digest: Running digests of the frames and rows so far.
    """

    step: int
    positions: np.ndarray
    velocities: np.ndarray
    box: np.ndarray
    trajectory_digest: str = ""
    log_digest: str = ""

    def write(self, path: Path) -> None:
        """Replace the checkpoint file in one go."""
        write_state(path, vars(self))


def read_reference_state(path: Path, n_atoms: int) -> ReferenceState:
    """Read a checkpoint.

    Raises:
        InputError: If it is damaged or of another system.
    """
    shapes = {"positions": (n_atoms, 3), "velocities": (n_atoms, 3), "box": (3, 3)}
    return read_fields(path, ReferenceState, shapes)


def run_openmm(
    molecules: MolecularSystem,
    protocol: Protocol,
    place: Place,
    record: dict[str, Any],
    *,
    platform: str = "CPU",
    threads: int | None = None,
    progress: PhaseProgress | None = None,
) -> None:
    """Run, or go on from the checkpoint in the directory.

    A resumed run goes on from the same positions, velocities and box with new random numbers: another path of the
    same ensemble.

    Args:
        molecules: What to run; its start is in the directory already.
        protocol: Settings.
        place: Where the run is written.
        record: Content of ``run.json``; changed and written.
        platform: OpenMM's name for it.
        threads: Of OpenMM's CPU platform; its own choice if None.
        progress: Told how far the run is.

    Raises:
        InputError: If the platform is not there, or earlier files are damaged or hold more than is wanted now; nothing
            is changed then.
        NonFiniteStateError: If the run breaks; the message names the step.
    """
    found = find_platform(platform)
    record["platform"], record["threads"] = found.getName(), threads
    start = _find_start(molecules, protocol, place.files)
    note_versions(record)
    write_json(place.files.record, record)
    _Run(molecules, protocol, place, record, found, threads).go(start, progress)


def _find_start(molecules: MolecularSystem, protocol: Protocol, files: ReferenceFiles) -> ReferenceState | None:
    """The state to go on from, with trajectory and log as it left them; None where there is none."""
    n_atoms, has_box = len(molecules.find_complex()), molecules.is_periodic
    if not files.checkpoint.exists():
        check_nothing_is_lost(files, n_atoms, has_box=has_box)
        return None
    start = read_reference_state(files.checkpoint, len(molecules.positions))
    n_frames = protocol.count_frames(start.step)
    if n_frames > protocol.n_frames:
        raise InputError(
            f"`time_ps` {protocol.time_ps:g}: the run in {files.folder} is {n_frames * protocol.interval_ps:g} ps long "
            "already"
        )
    if n_frames > 0:
        interval = protocol.interval_ps
        check_files(
            files, start, n_frames, n_atoms=n_atoms, interval=interval, columns=REFERENCE_COLUMNS, has_box=has_box
        )
    return start


class _Run:
    """The loop over phases and, in production, frames: frame, row and checkpoint, in this order."""

    def __init__(
        self,
        molecules: MolecularSystem,
        protocol: Protocol,
        place: Place,
        record: dict[str, Any],
        platform: mm.Platform,
        threads: int | None,
    ) -> None:
        self.molecules, self.protocol, self.place, self.record = molecules, protocol, place, record
        self.platform = platform
        self.properties = {"Threads": str(threads)} if threads and platform.getName() == "CPU" else {}
        if "Precision" in platform.getPropertyNames():
            self.properties["Precision"] = "mixed"
        self.kept = molecules.find_complex()
        system = molecules.system
        self.mass = sum(system.getParticleMass(k)._value for k in range(system.getNumParticles()))
        massive = sum(system.getParticleMass(k)._value > 0 for k in range(system.getNumParticles()))
        removes = any(isinstance(f, mm.CMMotionRemover) for f in system.getForces())
        self.n_freedom = 3 * massive - system.getNumConstraints() - 3 * removes
        self.context: mm.Context | None = None
        self.phase: Phase | None = None

    def go(self, start: ReferenceState | None, progress: PhaseProgress | None) -> None:
        protocol, files = self.protocol, self.place.files
        n_steps = protocol.equilibration_steps + protocol.n_frames * protocol.steps_per_frame
        first = self.frame = 0 if start is None else protocol.count_frames(start.step)
        digests = ("", "") if start is None else (start.trajectory_digest, start.log_digest)
        self.wall = 0.0
        with (
            hold_signals() as self.act,
            closing(
                DCDWriter(
                    files.trajectory,
                    len(self.kept),
                    frame_interval=protocol.interval_ps,
                    has_box=self.molecules.is_periodic,
                    n_frames=first,
                    digest=digests[0],
                )
            ) as self.trajectory,
            closing(CSVWriter(files.log, REFERENCE_COLUMNS, n_rows=first, digest=digests[1])) as self.log,
        ):
            try:
                state = start or self._minimise(progress, n_steps)
                for phase in protocol.list_phases():
                    self._enter(phase, state)
                    while state.step < phase.last:
                        self.act()
                        state = self._go_on(phase, state)
                        self._report(progress, phase.name, state.step, n_steps)
            except BaseException as error:
                with suppress(StorageError):  # the disk may be full; what went wrong first is what matters
                    self._end(describe_end(error), first)
                raise
            self._end("finished", first)

    def _end(self, status: str, first: int) -> None:
        end_session(self.place.files, self.record, status, (first, self.frame), self.wall)

    def _go_on(self, phase: Phase, state: ReferenceState) -> ReferenceState:
        """The next part of a phase; in production, a frame."""
        began = time.perf_counter()
        is_production = phase.name == "production"
        state = self._advance(phase, state.step, self._count_steps(phase, state.step))
        if is_production:
            self._write(state, self.frame + 1)
            state = replace(state, trajectory_digest=self.trajectory.digest, log_digest=self.log.digest)
        state.write(self.place.files.checkpoint)
        if is_production:
            self.frame += 1
            files = self.place.settle()
            self.trajectory.path, self.log.path = files.trajectory, files.log
            self.wall += time.perf_counter() - began
        return state

    def _minimise(self, progress: PhaseProgress | None, n_steps: int) -> ReferenceState:
        self._report(progress, "minimising", 0, n_steps)
        context = self._create_context(is_restrained=True, has_barostat=False, step=0)
        context.setPositions(self.molecules.positions)
        mm.LocalEnergyMinimizer.minimize(context, maxIterations=_MINIMISATION_STEPS)
        heated = self.protocol.equilibration_steps > 0
        temperature = START_TEMPERATURE if heated else self.protocol.temperature_k
        context.setVelocitiesToTemperature(temperature, self._draw_seed(0))
        return self._collect(context, 0)

    def _enter(self, phase: Phase, state: ReferenceState) -> None:
        """A context for the phase, in the given state."""
        if state.step >= phase.last:
            return
        self.context = self._create_context(
            is_restrained=phase.is_restrained, has_barostat=phase.has_barostat, step=state.step
        )
        if self.molecules.is_periodic:
            self.context.setPeriodicBoxVectors(*state.box)
        self.context.setPositions(state.positions)
        self.context.setVelocities(state.velocities)

    def _create_context(self, *, is_restrained: bool, has_barostat: bool, step: int) -> mm.Context:
        protocol, system = self.protocol, copy.deepcopy(self.molecules.system)
        if is_restrained:
            system.addForce(self._build_restraint())
        if has_barostat:
            barostat = mm.MonteCarloBarostat(
                protocol.pressure_bar * unit.bar, protocol.temperature_k * unit.kelvin, _BAROSTAT_STEPS
            )
            barostat.setRandomNumberSeed(self._draw_seed(step + 1))
            system.addForce(barostat)
        integrator = mm.LangevinMiddleIntegrator(protocol.temperature_k, FRICTION_PER_PS, protocol.timestep_ps)
        integrator.setRandomNumberSeed(self._draw_seed(step))
        try:
            return mm.Context(system, integrator, self.platform, self.properties)
        except mm.OpenMMException as error:
            raise InputError(f"OpenMM platform {self.platform.getName()} cannot be used here: {error}") from error

    def _build_restraint(self) -> mm.CustomExternalForce:
        distance = "periodicdistance(x, y, z, x0, y0, z0)^2"
        if not self.molecules.is_periodic:
            distance = "((x-x0)^2+(y-y0)^2+(z-z0)^2)"
        force = mm.CustomExternalForce(f"{RESTRAINT_KJ_PER_MOL_NM2 / 2}*{distance}")
        for name in ("x0", "y0", "z0"):
            force.addPerParticleParameter(name)
        for k in self.molecules.find_heavy():
            force.addParticle(int(k), self.molecules.positions[k])
        return force

    def _count_steps(self, phase: Phase, step: int) -> int:
        part = self.protocol.steps_per_frame
        if phase.name != "production":
            part = max(1, min(part, -(-phase.n_steps // _EQUILIBRATION_PARTS)))
        return min(part - (step - phase.first) % part, phase.last - step)

    def _advance(self, phase: Phase, step: int, n_steps: int) -> ReferenceState:
        assert self.context is not None
        integrator = self.context.getIntegrator()
        if phase.is_heating:
            done = (step + n_steps - phase.first) / phase.n_steps
            integrator.setTemperature(START_TEMPERATURE + done * (self.protocol.temperature_k - START_TEMPERATURE))
        try:
            for done in range(0, n_steps, _STEPS_WITHOUT_A_LOOK):
                integrator.step(min(_STEPS_WITHOUT_A_LOOK, n_steps - done))
                self.act()
        except mm.OpenMMException as error:
            raise NonFiniteStateError(f"between steps {step} and {step + n_steps} ({phase.name}): {error}") from error
        state = self._collect(self.context, step + n_steps)
        if not np.isfinite(state.positions).all():
            raise NonFiniteStateError(f"step {state.step} ({phase.name}): positions are NaN or infinite")
        return state

    def _collect(self, context: mm.Context, step: int) -> ReferenceState:
        state = context.getState(positions=True, velocities=True)
        box = convert_box(state.getPeriodicBoxVectors()) if self.molecules.is_periodic else np.zeros((3, 3))
        return ReferenceState(
            step, state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value, box
        )

    def _write(self, state: ReferenceState, frame: int) -> None:
        assert self.context is not None
        energies = self.context.getState(energy=True)
        temperature = 2.0 * energies.getKineticEnergy()._value / (self.n_freedom * _BOLTZMANN)
        potential = energies.getPotentialEnergy()._value
        if not np.isfinite(potential):
            raise NonFiniteStateError(f"step {state.step}: the potential energy is NaN or infinite")
        row = f"{frame * self.protocol.interval_ps:.4f},{potential:.4f},{temperature:.3f}"
        if self.molecules.is_periodic:
            volume = float(np.linalg.det(state.box))
            row += f",{volume:.5f},{self.mass / volume * _DA_PER_NM3_IN_G_PER_ML:.5f}"
            self.trajectory.write(self._image(state.positions, state.box), state.box)
        else:
            row += ",,"
            self.trajectory.write(state.positions[self.kept])
        self.log.write(row)
        self.trajectory.sync()  # before the checkpoint says so
        self.log.sync()

    def _image(self, positions: np.ndarray, box: np.ndarray) -> np.ndarray:
        """The complex, whole, each of its molecules in the image in which it stands as at the start."""
        if not hasattr(self, "_members"):
            assert self.context is not None
            place = {int(k): i for i, k in enumerate(self.kept)}
            molecules = [[place[k] for k in m if k in place] for m in self.context.getMolecules()]
            self._members = sorted((np.array(m) for m in molecules if m), key=len, reverse=True)
            self._centres = [self.molecules.positions[self.kept][m].mean(axis=0) for m in self._members]
        xyz = positions[self.kept].copy()
        anchor = xyz[self._members[0]].mean(axis=0) - self._centres[0]
        for members, centre in zip(self._members[1:], self._centres[1:], strict=True):
            offset = xyz[members].mean(axis=0) - centre - anchor
            xyz[members] += find_nearest_image(offset, box) - offset
        return xyz

    def _draw_seed(self, step: int) -> int:
        """A seed that differs between runs and between the places they are resumed from; 0 would be drawn by time."""
        return int(np.random.SeedSequence([self.protocol.seed, step]).generate_state(1)[0]) % (2**31 - 2) + 1

    def _report(self, progress: PhaseProgress | None, phase: str, step: int, n_steps: int) -> None:
        if progress is not None:
            progress(phase, step * self.protocol.timestep_ps, n_steps * self.protocol.timestep_ps)
