"""Implicit solvent: water as a generalized Born force, without a box."""

import openmm as mm
from openmm import unit

from openmm_neuralmd.errors import InputError

IMPLICIT_SOLVENTS = {"obc2": "OBC2", "gbn2": "GBn2"}
"""What ``solvent`` calls them, and what papers do."""
IMPLICIT_CUTOFF_NM = 2.0
"""Longer than in a periodic box, where Ewald sums take care of what lies beyond."""
_OFFSET_NM = 0.009  # between a Born radius and the one its integral begins at


def get_solvent_file(solvent: str) -> str:
    """OpenMM's force field file of an implicit solvent: radii by element and neighbour."""
    return f"implicit/{solvent}.xml"


def replace_by_native_force(system: mm.System) -> None:
    """OBC2 as OpenMM's own force instead of a custom one: the same energies, several times as fast on a CPU.

    Args:
        system: Made with ``implicit/obc2.xml``; changed.
    """
    index, custom = next((k, f) for k, f in enumerate(system.getForces()) if isinstance(f, mm.CustomGBForce))
    native = mm.GBSAOBCForce()
    for k in range(custom.getNumParticles()):
        charge, offset_radius, scaled_radius = custom.getParticleParameters(k)
        native.addParticle(charge, offset_radius + _OFFSET_NM, scaled_radius / offset_radius)
    native.setNonbondedMethod(custom.getNonbondedMethod())
    native.setCutoffDistance(custom.getCutoffDistance())
    native.setSolventDielectric(78.5)  # that of the custom force
    native.setSurfaceAreaEnergy(2.25936 * unit.kilojoule_per_mole / unit.nanometer**2)  # likewise
    system.removeForce(index)
    system.addForce(native)


def check_solvent_options(solvent: str, *, engine: str, padding: float | None, pressure: float | None) -> None:
    """Check that engine, padding and pressure go with the solvent.

    Raises:
        InputError: Names the argument, and what to do.
    """
    if solvent in IMPLICIT_SOLVENTS and engine != "openmm":
        raise InputError(
            f"`solvent={solvent}`: GROMACS has no implicit solvent; use `engine=openmm`, or `solvent=tip3p`"
        )
    for name, value in (("`padding`", padding), ("`pressure_bar`", pressure)):
        if solvent != "tip3p" and value is not None:
            raise InputError(f"{name} {value:g}: `solvent={solvent}` has no box; leave {name} out")
