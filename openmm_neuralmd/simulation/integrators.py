"""The integrator: steps of the learned force by a scheme, or of any model's propagator, inside OpenMM.

The programs are in ``simulation.programs``, the schemes in ``dynamics.schemes``.
"""

import openmm as mm

from openmm_neuralmd.checks import MOST_SNAPSHOTS, an_instance, check_count, check_flag
from openmm_neuralmd.dynamics.equation import check_steps_per_snapshot
from openmm_neuralmd.dynamics.scheme import check_scheme, find_schemes
from openmm_neuralmd.errors import NonFiniteStateError
from openmm_neuralmd.simulation.computation import StepSettings, number_scheme
from openmm_neuralmd.simulation.force import NeuralMDForce, read_step_settings
from openmm_neuralmd.simulation.programs import CALLER_VARIABLE, write_displacement_program, write_force_program
from openmm_neuralmd.simulation.watch import NOBODY, watch_steps

SCHEMES = find_schemes()
_NO_MESSAGE = "<NULL>"  # what OpenMM makes of an exception without one
_A_FORCE = an_instance(NeuralMDForce, mm.System, of="the NeuralMDForce, or the System that holds one")


class NeuralMDIntegrator(mm.CustomIntegrator):
    """Moves the ligand by the model alone.

    A model that is a force is integrated: a step is ``snapshot_interval / steps_per_snapshot`` ps. Any other one moves
    the ligand by its own propagator: a step is a snapshot. Forces in other groups are not evaluated, and barostats and
    thermostats do not act.

    Checkpoints and ``saveState`` keep positions, velocities, and for a force the vibration, which is part of its state:
    positions and velocities alone do not (the next path then differs by some 0.01 A, as if positions had been given by
    hand). What else a propagator keeps is found again for the last 256 snapshots of this process; elsewhere the path
    starts anew from positions x and velocities v, with x - v snapshot_interval as the snapshot before.

    Args:
        force: The force after ``add_to`` or ``addForce`` (its force group is built into the program), or a System that
            holds one, read from XML for example.
        scheme: One of ``SCHEMES``; the model's own if None.
        steps_per_snapshot: Of the scheme; the model's own if None.
        by_snapshots: Whether a step is a snapshot by the model's propagator for a force, too; the path is the same.

    Attributes:
        scheme: The scheme; None where the model's propagator has its own.
        steps_per_snapshot: Steps of this integrator that make a snapshot.
        inner_steps: Steps of the scheme within one of this integrator; None where the model's propagator has its own.
        by_snapshots: Whether a step is a snapshot by the model's propagator.

    Raises:
        InputError: If ``force`` is neither, the scheme is unknown or cannot integrate a model with noise, the number of
            steps is not positive, or the System holds no NeuralMDForce.
    """

    def __init__(
        self,
        force: NeuralMDForce | mm.System,
        *,
        scheme: str | None = None,
        steps_per_snapshot: int | None = None,
        by_snapshots: bool = False,
    ) -> None:
        _A_FORCE("force", force)
        settings = read_step_settings(force) if isinstance(force, mm.System) else force.get_step_settings()
        self.by_snapshots = check_flag("by_snapshots", by_snapshots) or not settings.is_force
        self.scheme, steps = _choose(settings, scheme, steps_per_snapshot)
        self.inner_steps = steps if self.by_snapshots else 1
        self.steps_per_snapshot = 1 if self.by_snapshots or steps is None else steps
        super().__init__(settings.snapshot_interval / self.steps_per_snapshot)
        if self.by_snapshots:
            if isinstance(force, NeuralMDForce):  # what its propagator refuses is told here
                force.computation.get_path(number_scheme(self.scheme), steps or 0)
            write_displacement_program(self, settings, scheme=self.scheme, inner_steps=steps)
        else:
            write_force_program(self, settings, find_schemes()[str(self.scheme)])

    def step(self, steps: int) -> None:
        """Take steps; an exception in the model or in the projection arrives as it was raised.

        Raises:
            NonFiniteStateError: If positions or forces become NaN or infinite.
            ProjectionError: If bonds cannot be brought back.
            InputError: If the protein is not where it was when the force was made, or ``steps`` is no count.
        """
        steps = check_count("steps", steps, least=0, most=MOST_SNAPSHOTS)
        with watch_steps() as watch:
            self.setGlobalVariableByName(CALLER_VARIABLE, watch.number)
            try:
                super().step(steps)
            except mm.OpenMMException as openmm_error:
                if watch.error is not None:
                    raise watch.error from None
                if str(openmm_error) == _NO_MESSAGE:  # Ctrl-C as the callable was being entered or left
                    raise KeyboardInterrupt from None
                if "NaN" in str(openmm_error):  # some platforms notice before they call the force
                    told = f"step {watch.step}: {openmm_error}" if watch.step else str(openmm_error)
                    raise NonFiniteStateError(told) from None
                raise
            finally:
                self.setGlobalVariableByName(CALLER_VARIABLE, NOBODY)


def _choose(settings: StepSettings, scheme: str | None, steps: int | None) -> tuple[str | None, int | None]:
    """What was asked for, or the model's own, checked."""
    scheme = settings.scheme if scheme is None else scheme
    steps = settings.steps_per_snapshot if steps is None else steps
    return (
        None if scheme is None else check_scheme(scheme, has_noise=settings.has_noise),
        None if steps is None else check_steps_per_snapshot(steps),
    )
