"""Explicit Euler: one evaluation a step, order 1."""

from functools import partial

from openmm_neuralmd.dynamics.scheme import Program, Scheme
from openmm_neuralmd.dynamics.schemes._newtonian import integrate_ode


def write_euler(program: Program, a: str) -> None:
    """x <- x + h v, v <- v + h (a(x) - friction v), both from before the step; 1 evaluation."""
    program.addPerDofVariable("k", 0)
    program.addComputePerDof("k", f"{a} - friction*v")  # before x moves
    program.addComputePerDof("x", "x + dt*v")
    program.addComputePerDof("v", "v + dt*k")


SCHEME = Scheme(
    name="euler",
    order=1,
    strong_order=None,
    takes_noise=False,
    solve=partial(integrate_ode, method="euler"),
    write_program=write_euler,
)
