"""Euler-Maruyama, in Ito's sense: one evaluation a step, order 1, strong order 1/2 with general noise.

In OpenMM it is the program of Euler: there the noise is part of the acceleration.

Source: Maruyama (1955), doi:10.1007/BF02846028.
"""

from functools import partial

from openmm_neuralmd.dynamics.scheme import Scheme
from openmm_neuralmd.dynamics.schemes._langevin import integrate_sde
from openmm_neuralmd.dynamics.schemes.euler import write_euler

SCHEME = Scheme(
    name="euler_maruyama",
    order=1,
    strong_order=1.0,
    takes_noise=True,
    solve=partial(integrate_sde, method="euler"),
    write_program=write_euler,
)
