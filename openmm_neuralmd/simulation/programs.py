"""What an OpenMM step does: the program of a force, and that of a displacement, which any propagator can follow.

Force: dx = v dt, dv = (F/m - friction v) dt + B(x) dW by a scheme, with ``a`` the force group of NeuralMDForce, which
returns accelerations while a step runs: a = F/m + B(x) xi / sqrt(dt), the same xi at every stage of a step. With it
deterministic schemes become stochastic ones: Euler is Euler-Maruyama, Heun is Heun's scheme in Stratonovich's sense. A
step ends with the bond projection: x <- x + d and v <- v + d/dt, where d leads to whole bonds. Models with noise then
let bonds and angles vibrate, x <- x + u, and the next step begins with x <- x - u: no step feels the vibration.

Displacement: v <- v', x <- x + d, with v' and d of the propagator's next snapshot. Where the callable knows no path to
the present positions, it is shown the snapshot before them, x - dt v, first.

Which stage asks for what is told in ``simulation.computation``.
"""

import openmm as mm

from openmm_neuralmd.dynamics.scheme import Scheme
from openmm_neuralmd.simulation.computation import (
    SCHEME_PARAMETER,
    STAGE_PARAMETER,
    STEPS_PARAMETER,
    TIMESTEP_PARAMETER,
    Stage,
    StepSettings,
    number_scheme,
)
from openmm_neuralmd.simulation.watch import CALLER_PARAMETER, NOBODY

VIBRATION_VARIABLE = "vibration"
CALLER_VARIABLE = "caller"
"""A global variable: the number of ``simulation.watch``, for the time of a call of ``step``."""


def write_force_program(program: mm.CustomIntegrator, settings: StepSettings, scheme: Scheme) -> None:
    """Steps of a force by a scheme, with projection and vibration as the settings say."""
    own = f"f{settings.force_group}"
    a = own if settings.computes_drift else f"f{settings.drift_group}/m"
    _begin(program)
    program.addGlobalVariable("friction", settings.friction / settings.snapshot_interval)
    vibrates = settings.projection and settings.has_noise
    if vibrates:
        program.addPerDofVariable(VIBRATION_VARIABLE, 0)
        program.addComputePerDof("x", f"x - {VIBRATION_VARIABLE}")
    _enter(program, Stage.ACCELERATION)
    scheme.write_program(program, a)
    if settings.projection:
        _enter(program, Stage.PROJECTION)
        program.addComputePerDof("v", f"v + {own}/dt")  # first: moving x would call for another evaluation
        program.addComputePerDof("x", f"x + {own}")
    if vibrates:
        _enter(program, Stage.VIBRATION)
        program.addComputePerDof(VIBRATION_VARIABLE, own)
        program.addComputePerDof("x", f"x + {VIBRATION_VARIABLE}")
    _end(program, settings)


def write_displacement_program(
    program: mm.CustomIntegrator, settings: StepSettings, *, scheme: str | None, inner_steps: int | None
) -> None:
    """Steps of a snapshot each, by the model's propagator with this scheme and steps; the model's own if None."""
    own, energy = f"f{settings.force_group}", f"energy{settings.force_group}"
    _begin(program)
    program.addComputeGlobal(SCHEME_PARAMETER, str(int(number_scheme(scheme))))
    program.addComputeGlobal(STEPS_PARAMETER, str(inner_steps or 0))
    program.addGlobalVariable("needs_past", 0)
    program.addPerDofVariable("present", 0)
    _enter(program, Stage.ADVANCE)
    program.addComputeGlobal("needs_past", energy)
    program.beginIfBlock("needs_past > 0")
    program.addComputePerDof("present", "x")
    program.addComputePerDof("x", "x - dt*v")
    _enter(program, Stage.PAST)
    program.addComputePerDof("v", f"v + {own}")  # which is 0: OpenMM evaluates only what is used
    program.addComputePerDof("x", "present")
    _enter(program, Stage.ADVANCE)
    program.endBlock()
    program.addComputePerDof("v", own)
    _enter(program, Stage.DISPLACEMENT)
    program.addComputePerDof("x", f"x + {own}")
    _end(program, settings)


def _begin(program: mm.CustomIntegrator) -> None:
    program.addGlobalVariable(CALLER_VARIABLE, NOBODY)
    program.addComputeGlobal(CALLER_PARAMETER, CALLER_VARIABLE)
    program.addComputeGlobal(TIMESTEP_PARAMETER, "dt")


def _enter(program: mm.CustomIntegrator, stage: Stage) -> None:
    program.addComputeGlobal(STAGE_PARAMETER, str(int(stage)))


def _end(program: mm.CustomIntegrator, settings: StepSettings) -> None:
    if settings.is_held:  # no constraint acts on the ligand, but GPU platforms move virtual sites here only
        program.addConstrainPositions()
    _enter(program, Stage.FORCE)
