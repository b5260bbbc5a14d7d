"""The explicit midpoint rule: two evaluations a step, order 2."""

from functools import partial

from openmm_neuralmd.dynamics.scheme import Program, Scheme
from openmm_neuralmd.dynamics.schemes._newtonian import integrate_ode


def write_midpoint(program: Program, a: str) -> None:
    """Half a step of Euler, then a whole step with the slopes found there; 2 evaluations."""
    for name in ("x0", "v0"):
        program.addPerDofVariable(name, 0)
        program.addComputePerDof(name, name[0])
    program.addComputePerDof("v", f"v0 + dt/2*({a} - friction*v0)")
    program.addComputePerDof("x", "x0 + dt/2*v0")
    # the midpoint's velocity moves x, its acceleration v; v0 is free once both are combined
    program.addComputePerDof("v0", f"v0 + dt*({a} - friction*v)")
    program.addComputePerDof("x", "x0 + dt*v")
    program.addComputePerDof("v", "v0")


SCHEME = Scheme(
    name="midpoint",
    order=2,
    strong_order=None,
    takes_noise=False,
    solve=partial(integrate_ode, method="midpoint"),
    write_program=write_midpoint,
)
