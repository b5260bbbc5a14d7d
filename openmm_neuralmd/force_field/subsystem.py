"""A few atoms cut out of a System: the standard terms that lie wholly among them."""

import numpy as np
import openmm as mm

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.force_field.movers import MOVERS

_READ = ("HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce", "CMAPTorsionForce", "NonbondedForce")
_SPRING = 284512.0
"""[kJ/mol/nm^2], Amber's C-H bond (340 kcal/mol/A^2), in place of constrained lengths."""


def check_forces(system: mm.System, source: str) -> None:
    """See that ``cut_system`` can read every force of a System.

    Raises:
        InputError: If one is of another kind, or depends on global parameters.
    """
    others = sorted({f.__class__.__name__ for f in system.getForces()} - {*_READ, *MOVERS})
    if others:
        raise InputError(
            f"{source}: holds {', '.join(others)}; energies can be cut out of {', '.join(_READ)} only: give a System "
            "made of those, or `forcefield`"
        )
    nonbonded = [f for f in system.getForces() if isinstance(f, mm.NonbondedForce)]
    if len(nonbonded) != 1:
        raise InputError(f"{source}: has {len(nonbonded)} NonbondedForces; one is needed")
    if nonbonded[0].getNumParticleParameterOffsets() or nonbonded[0].getNumExceptionParameterOffsets():
        raise InputError(f"{source}: its nonbonded parameters change with global parameters; give a plain System")


def check_not_bonded(system: mm.System, ligand: np.ndarray) -> None:
    """See that nothing but nonbonded pairs ties the ligand to other atoms.

    Raises:
        InputError: If bonds, constraints or exceptions do.
    """
    own = set(ligand.tolist())
    pairs = [system.getConstraintParameters(k)[:2] for k in range(system.getNumConstraints())]
    for force in system.getForces():
        if isinstance(force, mm.HarmonicBondForce):
            pairs += [force.getBondParameters(k)[:2] for k in range(force.getNumBonds())]
        elif isinstance(force, mm.NonbondedForce):
            pairs += [force.getExceptionParameters(k)[:2] for k in range(force.getNumExceptions())]
    for a, b in pairs:
        if (a in own) != (b in own):
            raise InputError(
                f"particles {a} and {b}: the System binds the ligand to something else: covalent ligands are not "
                "supported"
            )


def cut_system(system: mm.System, atoms: np.ndarray, heavy: np.ndarray, dielectric: float) -> mm.System:
    """The chosen atoms of a System alone: terms that lie wholly among them, not periodic, without cutoff.

    Args:
        system: As ``check_forces`` accepts it.
        atoms: Indices, in the order of the new System.
        heavy: Whether each atom of ``system`` is heavy, bool.
        dielectric: Divides Coulomb energies.

    Raises:
        InputError: If heavy atoms are constrained (their bonds have no parameters then), or an atom is a virtual site.
    """
    place = {int(a): k for k, a in enumerate(atoms)}
    cut = mm.System()
    for a in place:
        if system.isVirtualSite(a):
            raise InputError(f"particle {a} is a virtual site; give a System whose ligand and protein have none")
        cut.addParticle(1.0)
    bonded: set[frozenset[int]] = set()
    for force in system.getForces():
        if isinstance(force, mm.NonbondedForce):
            cut.addForce(_cut_nonbonded(force, place, dielectric))
        elif isinstance(force, mm.HarmonicBondForce):
            bonds = mm.HarmonicBondForce()
            for k in range(force.getNumBonds()):
                a, b, *parameters = force.getBondParameters(k)
                if a in place and b in place:
                    bonds.addBond(place[a], place[b], *parameters)
                    bonded.add(frozenset((a, b)))
            cut.addForce(bonds)
        elif isinstance(force, mm.HarmonicAngleForce):
            angles = mm.HarmonicAngleForce()
            for k in range(force.getNumAngles()):
                a, b, c, *parameters = force.getAngleParameters(k)
                if {a, b, c} <= place.keys():
                    angles.addAngle(place[a], place[b], place[c], *parameters)
            cut.addForce(angles)
        elif isinstance(force, mm.PeriodicTorsionForce):
            torsions = mm.PeriodicTorsionForce()
            for k in range(force.getNumTorsions()):
                a, b, c, d, *parameters = force.getTorsionParameters(k)
                if {a, b, c, d} <= place.keys():
                    torsions.addTorsion(place[a], place[b], place[c], place[d], *parameters)
            cut.addForce(torsions)
        elif isinstance(force, mm.CMAPTorsionForce):
            maps = mm.CMAPTorsionForce()
            for k in range(force.getNumMaps()):
                maps.addMap(*force.getMapParameters(k))
            for k in range(force.getNumTorsions()):
                index, *members = force.getTorsionParameters(k)
                if set(members) <= place.keys():
                    maps.addTorsion(index, *(place[a] for a in members))
            cut.addForce(maps)
    cut.addForce(_make_springs(system, place, heavy, bonded))
    return cut


def _cut_nonbonded(force: mm.NonbondedForce, place: dict[int, int], dielectric: float) -> mm.NonbondedForce:
    nonbonded = mm.NonbondedForce()
    nonbonded.setNonbondedMethod(mm.NonbondedForce.NoCutoff)
    for a in place:
        charge, sigma, epsilon = force.getParticleParameters(a)
        nonbonded.addParticle(charge / np.sqrt(dielectric), sigma, epsilon)
    for k in range(force.getNumExceptions()):
        a, b, product, sigma, epsilon = force.getExceptionParameters(k)
        if a in place and b in place:
            nonbonded.addException(place[a], place[b], product / dielectric, sigma, epsilon)
    return nonbonded


def _make_springs(
    system: mm.System, place: dict[int, int], heavy: np.ndarray, bonded: set[frozenset[int]]
) -> mm.HarmonicBondForce:
    """Springs in place of constrained hydrogens, whose bond terms OpenMM leaves out."""
    springs = mm.HarmonicBondForce()
    for k in range(system.getNumConstraints()):
        a, b, length = system.getConstraintParameters(k)
        if a not in place or b not in place or frozenset((a, b)) in bonded:
            continue
        if heavy[a] and heavy[b]:
            raise InputError(
                f"particles {a} and {b} are heavy atoms at a constrained distance, so the System does not know their "
                "bond's energy; give one with constraints=HBonds or none"
            )
        springs.addBond(place[a], place[b], length, _SPRING)
    return springs
