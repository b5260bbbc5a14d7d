"""Runge-Kutta of order 4 with Kutta's 3/8 rule, as torchdiffeq's ``rk4``: four evaluations a step.

Source: Hairer, Norsett and Wanner (1993), doi:10.1007/978-3-540-78862-1, table II.1.2.
"""

from functools import partial

from openmm_neuralmd.dynamics.scheme import Program, Scheme
from openmm_neuralmd.dynamics.schemes._newtonian import integrate_ode


def write_rk4(program: Program, a: str) -> None:
    """Slopes at 0, 1/3, 2/3 and 1 of the step, weighted 1/8, 3/8, 3/8 and 1/8; 4 evaluations."""
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


SCHEME = Scheme(
    name="rk4",
    order=4,
    strong_order=None,
    takes_noise=False,
    solve=partial(integrate_ode, method="rk4"),
    write_program=write_rk4,
)
