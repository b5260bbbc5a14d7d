"""The coarse step as OpenMM integrators: one scheme, one small function that writes a CustomIntegrator program.

All integrate dx = v dt, dv = (F/m - friction v) dt + B(x) dW, with ``a`` the force group of NeuralMDForce, which
returns accelerations while a step runs: a = F/m + B(x) xi / sqrt(dt), the same xi at every stage of a step. With it
deterministic schemes become stochastic ones: Euler is Euler-Maruyama, Heun is Heun's scheme in Stratonovich's sense.
A step ends with the bond projection: x <- x + d and v <- v + d/dt, where d leads to whole bonds. Models with noise then
let bonds and angles vibrate, x <- x + u, and the next step begins with x <- x - u: no step feels the vibration.
"""

from collections.abc import Callable
from dataclasses import dataclass

import openmm as mm

from openmm_neuralmd.checks import (
    MOST_SNAPSHOTS,
    TAKES_NOISE,
    an_instance,
    check_arguments,
    check_count,
    check_scheme,
)
from openmm_neuralmd.errors import InputError, NonFiniteStateError
from openmm_neuralmd.simulation.computation import (
    STAGE_PARAMETER,
    TIMESTEP_PARAMETER,
    LigandComputation,
    Stage,
    StepSettings,
)
from openmm_neuralmd.simulation.force import FORCE_NAME, NeuralMDForce, find_force, read_computation, read_step_settings
from openmm_neuralmd.simulation.ligand_context import PLATFORMS_APART, VIBRATION_VARIABLE, LigandContext
from openmm_neuralmd.solvers.dynamics import check_steps_per_snapshot

_NO_MESSAGE = "<NULL>"  # what OpenMM makes of an exception without one

_A_FORCE = an_instance(NeuralMDForce, mm.System, of="the NeuralMDForce, or the System that holds one")


def add_leapfrog(program: mm.CustomIntegrator, a: str) -> None:
    """Velocity at half steps; 1 evaluation. Newtonian without friction: symplectic, time-reversible, order 2."""
    program.addComputePerDof("v", f"(1 - friction*dt)*v + dt*{a}")
    program.addComputePerDof("x", "x + dt*v")


def add_euler(program: mm.CustomIntegrator, a: str) -> None:
    """Explicit Euler, and Euler-Maruyama with noise (Ito); 1 evaluation, order 1 (strong order 1/2 with noise)."""
    program.addPerDofVariable("k", 0)
    program.addComputePerDof("k", f"{a} - friction*v")  # before x moves
    program.addComputePerDof("x", "x + dt*v")
    program.addComputePerDof("v", "v + dt*k")


def add_midpoint(program: mm.CustomIntegrator, a: str) -> None:
    """Explicit midpoint; 2 evaluations, order 2."""
    for name in ("x0", "v0"):
        program.addPerDofVariable(name, 0)
        program.addComputePerDof(name, name[0])
    program.addComputePerDof("v", f"v0 + dt/2*({a} - friction*v0)")
    program.addComputePerDof("x", "x0 + dt/2*v0")
    # the midpoint's velocity moves x, its acceleration v; v0 is free once both are combined
    program.addComputePerDof("v0", f"v0 + dt*({a} - friction*v)")
    program.addComputePerDof("x", "x0 + dt*v")
    program.addComputePerDof("v", "v0")


def add_heun(program: mm.CustomIntegrator, a: str) -> None:
    """Heun's predictor-corrector (Stratonovich); 2 evaluations, order 2 (strong order 1/2 with general noise)."""
    for name in ("x0", "v0", "k"):
        program.addPerDofVariable(name, 0)
    program.addComputePerDof("x0", "x")
    program.addComputePerDof("v0", "v")
    program.addComputePerDof("k", f"{a} - friction*v")
    program.addComputePerDof("x", "x0 + dt*v0")
    program.addComputePerDof("v", "v0 + dt*k")
    program.addComputePerDof("k", f"(k + {a} - friction*v)/2")
    program.addComputePerDof("x", "x0 + dt*(v0 + v)/2")
    program.addComputePerDof("v", "v0 + dt*k")


def add_rk4(program: mm.CustomIntegrator, a: str) -> None:
    """Runge-Kutta with Kutta's 3/8 rule, as torchdiffeq's ``rk4``; 4 evaluations, order 4."""
    for name in ("x0", "v0", "k1", "k2", "k3", "v2", "v3"):
        program.addPerDofVariable(name, 0)
    program.addComputePerDof("x0", "x")
    program.addComputePerDof("v0", "v")
    program.addComputePerDof("k1", f"{a} - friction*v")
    program.addComputePerDof("x", "x0 + dt*v0/3")
    program.addComputePerDof("v2", "v0 + dt*k1/3")
    program.addComputePerDof("k2", f"{a} - friction*v2")
    program.addComputePerDof("x", "x0 + dt*(v2 - v0/3)")
    program.addComputePerDof("v3", "v0 + dt*(k2 - k1/3)")
    program.addComputePerDof("k3", f"{a} - friction*v3")
    program.addComputePerDof("x", "x0 + dt*(v0 - v2 + v3)")
    program.addComputePerDof("v", "v0 + dt*(k1 - k2 + k3)")
    program.addComputePerDof("k2", f"(k1 + 3*(k2 + k3) + {a} - friction*v)/8")
    program.addComputePerDof("x", "x0 + dt*(v0 + 3*(v2 + v3) + v)/8")
    program.addComputePerDof("v", "v0 + dt*k2")


