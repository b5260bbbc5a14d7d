"""Built atoms and hydrogens brought to a sensible geometry with Amber14, everything deposited staying where it is."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import openmm as mm
from openmm import Platform, app, unit
from openmm.app import CutoffNonPeriodic, ForceField, Modeller, Topology

from openmm_neuralmd.errors import describe_error
from openmm_neuralmd.preparation.protein import CAPS

_FORCE_FIELD = Path(app.__file__).parent / "data" / "amber14-all.xml"
"""By its path: OpenMM would take a file of that name in the current folder, which may hold code."""
_MAX_ITERATIONS = 1000  # of each of three minimisations
_TOLERANCE = 10.0  # [kJ/mol/nm]
_LEAST_TRANS_DEGREES = 150.0  # a peptide that is less far from cis is not trans
_NONBONDED_GROUP = 1  # any other than the bonded forces' 0
_SPHERE_NM = 0.32  # of ligand and other molecules, a typical Lennard-Jones diameter
_SPHERE_KJ_PER_MOL = 0.4  # a typical Lennard-Jones depth

_PLANARITY_KJ_PER_MOL = 200.0  # per square radian; steep at cis, where 1 + cos would have no slope
_HANDEDNESS_KJ_PER_MOL = 2000.0  # per square radian
_IMPROPER_RAD = 0.59  # CA-N-C-CB of L amino acids, mean of PDB 2IWX; of CA-N-C-HA about the negative

AtomPlace = tuple[str, str, str, str]  # chain, number, insertion code, atom name


def relax_built(
    topology: Topology, positions: np.ndarray, deposited: Collection[AtomPlace], n_polymer: int, *, platform: Platform
) -> str | None:
    """Minimise the protein's atoms that were not deposited, in place.

    Args:
        topology: Protein and nucleic acids first, hydrogens included, then ligand and other molecules.
        positions: [nm], (n_atoms, 3); changed.
        deposited: Atoms that do not move.
        n_polymer: Residues of protein and nucleic acids.
        platform: For the minimisation.

    Returns:
        None, or why nothing was done: a residue that the force field does not know.
    """
    rest = [r for k, r in enumerate(topology.residues()) if k >= n_polymer]
    modeller = Modeller(topology, positions * unit.nanometer)
    modeller.delete(rest)
    try:
        system = ForceField(str(_FORCE_FIELD)).createSystem(modeller.topology, nonbondedMethod=CutoffNonPeriodic)
    except ValueError as error:
        return describe_error(error)
    polymer = [a for k, r in enumerate(topology.residues()) if k < n_polymer for a in r.atoms()]
    for k, atom in enumerate(polymer):
        if atom.residue.name not in CAPS and get_key(atom) in deposited:
            system.setParticleMass(k, 0.0)
    spheres = [a.index for r in rest for a in r.atoms()]
    nonbonded = next(f for f in system.getForces() if isinstance(f, mm.NonbondedForce))
    for _ in spheres:  # they keep the built atoms off the ligand
        system.addParticle(0.0)
        nonbonded.addParticle(0.0, _SPHERE_NM, _SPHERE_KJ_PER_MOL)
    system.addForce(_build_planarity(modeller.topology, deposited))
    system.addForce(_build_handedness(modeller.topology, deposited))
    nonbonded.setForceGroup(_NONBONDED_GROUP)
    integrator = mm.VerletIntegrator(0.001)
    context = mm.Context(system, integrator, platform)
    order = [a.index for a in polymer] + spheres
    context.setPositions(positions[order])
    bonded_only = 0xFFFFFFFF & ~(1 << _NONBONDED_GROUP)
    for groups, strength in ((bonded_only, 1.0), (0xFFFFFFFF, 1.0), (0xFFFFFFFF, 0.0)):
        integrator.setIntegrationForceGroups(groups)  # overlaps would tear peptides that are not yet in shape
        context.setParameter("strength", strength)
        mm.LocalEnergyMinimizer.minimize(context, _TOLERANCE, _MAX_ITERATIONS)
    positions[order] = context.getState(positions=True).getPositions(asNumpy=True)._value
    return None


def find_strained(topology: Topology, positions: np.ndarray, deposited: Collection[AtomPlace]) -> list[str]:
    """Built peptide bonds that are still twisted or cis, with their torsion [degrees]."""
    found = []
    for atoms in list_built_peptides(topology, deposited):
        torsion = _compute_torsion(positions[[a.index for a in atoms]])
        if abs(torsion) < _LEAST_TRANS_DEGREES:
            first, second = atoms[1].residue, atoms[2].residue
            found.append(f"{first.name}:{first.chain.id}:{first.id}-{second.name}:{second.id} ({torsion:.0f} degrees)")
    return found


def _compute_torsion(points: np.ndarray) -> float:
    before, axis, after = np.diff(points, axis=0)
    first, second = np.cross(before, axis), np.cross(axis, after)
    return float(np.degrees(np.arctan2(np.cross(first, second) @ axis / np.linalg.norm(axis), first @ second)))


def list_built_peptides(topology: Topology, deposited: Collection[AtomPlace]) -> list[tuple[Any, Any, Any, Any]]:
    """CA, C, N, CA (CH3 of caps) of each peptide bond whose C or N was built."""
    found = []
    for bond in topology.bonds():
        for c, n in (bond, bond[::-1]):
            if (c.name, n.name) != ("C", "N") or c.residue is n.residue:
                continue
            if all(a.residue.name not in CAPS and get_key(a) in deposited for a in (c, n)):
                continue
            ends = [
                next((a for a in r.atoms() if a.name in names), None)
                for r, names in ((c.residue, ("CA", "CH3")), (n.residue, ("CA", "CH3", "C")))
            ]
            if None not in ends:
                found.append((ends[0], c, n, ends[1]))
    return found


def _build_planarity(topology: Topology, deposited: Collection[AtomPlace]) -> mm.CustomTorsionForce:
    """Turns built peptide bonds to trans: Amber's own barrier would keep what PDBFixer left."""
    force = mm.CustomTorsionForce(f"{_PLANARITY_KJ_PER_MOL}*strength*({np.pi}-abs(theta))^2")
    force.addGlobalParameter("strength", 0.0)
    for atoms in list_built_peptides(topology, deposited):
        force.addTorsion(*(a.index for a in atoms))
    return force


def _build_handedness(topology: Topology, deposited: Collection[AtomPlace]) -> mm.CustomTorsionForce:
    """Turns built residues to L, with their hydrogens."""
    force = mm.CustomTorsionForce(f"{_HANDEDNESS_KJ_PER_MOL}*strength*(theta-sign*{_IMPROPER_RAD})^2")
    force.addGlobalParameter("strength", 0.0)
    force.addPerTorsionParameter("sign")
    for residue in topology.residues():
        atoms = {a.name: a for a in residue.atoms()}
        if {"N", "CA", "C", "CB"} <= atoms.keys() and get_key(atoms["CB"]) not in deposited:
            for name, sign in (("CB", 1.0), ("HA", -1.0)):
                if name in atoms:
                    force.addTorsion(*(atoms[k].index for k in ("CA", "N", "C", name)), [sign])
    return force


def get_key(atom: Any) -> AtomPlace:
    """How an OpenMM atom is told from others, whatever is added around it."""
    residue = atom.residue
    return residue.chain.id, residue.id, residue.insertionCode.strip(), atom.name
