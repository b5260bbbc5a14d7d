"""Steps beside a large System: the ligand is moved in a Context of its own, the System's Context gets the result.

OpenMM's CPU platform looks at all particles before it evaluates any force group, and builds its neighbour list anew
where one has moved further than 0.7 of the padding (0.16 nm at a cutoff of 0.9 nm): for 40,000 particles that takes 50
times what a step of the ligand takes, for forces that the step does not ask for. Its Reference platform does so at each
evaluation. Reading and writing the positions of all particles is cheap, and evaluates nothing.
"""

import weakref

import numpy as np
import openmm as mm

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.simulation.computation import LigandComputation, make_context_parameters
from openmm_neuralmd.simulation.programs import VIBRATION_VARIABLE

PLATFORMS_APART = ("CPU", "Reference")
"""Platforms that keep positions in double precision, so that steps beside them are the same to the bit."""


class LigandContext:
    """A Context of the particles that the learned force reads, kept equal to the same particles of a System's Context.

    Args:
        context: Of the whole System, made with ``integrator``; only a weak reference is kept.
        integrator: Whose step size and variables count.
        program: The same program, not yet in a Context.
        computation: What the force in the System evaluates.
        force_group: Of that force.
        is_periodic: Whether that force is.

    Raises:
        InputError: If other particles than the ligand's heavy atoms have a mass.
    """

    def __init__(
        self,
        context: mm.Context,
        integrator: mm.CustomIntegrator,
        program: mm.CustomIntegrator,
        computation: LigandComputation,
        *,
        force_group: int,
        is_periodic: bool,
    ) -> None:
        system, particles = context.getSystem(), computation.particles
        masses = np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])
        self._n_moving = computation.n_atoms
        self._particles = np.array(particles)
        self._moving = self._particles[: self._n_moving]
        if set(np.flatnonzero(masses)) != set(self._moving.tolist()):
            raise InputError(
                "other particles than the ligand's heavy atoms can move: use force.add_to(system), and leave the "
                "masses as it sets them"
            )
        own = mm.System()
        for particle in particles:
            own.addParticle(masses[particle])
        parameters = {name: context.getParameter(name) for name in make_context_parameters(1.0)}
        force = mm.PythonForce(computation, parameters, list(range(len(particles))))
        force.setForceGroup(force_group)
        force.setUsesPeriodicBoundaryConditions(is_periodic)
        own.addForce(force)
        self._outer, self._integrator, self._program = weakref.ref(context), weakref.ref(integrator), program
        self._own = mm.Context(own, program, mm.Platform.getPlatformByName("Reference"))
        self._is_periodic = is_periodic
        names = [program.getPerDofVariableName(k) for k in range(program.getNumPerDofVariables())]
        self._vibrates = VIBRATION_VARIABLE in names
        self._vibration = np.zeros((len(masses), 3))
        self._written: tuple[int, np.ndarray, np.ndarray] | None = None

    def find_context(self) -> tuple[mm.Context, mm.CustomIntegrator]:
        """The System's Context and its integrator.

        Raises:
            InputError: If they are gone.
        """
        outer, integrator = self._outer(), self._integrator()
        if outer is None or integrator is None:
            raise InputError("the Context that the integrator was attached to is gone; attach it to the present one")
        return outer, integrator

    def step(self, steps: int) -> None:
        """Take steps; whatever they raise, the System's Context then stands where they stopped."""
        outer, integrator = self.find_context()
        state = outer.getState(positions=True)
        positions = state.getPositions(asNumpy=True)._value
        # not one State with both: for 200,000 particles the system then hands out its memory anew each time, 4 ms
        velocities = outer.getState(velocities=True).getVelocities(asNumpy=True)._value
        self._read(state, positions, velocities, integrator)
        try:
            self._program.step(steps)
        finally:
            self._write(outer, positions, velocities, integrator)

    def _read(
        self, state: mm.State, positions: np.ndarray, velocities: np.ndarray, integrator: mm.CustomIntegrator
    ) -> None:
        own = self._own
        if self._is_periodic:
            own.setPeriodicBoxVectors(*state.getPeriodicBoxVectors())
        own.setTime(state.getTime())
        own.setStepCount(state.getStepCount())
        own.setPositions(positions[self._particles])
        own.setVelocities(velocities[self._particles])
        self._program.setStepSize(integrator.getStepSize())
        for k in range(integrator.getNumGlobalVariables()):
            self._program.setGlobalVariable(k, integrator.getGlobalVariable(k))
        if self._vibrates and not self._is_as_written(state.getStepCount(), positions, velocities):
            # reading a variable of all particles takes as long as three steps: only where another state was loaded
            values = np.array(integrator.getPerDofVariableByName(VIBRATION_VARIABLE))
            self._vibration[self._moving] = values[self._moving]
            self._program.setPerDofVariableByName(VIBRATION_VARIABLE, values[self._particles])

    def _is_as_written(self, step: int, positions: np.ndarray, velocities: np.ndarray) -> bool:
        """Whether the ligand is where the last steps left it; the vibration is then that of the last step, too."""
        if self._written is None or self._written[0] != step:
            return False
        found = (positions[self._moving], velocities[self._moving])
        return all(np.array_equal(a, b) for a, b in zip(found, self._written[1:], strict=True))

    def _write(
        self, outer: mm.Context, positions: np.ndarray, velocities: np.ndarray, integrator: mm.CustomIntegrator
    ) -> None:
        state = self._own.getState(positions=True, velocities=True)
        moved = state.getPositions(asNumpy=True)._value[: self._n_moving]
        faster = state.getVelocities(asNumpy=True)._value[: self._n_moving]
        positions[self._moving], velocities[self._moving] = moved, faster
        outer.setPositions(positions)
        outer.computeVirtualSites()
        outer.setVelocities(velocities)
        outer.setTime(state.getTime())
        outer.setStepCount(state.getStepCount())
        for name in make_context_parameters(1.0):
            outer.setParameter(name, self._own.getParameter(name))
        if self._vibrates:
            values = np.array(self._program.getPerDofVariableByName(VIBRATION_VARIABLE))
            self._vibration[self._moving] = values[: self._n_moving]
            integrator.setPerDofVariableByName(VIBRATION_VARIABLE, self._vibration)
        self._written = (state.getStepCount(), moved, faster)
