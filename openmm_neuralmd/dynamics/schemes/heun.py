"""Heun's predictor and corrector, in Stratonovich's sense: two evaluations a step, order 2, strong order 1/2 with
general noise.

Source: Rümelin (1982), doi:10.1137/0719041.
"""

from functools import partial

from openmm_neuralmd.dynamics.scheme import Program, Scheme
from openmm_neuralmd.dynamics.schemes._langevin import integrate_sde


def write_heun(program: Program, a: str) -> None:
    """A step of Euler, then one with the mean of the slopes before and after it; 2 evaluations."""
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


SCHEME = Scheme(
    name="heun",
    order=2,
    strong_order=1.0,
    takes_noise=True,
    solve=partial(integrate_sde, method="heun"),
    write_program=write_heun,
)
