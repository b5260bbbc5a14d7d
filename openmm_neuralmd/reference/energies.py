"""Whether two engines compute the same energies: one structure, term by term, through OpenMM and GROMACS."""

import copy
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openmm as mm

from openmm_neuralmd.checks import check_arguments, check_threads
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.files import write_atomically
from openmm_neuralmd.reference.gromacs_files import (
    format_single_point,
    get_nonbonded,
    write_gromacs_topology,
    write_index,
    write_structure,
)
from openmm_neuralmd.reference.gromacs_tools import (
    call_gromacs,
    format_threads,
    make_run_input,
    read_energy_file,
)
from openmm_neuralmd.reference.system import MolecularSystem
from openmm_neuralmd.simulation.run import find_platform

GROMACS_TERMS = {
    "bonds": ("Bond",),
    "angles": ("Angle",),
    "torsions": ("Proper Dih.", "Per. Imp. Dih."),
    "Lennard-Jones": ("LJ-14", "LJ (SR)"),
    "Coulomb": ("Coulomb-14", "Coulomb (SR)", "Coul. recip."),
    "total": ("Potential",),
}
RELATIVE_TOLERANCE = 5e-5
"""Of each term: OpenMM's CPU platform computes pairs in single precision."""
ABSOLUTE_TOLERANCE = 0.1
"""[kJ/mol], beside the relative one: topologies hold rounded numbers."""
_MANY_THREADS = 32  # of GROMACS in single precision, where each adds up its energies in one number
_MINIMISATION_STEPS = 100  # at most; enough to take overlaps away
_EWALD_TOLERANCE = 1e-6  # at which both engines' PME is converged


@dataclass(frozen=True)
class EnergyComparison:
    """Energies of one structure [kJ/mol], by term."""

    openmm: Mapping[str, float]
    gromacs: Mapping[str, float]

    def get_tolerance(self, term: str) -> float:
        """Largest difference that counts as agreement [kJ/mol]."""
        return max(ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE * abs(self.openmm[term]))

    def find_disagreements(self) -> list[str]:
        """Terms that differ by more than their tolerance."""
        return [
            t for t in GROMACS_TERMS if not abs(self.gromacs[t] - self.openmm[t]) <= self.get_tolerance(t)
        ]  # not <=: NaN disagrees

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            term: {
                "openmm_kj_per_mol": self.openmm[term],
                "gromacs_kj_per_mol": self.gromacs[term],
                "tolerance_kj_per_mol": self.get_tolerance(term),
            }
            for term in GROMACS_TERMS
        }

    def format(self) -> str:
        """A table for people."""
        lines = [f"{'[kJ/mol]':14s}{'OpenMM':>15s}{'GROMACS':>15s}{'difference':>12s}{'tolerance':>11s}"]
        for t in GROMACS_TERMS:
            a, b = self.openmm[t], self.gromacs[t]
            lines.append(f"{t:14s}{a:15.3f}{b:15.3f}{b - a:12.4f}{self.get_tolerance(t):11.3f}")
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        """Write a CSV file."""
        rows = [f"{t},{self.openmm[t]:.6f},{self.gromacs[t]:.6f},{self.get_tolerance(t):.6f}" for t in GROMACS_TERMS]
        header = "term,openmm_kj_per_mol,gromacs_kj_per_mol,tolerance_kj_per_mol"
        write_atomically(path, "\n".join([header, *rows, ""]))


@check_arguments(threads=lambda name, threads: check_threads(threads, name))
def compare_energies(
    molecules: MolecularSystem, *, positions: np.ndarray | None = None, threads: int | None = None
) -> EnergyComparison:
    """Energies of the same coordinates through both engines.

    Constrained bonds have no energy in either. PME is converged in both (their usual grids differ), and the long-range
    dispersion correction is left out: they average it over different sets of pairs.

    Args:
        molecules: The system.
        positions: [nm], (n_atoms, 3); its start after a short minimisation if None, as close contacts of a start
            amplify rounding.
        threads: Of both engines.

    Raises:
        InputError, NotImplementedError: If GROMACS is missing or cannot take the system.
    """
    if positions is None:
        positions = _minimise(molecules, threads)
    positions = np.round(positions, 6)  # what a .gro file holds
    with tempfile.TemporaryDirectory(prefix="neuralmd-energies-") as folder:
        gromacs = compute_gromacs_energies(molecules, positions, Path(folder), threads=threads)
    return EnergyComparison(compute_openmm_energies(molecules, positions, threads=threads), gromacs)


