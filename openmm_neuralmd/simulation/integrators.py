"""The integrator: steps of the learned force by a scheme, or of any model's propagator, inside OpenMM.

The programs are in ``simulation.programs``, the schemes in ``dynamics.schemes``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import openmm as mm

from openmm_neuralmd.checks import MOST_SNAPSHOTS, an_instance, check_arguments, check_count, check_flag
from openmm_neuralmd.dynamics.equation import check_steps_per_snapshot
from openmm_neuralmd.dynamics.scheme import check_scheme, find_schemes
from openmm_neuralmd.errors import InputError, NonFiniteStateError
from openmm_neuralmd.simulation.computation import LigandComputation, StepSettings, number_scheme
from openmm_neuralmd.simulation.force import FORCE_NAME, NeuralMDForce, find_force, read_computation, read_step_settings
from openmm_neuralmd.simulation.ligand_context import PLATFORMS_APART, LigandContext
from openmm_neuralmd.simulation.programs import CALLER_VARIABLE, write_displacement_program, write_force_program
from openmm_neuralmd.simulation.watch import NOBODY, watch_steps

_NO_MESSAGE = "<NULL>"  # what OpenMM makes of an exception without one
_A_FORCE = an_instance(NeuralMDForce, mm.System, of="the NeuralMDForce, or the System that holds one")


@dataclass
class _Apart:
    """What ``attach`` needs and makes. OpenMM copies an integrator's attributes with it; the copy is not attached."""

    settings: StepSettings
    computation: LigandComputation | None  # None: the System has it
    write_program: Callable[[mm.CustomIntegrator], None]
    context: LigandContext | None = None

    def __deepcopy__(self, memo: dict) -> "_Apart":
        return _Apart(self.settings, self.computation, self.write_program)


class NeuralMDIntegrator(mm.CustomIntegrator):
    """Moves the ligand by the model alone.

    A model that is a force is integrated: a step is ``snapshot_interval / steps_per_snapshot`` ps. Any other one moves
    the ligand by its own propagator: a step is a snapshot. Forces in other groups are not evaluated, and barostats and
    thermostats do not act.

    Checkpoints and ``saveState`` keep positions, velocities, and for a force the vibration, which is part of its state:
    positions and velocities alone do not (the next path then differs by some 0.01 A, as if positions had been given by
    hand). What else a propagator keeps is found again for the last 256 snapshots of the same force; with another
    NeuralMDForce, as in another process, the path starts anew from positions x and velocities v, with
    x - v snapshot_interval as the snapshot before.

    Args:
        force: The force after ``add_to`` or ``addForce`` (its force group is built into the program), or a System that
            holds one, read from XML for example.
        scheme: One of ``find_schemes()``; the model's own if None.
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

    _apart: "_Apart | None" = None  # on the class, for those that were unpickled

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
            write = partial(write_displacement_program, settings=settings, scheme=self.scheme, inner_steps=steps)
        else:
            write = partial(write_force_program, settings=settings, scheme=find_schemes()[str(self.scheme)])
        write(self)
        self._apart = _Apart(settings, force.computation if isinstance(force, NeuralMDForce) else None, write)

    @check_arguments(context=an_instance(mm.Context, of="an openmm.Context, such as simulation.context"))
    def attach(self, context: mm.Context) -> None:
        """Take all further steps beside the Context, which gets what they lead to: same path, to the bit.

        On the CPU and Reference platforms steps then cost what the ligand costs, however large the System and whatever
        forces it has; else the CPU platform builds its neighbour list anew wherever the ligand has moved. On other
        platforms steps stay as they are.

        Args:
            context: The one that was made with this integrator.

        Raises:
            InputError: If it was made with another integrator, its System has no NeuralMDForce, or more than the
                ligand can move in it.
            NotImplementedError: If the backend is "torchforce".
        """
        if context.getIntegrator() is not self:
            raise InputError(
                "the Context was made with another integrator; attach this one to the Context made with it"
            )
        if self._apart is None:
            raise InputError("an integrator that was unpickled cannot be attached; make a NeuralMDIntegrator anew")
        settings = self._apart.settings
        if settings.is_force and not settings.computes_drift:
            raise NotImplementedError("steps beside a Context need backend 'python' or 'pythontorch'")
        if context.getPlatform().getName() not in PLATFORMS_APART:
            return
        system = context.getSystem()
        program = mm.CustomIntegrator(self.getStepSize())
        self._apart.write_program(program)
        self._apart.context = LigandContext(
            context,
            self,
            program,
            self._apart.computation or read_computation(system),
            force_group=settings.force_group,
            is_periodic=find_force(system, FORCE_NAME).usesPeriodicBoundaryConditions(),
        )

    def step(self, steps: int) -> None:
        """Take steps; an exception in the model or in the projection arrives as it was raised.

        Raises:
            NonFiniteStateError: If positions or forces become NaN or infinite.
            ProjectionError: If bonds cannot be brought back.
            InputError: If the protein is not where it was when the force was made, or ``steps`` is no count.
        """
        steps = check_count("steps", steps, least=0, most=MOST_SNAPSHOTS)
        apart = None if self._apart is None else self._apart.context
        if apart is not None:
            apart.find_context()  # an integrator whose Context is gone has no variables to set
        with watch_steps() as watch:
            self.setGlobalVariableByName(CALLER_VARIABLE, watch.number)
            try:
                if apart is None:
                    super().step(steps)
                else:
                    apart.step(steps)
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