@dataclass(frozen=True)
class Scheme:
    """A scheme's program, and whether it takes models with noise."""

    add_to: Callable[[mm.CustomIntegrator, str], None]
    takes_noise: bool


SCHEMES = {
    "leapfrog": Scheme(add_leapfrog, takes_noise=TAKES_NOISE["leapfrog"]),
    "euler": Scheme(add_euler, takes_noise=TAKES_NOISE["euler"]),
    "midpoint": Scheme(add_midpoint, takes_noise=TAKES_NOISE["midpoint"]),
    "rk4": Scheme(add_rk4, takes_noise=TAKES_NOISE["rk4"]),
    "euler_maruyama": Scheme(add_euler, takes_noise=TAKES_NOISE["euler_maruyama"]),
    "heun": Scheme(add_heun, takes_noise=TAKES_NOISE["heun"]),
}


@dataclass
class _Apart:
    """What ``attach`` needs and makes. OpenMM copies an integrator's attributes with it; the copy is not attached."""

    settings: StepSettings
    computation: LigandComputation | None  # None: the System has it
    context: LigandContext | None = None

    def __deepcopy__(self, memo: dict) -> "_Apart":
        return _Apart(self.settings, self.computation)


class NeuralMDIntegrator(mm.CustomIntegrator):
    """Steps of ``snapshot_interval / steps_per_snapshot`` ps with the learned force alone.

    Forces in other groups are not evaluated, and barostats and thermostats do not act. With noise the vibration is part
    of the state: checkpoints and ``saveState`` keep it, positions and velocities alone do not (the next path then
    differs by some 0.01 A, as if positions had been given by hand).

    Args:
        force: The force after ``add_to`` or ``addForce`` (its force group is built into the program), or a System that
            holds one, read from XML for example.
        scheme: One of ``SCHEMES``; the model's own if None.
        steps_per_snapshot: The model's own if None.

    Raises:
        InputError: If ``force`` is neither, the scheme is unknown or cannot integrate a model with noise, the number of
            steps is not positive, or the System holds no NeuralMDForce.
    """

    _apart: "_Apart | None" = None  # on the class, for those that were unpickled

    def __init__(
        self, force: NeuralMDForce | mm.System, *, scheme: str | None = None, steps_per_snapshot: int | None = None
    ) -> None:
        _A_FORCE("force", force)
        settings = read_step_settings(force) if isinstance(force, mm.System) else force.get_step_settings()
        self.scheme = check_scheme(settings.scheme if scheme is None else scheme, has_noise=settings.has_noise)
        steps = settings.steps_per_snapshot if steps_per_snapshot is None else steps_per_snapshot
        self.steps_per_snapshot = check_steps_per_snapshot(steps)
        super().__init__(settings.snapshot_interval / self.steps_per_snapshot)
        self._apart = _Apart(settings, force.computation if isinstance(force, NeuralMDForce) else None)
        _write_program(self, settings, self.scheme)

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
        if not settings.computes_drift:
            raise NotImplementedError("steps beside a Context need backend 'python' or 'pythontorch'")
        if context.getPlatform().getName() not in PLATFORMS_APART:
            return
        system = context.getSystem()
        program = mm.CustomIntegrator(self.getStepSize())
        _write_program(program, settings, self.scheme)
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
        LigandComputation.last_error, LigandComputation.last_step = None, 0
        try:
            if self._apart is None or self._apart.context is None:
                super().step(steps)
            else:
                self._apart.context.step(steps)
        except mm.OpenMMException as openmm_error:
            error, LigandComputation.last_error = LigandComputation.last_error, None
            if error is not None:
                raise error from None
            if str(openmm_error) == _NO_MESSAGE:  # Ctrl-C as the callable was being entered or left
                raise KeyboardInterrupt from None
            if "NaN" in str(openmm_error):  # some platforms notice before they call the force
                step = LigandComputation.last_step
                raise NonFiniteStateError(f"step {step}: {openmm_error}" if step else str(openmm_error)) from None
            raise


def _write_program(program: mm.CustomIntegrator, settings: StepSettings, scheme: str) -> None:
    own = f"f{settings.force_group}"
    a = own if settings.computes_drift else f"f{settings.drift_group}/m"
    program.addGlobalVariable("friction", settings.friction / settings.snapshot_interval)
    program.addComputeGlobal(TIMESTEP_PARAMETER, "dt")
    vibrates = settings.projection and settings.has_noise
    if vibrates:
        program.addPerDofVariable(VIBRATION_VARIABLE, 0)
        program.addComputePerDof("x", f"x - {VIBRATION_VARIABLE}")
    program.addComputeGlobal(STAGE_PARAMETER, str(int(Stage.ACCELERATION)))
    SCHEMES[scheme].add_to(program, a)
    if settings.projection:
        program.addComputeGlobal(STAGE_PARAMETER, str(int(Stage.PROJECTION)))
        program.addComputePerDof("v", f"v + {own}/dt")  # first: moving x would call for another evaluation
        program.addComputePerDof("x", f"x + {own}")
    if vibrates:
        program.addComputeGlobal(STAGE_PARAMETER, str(int(Stage.VIBRATION)))
        program.addComputePerDof(VIBRATION_VARIABLE, own)
        program.addComputePerDof("x", f"x + {VIBRATION_VARIABLE}")
    if settings.is_held:  # no constraint acts on the ligand, but GPU platforms move virtual sites here only
        program.addConstrainPositions()
    program.addComputeGlobal(STAGE_PARAMETER, str(int(Stage.FORCE)))