def require_agreement(comparison: EnergyComparison) -> None:
    """Raise where the engines disagree.

    Raises:
        InputError: With the worst term.
    """
    wrong = comparison.find_disagreements()
    if wrong:
        worst = max(
            wrong, key=lambda t: abs(comparison.gromacs[t] - comparison.openmm[t]) / comparison.get_tolerance(t)
        )
        raise InputError(
            f"OpenMM and GROMACS disagree in {', '.join(wrong)}: {worst} {comparison.openmm[worst]:.3f} and "
            f"{comparison.gromacs[worst]:.3f} kJ/mol, {comparison.get_tolerance(worst):.3f} allowed; this System is "
            "not what GROMACS would run, use `engine=openmm`"
        )


def compute_openmm_energies(
    molecules: MolecularSystem, positions: np.ndarray, *, threads: int | None = None
) -> dict[str, float]:
    """Energy terms [kJ/mol] through OpenMM's CPU platform.

    Not its Reference platform: in version 8.6.1 that one misses Lennard-Jones pairs in triclinic boxes (5 of 1635
    kJ/mol against a direct sum, with which the CPU platform and GROMACS agree).
    """
    system = copy.deepcopy(molecules.system)
    nonbonded = get_nonbonded(system)
    nonbonded.setUseDispersionCorrection(False)
    nonbonded.setEwaldErrorTolerance(_EWALD_TOLERANCE)
    groups = {mm.HarmonicBondForce: 1, mm.HarmonicAngleForce: 2, mm.PeriodicTorsionForce: 3, mm.NonbondedForce: 4}
    for force in system.getForces():
        force.setForceGroup(groups.get(type(force), 0))
    bonds, angles, torsions, both = _evaluate(system, positions, threads)
    for k in range(nonbonded.getNumParticles()):
        _, sigma, epsilon = nonbonded.getParticleParameters(k)
        nonbonded.setParticleParameters(k, 0.0, sigma, epsilon)
    for k in range(nonbonded.getNumExceptions()):
        first, second, _, sigma, epsilon = nonbonded.getExceptionParameters(k)
        nonbonded.setExceptionParameters(k, first, second, 0.0, sigma, epsilon)
    lennard_jones = _evaluate(system, positions, threads)[3]
    return {
        "bonds": bonds,
        "angles": angles,
        "torsions": torsions,
        "Lennard-Jones": lennard_jones,
        "Coulomb": both - lennard_jones,
        "total": bonds + angles + torsions + both,
    }


def compute_gromacs_energies(
    molecules: MolecularSystem, positions: np.ndarray, folder: Path, *, threads: int | None = None
) -> dict[str, float]:
    """Energy terms [kJ/mol] through ``mdrun -rerun``; its files stay in ``folder``.

    In double precision (``gmx_d``) where that is installed. In single precision GROMACS adds up to 1e5 numbers in one:
    95 of 447,161 kJ/mol were lost on one thread, 1.2 on 32, 0.08 in double precision (34,860 atoms).
    """
    write_gromacs_topology(molecules, folder / "system.top")
    write_structure(molecules, folder / "start.gro", positions)
    write_index(molecules, folder / "index.ndx")
    write_atomically(folder / "point.mdp", format_single_point(molecules))
    make_run_input(folder, "point", start="start.gro", accept_fast_bonds=True)
    double = shutil.which("gmx_d")
    number = format_threads(threads if double else _MANY_THREADS)
    call_gromacs(["mdrun", "-deffnm", "point", "-rerun", "start.gro", *number], folder, program=double)
    _, found = read_energy_file(folder / "point.edr", [name for names in GROMACS_TERMS.values() for name in names])
    return {term: float(sum(found[n][0] for n in names if n in found)) for term, names in GROMACS_TERMS.items()}


def _evaluate(system: mm.System, positions: np.ndarray, threads: int | None) -> list[float]:
    """Energies of force groups 1 to 4 [kJ/mol]."""
    context = _create_context(system, threads)
    context.setPositions(positions)
    return [context.getState(energy=True, groups={k}).getPotentialEnergy()._value for k in (1, 2, 3, 4)]


def _minimise(molecules: MolecularSystem, threads: int | None) -> np.ndarray:
    context = _create_context(molecules.system, threads)
    context.setPositions(molecules.positions)
    mm.LocalEnergyMinimizer.minimize(context, maxIterations=_MINIMISATION_STEPS)
    positions: np.ndarray = context.getState(positions=True).getPositions(asNumpy=True)._value
    return positions


def _create_context(system: mm.System, threads: int | None) -> mm.Context:
    return mm.Context(system, mm.VerletIntegrator(0.001), find_platform("CPU"), {"Threads": str(threads or 1)})
