"""GROMACS' input files of a System: topology (through ParmEd), structure, index and run parameters.

ParmEd reads the bonded and nonbonded parameters of an OpenMM System, but neither its masses nor its constraints: a
bond that OpenMM constrains has lost its parameters and would get none, and hydrogens made heavy would be light again.
Both are filled in here. GROMACS then constrains the same bonds to the same lengths, so the force constants that it
asks for are never used.
"""

import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import openmm as mm
from openmm import unit

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.files import write_atomically
from openmm_neuralmd.reference.protocol import (
    FRICTION_PER_PS,
    RESTRAINT_KJ_PER_MOL_NM2,
    START_TEMPERATURE,
    Phase,
    Protocol,
)
from openmm_neuralmd.reference.system import MolecularSystem

_KNOWN_FORCES = (
    mm.HarmonicBondForce,
    mm.HarmonicAngleForce,
    mm.PeriodicTorsionForce,
    mm.NonbondedForce,
    mm.CMMotionRemover,
)
_UNUSED_BOND_CONSTANT = 500.0  # kcal/mol/A^2, of bonds that are constrained
_COMPRESSIBILITY_PER_BAR = 4.5e-5  # of water
_LONGEST_VACUUM_NM = 12.0  # cutoff of a run in vacuum; the edge of its box is three times as long
_MINIMISATION_STEPS = 2000  # at most; a maximal force of 500 kJ/mol/nm ends it before
_LOG_ENTRIES = 500  # of a phase, however long it is


def check_convertible(system: mm.System) -> None:
    """Refuse what GROMACS would not get.

    Raises:
        NotImplementedError: If there are other forces, virtual sites or several of one kind.
    """
    for force in system.getForces():
        if not isinstance(force, _KNOWN_FORCES):
            raise NotImplementedError(
                f"{type(force).__name__} cannot be passed on to GROMACS: it takes harmonic bonds and angles, periodic "
                "torsions and nonbonded forces; use `engine=openmm`"
            )
    for kind in _KNOWN_FORCES[:4]:
        if sum(isinstance(f, kind) for f in system.getForces()) > 1:
            raise NotImplementedError(f"several {kind.__name__} cannot be passed on to GROMACS; use `engine=openmm`")
    if any(system.isVirtualSite(k) for k in range(system.getNumParticles())):
        raise NotImplementedError("virtual sites cannot be passed on to GROMACS here; use `engine=openmm`")
    nonbonded = get_nonbonded(system)
    if nonbonded.getNonbondedMethod() not in (mm.NonbondedForce.PME, mm.NonbondedForce.NoCutoff):
        raise NotImplementedError("GROMACS runs here use PME, or no cutoff in vacuum; use `engine=openmm`")
    if nonbonded.getUseSwitchingFunction():
        raise NotImplementedError("OpenMM's Lennard-Jones switch is not GROMACS'; use `engine=openmm`")


def get_nonbonded(system: mm.System) -> mm.NonbondedForce:
    """The nonbonded force of a System.

    Raises:
        InputError: If there is none.
    """
    for force in system.getForces():
        if isinstance(force, mm.NonbondedForce):
            return force
    raise InputError("the System has no NonbondedForce: give one with a whole force field")


def choose_constraints(molecules: MolecularSystem) -> str:
    """The mdp's ``constraints`` that holds the same bonds as the System: "none" or "h-bonds"; water is always rigid.

    Raises:
        NotImplementedError: If other bonds are constrained.
    """
    system = molecules.system
    pairs = {frozenset(system.getConstraintParameters(k)[:2]) for k in range(system.getNumConstraints())}
    is_hydrogen = [a.element is not None and a.element.atomic_number == 1 for a in molecules.topology.atoms()]
    is_water = _find_water(molecules)
    held = {p for p in pairs if not all(is_water[k] for k in p)}
    bonds = {frozenset((b[0].index, b[1].index)) for b in molecules.topology.bonds() if not is_water[b[0].index]}
    hydrogen_bonds = {b for b in bonds if any(is_hydrogen[k] for k in b)}
    if len(pairs) - len(held) != sum(is_water):  # three constraints for three atoms
        raise NotImplementedError("GROMACS runs here need rigid water; make the System with rigidWater=True")
    if held == hydrogen_bonds:
        return "h-bonds" if held else "none"
    if not held:
        return "none"
    raise NotImplementedError(
        f"{len(held)} bonds are constrained, {len(hydrogen_bonds)} are bonds to hydrogen: GROMACS runs here need all "
        "of these, or none (constraints=HBonds or None)"
    )


def write_gromacs_topology(molecules: MolecularSystem, path: Path) -> None:
    """Write a .top file of all molecules, with restraints under POSRES and rigid water.

    Raises:
        NotImplementedError: If the System holds what GROMACS would not get.
    """
    check_convertible(molecules.system)
    choose_constraints(molecules)
    structure = _convert(molecules)
    text = io.StringIO()
    type(structure).write(structure, text)
    write_atomically(path, _add_restraints(text.getvalue(), molecules))


