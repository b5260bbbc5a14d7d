"""The coarse step as OpenMM integrators: one scheme, one small function that writes a CustomIntegrator program.

All integrate dx = v dt, dv = (F/m - friction v) dt + B(x) dW, with ``a`` the force group of NeuralMDForce, which
returns accelerations while a step runs: a = F/m + B(x) xi / sqrt(dt), the same xi at every stage of a step. With it
deterministic schemes become stochastic ones: Euler is Euler-Maruyama, Heun is Heun's scheme in Stratonovich's sense.
A step ends with the bond projection: x <- x + d and v <- v + d/dt, where d leads to whole bonds. Models with noise then
let bonds and angles vibrate, x <- x + u, and the next step begins with x <- x - u: no step feels the vibration.
"""

import openmm as mm

from openmm_neuralmd.checks import MOST_SNAPSHOTS, an_instance, check_count
from openmm_neuralmd.dynamics.equation import check_steps_per_snapshot
from openmm_neuralmd.dynamics.scheme import check_scheme, find_schemes
from openmm_neuralmd.errors import NonFiniteStateError
from openmm_neuralmd.simulation.computation import STAGE_PARAMETER, TIMESTEP_PARAMETER, Stage
from openmm_neuralmd.simulation.force import NeuralMDForce, read_step_settings
from openmm_neuralmd.simulation.watch import CALLER_PARAMETER, NOBODY, watch_steps

_CALLER = "caller"
_NO_MESSAGE = "<NULL>"  # what OpenMM makes of an exception without one

VIBRATION_VARIABLE = "vibration"
_A_FORCE = an_instance(NeuralMDForce, mm.System, of="the NeuralMDForce, or the System that holds one")


SCHEMES = find_schemes()


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

    def __init__(
        self, force: NeuralMDForce | mm.System, *, scheme: str | None = None, steps_per_snapshot: int | None = None
    ) -> None:
        _A_FORCE("force", force)
        settings = read_step_settings(force) if isinstance(force, mm.System) else force.get_step_settings()
        self.scheme = check_scheme(settings.scheme if scheme is None else scheme, has_noise=settings.has_noise)
        steps = settings.steps_per_snapshot if steps_per_snapshot is None else steps_per_snapshot
        self.steps_per_snapshot = check_steps_per_snapshot(steps)
        super().__init__(settings.snapshot_interval / self.steps_per_snapshot)
        own = f"f{settings.force_group}"
        a = own if settings.computes_drift else f"f{settings.drift_group}/m"
        self.addGlobalVariable(_CALLER, NOBODY)
        self.addComputeGlobal(CALLER_PARAMETER, _CALLER)
        self.addGlobalVariable("friction", settings.friction / settings.snapshot_interval)
        self.addComputeGlobal(TIMESTEP_PARAMETER, "dt")
        vibrates = settings.projection and settings.has_noise
        if vibrates:
            self.addPerDofVariable(VIBRATION_VARIABLE, 0)
            self.addComputePerDof("x", f"x - {VIBRATION_VARIABLE}")
        self.addComputeGlobal(STAGE_PARAMETER, str(int(Stage.ACCELERATION)))
        SCHEMES[self.scheme].write_program(self, a)
        if settings.projection:
            self.addComputeGlobal(STAGE_PARAMETER, str(int(Stage.PROJECTION)))
            self.addComputePerDof("v", f"v + {own}/dt")  # first: moving x would call for another evaluation
            self.addComputePerDof("x", f"x + {own}")
        if vibrates:
            self.addComputeGlobal(STAGE_PARAMETER, str(int(Stage.VIBRATION)))
            self.addComputePerDof(VIBRATION_VARIABLE, own)
            self.addComputePerDof("x", f"x + {VIBRATION_VARIABLE}")
        if settings.is_held:  # no constraint acts on the ligand, but GPU platforms move virtual sites here only
            self.addConstrainPositions()
        self.addComputeGlobal(STAGE_PARAMETER, str(int(Stage.FORCE)))

    def step(self, steps: int) -> None:
        """Take steps; an exception in the model or in the projection arrives as it was raised.

        Raises:
            NonFiniteStateError: If positions or forces become NaN or infinite.
            ProjectionError: If bonds cannot be brought back.
            InputError: If the protein is not where it was when the force was made, or ``steps`` is no count.
        """
        steps = check_count("steps", steps, least=0, most=MOST_SNAPSHOTS)
        with watch_steps() as watch:
            self.setGlobalVariableByName(_CALLER, watch.number)
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
                self.setGlobalVariableByName(_CALLER, NOBODY)