def _convert(molecules: MolecularSystem) -> Any:
    """A ParmEd ``GromacsTopologyFile`` with all masses, and with parameters for constrained bonds."""
    import parmed

    system = molecules.system
    structure = parmed.openmm.load_topology(molecules.topology, system, xyz=molecules.positions * unit.nanometer)
    for atom in structure.atoms:
        atom.mass = system.getParticleMass(atom.idx).value_in_unit(unit.dalton)
        is_hydrogen = atom.atomic_number == 1
        if is_hydrogen != atom.name.startswith("H"):  # by its first letter GROMACS tells a hydrogen
            atom.name = f"H{atom.name}" if is_hydrogen else f"X{atom.name}"
    bonds = {frozenset((b.atom1.idx, b.atom2.idx)): b for b in structure.bonds}
    types: dict[float, Any] = {}
    for k in range(system.getNumConstraints()):
        first, second, length = system.getConstraintParameters(k)
        angstrom = round(length.value_in_unit(unit.angstrom), 6)
        bond = bonds.get(frozenset((first, second)))
        if bond is not None and bond.type is not None:
            continue
        if angstrom not in types:
            types[angstrom] = parmed.BondType(_UNUSED_BOND_CONSTANT, angstrom)
            structure.bond_types.append(types[angstrom])
        if bond is None:  # between the hydrogens of a water
            bond = parmed.Bond(structure.atoms[first], structure.atoms[second])
            structure.bonds.append(bond)
        bond.type = types[angstrom]
    structure.bond_types.claim()
    untyped = [b for b in structure.bonds if b.type is None]
    if untyped:
        names = f"{untyped[0].atom1.residue.name}:{untyped[0].atom1.name}-{untyped[0].atom2.name}"
        raise InputError(
            f"{len(untyped)} bonds have neither parameters nor a constraint in the System, such as {names}"
        )
    return parmed.gromacs.GromacsTopologyFile.from_structure(structure)


def _add_restraints(text: str, molecules: MolecularSystem) -> str:
    """The topology with restraints on heavy atoms of the complex, and without ParmEd's note on user and host."""
    atoms = list(molecules.topology.atoms())
    in_complex = {atoms[k].residue.name for k in molecules.find_complex()}
    lines: list[str] = []
    heavy: list[int] = []
    section = ""
    for line in text[text.index("[ defaults ]") :].splitlines():
        if line.startswith("["):
            section = line.strip("[ ]")
            if section in ("moleculetype", "system") and heavy:
                lines += ["#ifdef POSRES", "[ position_restraints ]"]
                lines += [f"{k:6d} 1 {3 * f' {RESTRAINT_KJ_PER_MOL_NM2:g}'}" for k in heavy] + ["#endif", ""]
                heavy = []
        elif section == "atoms" and line.strip() and line.lstrip()[0] not in ";#":
            number, _, _, residue, name = line.split()[:5]
            if residue in in_complex and not name.startswith("H"):
                heavy.append(int(number))
        lines.append(line)
    return "\n".join(["; written by openmm_neuralmd from an OpenMM System, through ParmEd", "", *lines, ""])


def write_structure(molecules: MolecularSystem, path: Path, positions: np.ndarray | None = None) -> None:
    """Write a .gro file with six decimals; positions [nm], (n_atoms, 3), of the start if None."""
    positions = molecules.positions if positions is None else positions
    box = molecules.box if molecules.box is not None else np.eye(3) * choose_vacuum_box(positions)
    lines = ["written by openmm_neuralmd", str(len(positions))]
    for atom, (x, y, z) in zip(molecules.topology.atoms(), positions, strict=True):
        residue = atom.residue
        lines.append(
            f"{(residue.index + 1) % 100000:5d}{residue.name[:5]:<5s}{atom.name[:5]:>5s}{(atom.index + 1) % 100000:5d}"
            f"{x:11.6f}{y:11.6f}{z:11.6f}"
        )
    order = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1))
    lines.append(" ".join(f"{box[i]:.6f}" for i in order))
    write_atomically(path, "\n".join([*lines, ""]))


def write_index(molecules: MolecularSystem, path: Path) -> None:
    """Write an .ndx file with the groups System and Complex."""
    groups = (("System", range(len(molecules.positions))), ("Complex", molecules.find_complex().tolist()))
    write_atomically(path, "".join(f"[ {name} ]\n{_wrap(k + 1 for k in atoms)}\n" for name, atoms in groups))


def choose_vacuum_cutoff(positions: np.ndarray) -> float:
    """A cutoff [nm] beyond the largest distance, with room for it to grow: GROMACS knows no run without one.

    Raises:
        InputError: If the molecules are too large for that.
    """
    largest = float(np.linalg.norm(np.ptp(positions, axis=0)))
    if largest > _LONGEST_VACUUM_NM / 1.5:
        raise InputError(
            f"the complex measures {largest:.1f} nm: too large for a GROMACS run in vacuum; use `solvent=tip3p`"
        )
    return 1.5 * largest


def choose_vacuum_box(positions: np.ndarray) -> float:
    """Edge of a box [nm] in which no atom sees an image of another within the vacuum cutoff."""
    return 3.0 * choose_vacuum_cutoff(positions)


def format_minimisation(molecules: MolecularSystem) -> str:
    """Run parameters of the minimisation."""
    settings = {
        "integrator": "steep",
        "nsteps": _MINIMISATION_STEPS,
        "emtol": 500,
        "define": "-DPOSRES",
        **_format_interactions(molecules),
    }
    return _format(settings)


def format_phase(molecules: MolecularSystem, protocol: Protocol, phase: Phase, *, is_first: bool) -> str:
    """Run parameters of a phase.

    Args:
        molecules: Of the run.
        protocol: Of the run.
        phase: Which.
        is_first: Whether velocities are drawn.
    """
    every = protocol.steps_per_frame if phase.name == "production" else 0
    settings: dict[str, Any] = {
        "integrator": "sd",
        "dt": f"{protocol.timestep_ps:g}",
        "nsteps": phase.n_steps,
        "ld-seed": protocol.seed + phase.first + 1,
        "tc-grps": "System",
        "tau-t": f"{1.0 / FRICTION_PER_PS:g}",
        "ref-t": f"{protocol.temperature_k:g}",
        "comm-mode": "linear",
        "nstlog": max(50, phase.n_steps // _LOG_ENTRIES),
        "nstenergy": every or 500,
        "nstcalcenergy": math.gcd(every or 500, 100),
        "nstxout-compressed": every,
        "compressed-x-grps": "Complex",
        **_format_interactions(molecules),
    }
    if phase.is_restrained:
        settings |= {"define": "-DPOSRES", "refcoord-scaling": "com"}
    if phase.is_heating:
        settings |= {
            "annealing": "single",
            "annealing-npoints": 2,
            "annealing-time": f"0 {phase.n_steps * protocol.timestep_ps:g}",
            "annealing-temp": f"{START_TEMPERATURE:g} {protocol.temperature_k:g}",
        }
    if is_first:
        temperature = START_TEMPERATURE if phase.is_heating else protocol.temperature_k
        settings |= {"gen-vel": "yes", "gen-temp": f"{temperature:g}", "gen-seed": protocol.seed + 1}
    else:
        settings |= {"continuation": "yes"}
    if phase.has_barostat:
        settings |= {
            "pcoupl": "C-rescale",
            "pcoupltype": "isotropic",
            "tau-p": 2,
            "ref-p": f"{protocol.pressure_bar:g}",
            "compressibility": _COMPRESSIBILITY_PER_BAR,
        }
    return _format(settings)


def format_single_point(molecules: MolecularSystem) -> str:
    """Run parameters of energies to compare: converged PME, no shift at the cutoff, no dispersion correction."""
    settings = {
        "integrator": "md",
        "nsteps": 0,
        "continuation": "yes",
        "nstenergy": 1,
        "nstcalcenergy": 1,
        **_format_interactions(molecules),
        "nstlist": 1,
        "vdw-modifier": "None",
        "coulomb-modifier": "None",
        "DispCorr": "no",
    }
    if molecules.is_periodic:
        settings |= {"ewald-rtol": 1e-6, "pme-order": 6, "fourierspacing": 0.06}
    return _format(settings)


def _format_interactions(molecules: MolecularSystem) -> dict[str, Any]:
    nonbonded = get_nonbonded(molecules.system)
    settings: dict[str, Any] = {
        "cutoff-scheme": "Verlet",
        "nstlist": 20,
        "constraints": choose_constraints(molecules),
        "lincs-order": 6,
        "lincs-iter": 2,
    }
    if molecules.is_periodic:
        cutoff = nonbonded.getCutoffDistance().value_in_unit(unit.nanometer)
        correction = "EnerPres" if nonbonded.getUseDispersionCorrection() else "no"
        return settings | {
            "coulombtype": "PME",
            "rcoulomb": f"{cutoff:g}",
            "rvdw": f"{cutoff:g}",
            "DispCorr": correction,
        }
    cutoff = choose_vacuum_cutoff(molecules.positions)
    return settings | {
        "coulombtype": "Cut-off",
        "coulomb-modifier": "None",
        "rcoulomb": f"{cutoff:.3f}",
        "rvdw": f"{cutoff:.3f}",
    }


def _find_water(molecules: MolecularSystem) -> list[bool]:
    atoms = list(molecules.topology.atoms())
    is_water = [False] * len(atoms)
    for residue in molecules.topology.residues():
        members = list(residue.atoms())
        if sorted(a.element.symbol if a.element else "" for a in members) == ["H", "H", "O"]:
            for atom in members:
                is_water[atom.index] = True
    return is_water


def _format(settings: dict[str, Any]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in settings.items())


def _wrap(numbers: Iterable[int]) -> str:
    words = [str(n) for n in numbers]
    return "\n".join(" ".join(words[k : k + 15]) for k in range(0, len(words), 15))
