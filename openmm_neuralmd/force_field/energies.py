"""Force-field energies of ligand snapshots: ligand and pocket cut out of a System, minimised under restraints.

Learned snapshots have ideal bonds and rebuilt hydrogens, MD's have thermal ones. Before energies are compared both are
minimised for a limited number of steps with every heavy atom tied to its place, which takes out hydrogens and bonds
but leaves the pose. The protein beyond the pocket, water and ions are left out; Coulomb energies are divided by a
constant relative permittivity (4 by default, as in the interior of proteins: Gilson and Honig, Biopolymers 25, 2097,
1986) and nothing is cut off.
"""

from collections.abc import Sequence
from pathlib import Path

import mdtraj
import numpy as np
import openmm as mm
from openmm import Platform, app, unit

from openmm_neuralmd.analysis.energetics import Interaction
from openmm_neuralmd.errors import InputError, TopologyMismatchError, describe_error
from openmm_neuralmd.files import find_format
from openmm_neuralmd.force_field.force_field_files import load_openmm_force_field
from openmm_neuralmd.force_field.subsystem import check_forces, check_not_bonded, cut_system
from openmm_neuralmd.force_field.system_files import read_system
from openmm_neuralmd.io.topologies import load_topology
from openmm_neuralmd.molecule.complex import read_pdb
from openmm_neuralmd.molecule.ligand import select_ligand
from openmm_neuralmd.molecule.residues import CAP, classify_residue
from openmm_neuralmd.molecule.site import list_residues

DIELECTRIC = 4.0
"""Relative permittivity inside a protein, where one stands for all that does not move: 2 to 4 are usual."""
MAX_STEPS = 50
"""Of a snapshot's minimisation: bonds and angles come to rest, the pose hardly moves."""
RESTRAINT = 4184.0
"""[kJ/mol/nm^2], 10 kcal/mol/A^2 in k/2 (x - x0)^2: bonds and angles are stiffer, torsions and the pose softer."""
_LIGAND_STEPS = 1000  # few atoms: to convergence
_TOLERANCE = 1.0  # [kJ/mol/nm]
_COULOMB = 138.93545764438198  # [kJ/mol nm/e^2], OpenMM's ONE_4PI_EPS0
_RESTRAINT_GROUP = 1  # any other than the force field's 0


class ForceFieldModel:
    """A System with its structure; atoms are cut out of it by ``bind``."""

    def __init__(
        self,
        system: mm.System,
        topology: mdtraj.Topology,
        positions: np.ndarray,
        source: str,
        *,
        dielectric: float = DIELECTRIC,
        max_steps: int = MAX_STEPS,
    ) -> None:
        """Take a System for its parameters.

        Args:
            system: Of all atoms of ``topology``; solvent welcome.
            topology, positions: Positions in nm, (n_atoms, 3).
            source: Where it came from, for the report.
            dielectric: Relative permittivity that divides Coulomb energies.
            max_steps: Of minimisation.

        Raises:
            InputError: If a number is out of range, or the System holds forces that cannot be cut.
            TopologyMismatchError: If the System has another number of atoms.
        """
        if not dielectric >= 1.0 or not np.isfinite(dielectric):
            raise InputError(f"`dielectric` {dielectric:g}: give a relative permittivity of at least 1")
        if max_steps < 1:
            raise InputError(f"`max_steps` {max_steps}: give at least 1")
        if system.getNumParticles() != topology.n_atoms:
            raise TopologyMismatchError(
                f"{source}: the System has {system.getNumParticles()} particles, its structure {topology.n_atoms} "
                "atoms; give the structure that the System was made from"
            )
        check_forces(system, source)
        self.topology, self.positions = topology, positions
        self._system, self._source = system, source
        self._dielectric, self._max_steps = dielectric, max_steps

    @property
    def protocol(self) -> dict[str, str | float]:
        return {
            "parameters": self._source,
            "dielectric": self._dielectric,
            "max_steps": self._max_steps,
            "restraint_kj_per_mol_nm2": RESTRAINT,
            "text": (
                f"Parameters: {self._source}. Vacuum, no cutoff, Coulomb energies divided by {self._dielectric:g}; "
                "water and ions left out. "
                f"Each complex after at most {self._max_steps} L-BFGS steps with all heavy atoms tied to their place "
                f"({RESTRAINT / 418.4:.0f} kcal/mol/\u00c5\u00b2), hydrogens free."
            ),
        }

    def bind(self, ligand: np.ndarray, protein: np.ndarray) -> "SnapshotEnergies":
        heavy = np.array([a.element is not None and a.element.atomic_number > 1 for a in self.topology.atoms])
        check_not_bonded(self._system, ligand)
        return SnapshotEnergies(
            self._system, ligand, protein, heavy, dielectric=self._dielectric, max_steps=self._max_steps
        )


class SnapshotEnergies:
    """Energies of snapshots of one ligand and the protein atoms around it; see ``ForceFieldModel``."""

    def __init__(
        self,
        system: mm.System,
        ligand: np.ndarray,
        protein: np.ndarray,
        heavy: np.ndarray,
        *,
        dielectric: float,
        max_steps: int,
    ) -> None:
        self._n_ligand, self._max_steps = len(ligand), max_steps
        self.is_heavy = heavy[ligand]
        """Of the ligand's atoms, bool, (n_ligand,)."""
        self._ligand_heavy = np.nonzero(self.is_heavy)[0]
        self._alone = _Minimiser(cut_system(system, ligand, heavy, dielectric), heavy[ligand], "Reference")
        self._complex: _Minimiser | None = None
        if len(protein):
            atoms = np.concatenate([ligand, protein])
            cut = cut_system(system, atoms, heavy, dielectric)
            self._complex = _Minimiser(cut, heavy[atoms], "CPU")
            self._pairs = _CrossTerms(cut, self._n_ligand)

    def compute_interaction(self, ligand: np.ndarray, protein: np.ndarray) -> Interaction:
        """E(complex) - E(protein) - E(ligand) at one geometry, that of the minimised complex.

        Args:
            ligand: All its atoms [nm], (n_ligand, 3).
            protein: All atoms that were bound [nm], (n_protein, 3).
        """
        if self._complex is None:
            raise InputError("no protein atoms were bound, so there is no interaction energy")
        start = np.concatenate([ligand, protein])
        found = self._complex.minimise(start, self._max_steps)
        moved = (found - start)[self._ligand_heavy]
        return Interaction(*self._pairs.compute(found), float(np.sqrt((moved**2).sum(axis=1).mean())))

    def compute_conformation(self, ligand: np.ndarray) -> tuple[float, float]:
        """Energy [kJ/mol] of the ligand alone after restrained minimisation, and after free minimisation from there.

        Args:
            ligand: All its atoms [nm], (n_ligand, 3).
        """
        held = self._alone.minimise(np.asarray(ligand), _LIGAND_STEPS)
        energy = self._alone.compute_energy()
        self._alone.minimise(held, _LIGAND_STEPS, stiffness=0.0)
        return energy, self._alone.compute_energy()

    def compute_forces(self, ligand: np.ndarray, protein: np.ndarray) -> tuple[float, np.ndarray]:
        """E(complex) - E(protein) [kJ/mol] as it stands, nothing minimised, and the force on each ligand atom.

        Args:
            ligand: All its atoms [nm], (n_ligand, 3).
            protein: All atoms that were bound, at least one [nm], (n_protein, 3).

        Returns:
            The energy, and -dE/dx of the ligand's atoms [kJ/mol/nm], (n_ligand, 3).
        """
        energy, forces = self._alone.compute_forces(ligand)
        positions = np.concatenate([ligand, protein])
        return energy + sum(self._pairs.compute(positions)), forces + self._pairs.compute_forces(positions)


class _Minimiser:
    """A Context whose heavy atoms can be tied to where they start."""

    def __init__(self, system: mm.System, heavy: np.ndarray, platform: str) -> None:
        self._ties = mm.CustomExternalForce("tie/2*((x-x0)^2+(y-y0)^2+(z-z0)^2)")
        self._ties.addGlobalParameter("tie", RESTRAINT)
        for name in ("x0", "y0", "z0"):
            self._ties.addPerParticleParameter(name)
        self._heavy = np.nonzero(heavy)[0].tolist()
        for atom in self._heavy:
            self._ties.addParticle(atom, [0.0, 0.0, 0.0])
        self._ties.setForceGroup(_RESTRAINT_GROUP)
        system.addForce(self._ties)
        self._context = mm.Context(system, mm.VerletIntegrator(0.001), Platform.getPlatformByName(platform))

    def minimise(self, positions: np.ndarray, max_steps: int, *, stiffness: float = RESTRAINT) -> np.ndarray:
        """Positions [nm] after at most ``max_steps`` L-BFGS steps."""
        for k, atom in enumerate(self._heavy):
            self._ties.setParticleParameters(k, atom, positions[atom])
        self._ties.updateParametersInContext(self._context)
        self._context.setParameter("tie", stiffness)
        self._context.setPositions(positions)
        mm.LocalEnergyMinimizer.minimize(self._context, _TOLERANCE, max_steps)
        return np.asarray(self._context.getState(positions=True).getPositions(asNumpy=True)._value)

    def compute_forces(self, positions: np.ndarray) -> tuple[float, np.ndarray]:
        """Energy [kJ/mol] and forces [kJ/mol/nm], (n_atoms, 3), at ``positions`` [nm], without the ties."""
        self._context.setPositions(positions)
        state = self._context.getState(energy=True, forces=True, groups={0})
        return float(state.getPotentialEnergy()._value), np.asarray(state.getForces(asNumpy=True)._value)

    def compute_energy(self) -> float:
        """Without the ties [kJ/mol]."""
        return float(self._context.getState(energy=True, groups={0}).getPotentialEnergy()._value)


class _CrossTerms:
    """Coulomb and Lennard-Jones terms between the first atoms of a System and the rest."""

    def __init__(self, system: mm.System, n_first: int) -> None:
        force = next(f for f in system.getForces() if isinstance(f, mm.NonbondedForce))
        table = np.array([[v._value for v in force.getParticleParameters(k)] for k in range(force.getNumParticles())])
        (q, s, e), (charge, sigma, epsilon) = table[:n_first].T, table[n_first:].T
        self._n_first = n_first
        self._charges = _COULOMB * q[:, None] * charge
        self._sigma = 0.5 * (s[:, None] + sigma)
        self._epsilon = 4.0 * np.sqrt(e[:, None] * epsilon)

    def compute(self, positions: np.ndarray) -> tuple[float, float]:
        """Both energies [kJ/mol] at positions [nm]."""
        distances = np.linalg.norm(self._find_vectors(positions), axis=-1)
        sixth = (self._sigma / distances) ** 6
        return float((self._charges / distances).sum()), float((self._epsilon * (sixth**2 - sixth)).sum())

    def compute_forces(self, positions: np.ndarray) -> np.ndarray:
        """Forces of both on the first atoms [kJ/mol/nm], (n_first, 3)."""
        vectors = self._find_vectors(positions)
        squares = (vectors**2).sum(axis=-1)
        sixth = self._sigma**6 / squares**3
        slopes = self._charges / np.sqrt(squares) + self._epsilon * (12.0 * sixth**2 - 6.0 * sixth)
        return np.asarray(((slopes / squares)[..., None] * vectors).sum(axis=1))

    def _find_vectors(self, positions: np.ndarray) -> np.ndarray:
        return positions[: self._n_first, None] - positions[self._n_first :]


def load_system_model(
    system: str | Path, structure: str | Path, *, dielectric: float = DIELECTRIC, max_steps: int = MAX_STEPS
) -> ForceFieldModel:
    """A serialized System with the structure it was made from.

    Args:
        system: XML, perhaps gzipped.
        structure: PDB, PDBx/mmCIF, GRO or another topology with positions, same atoms in the same order.
        dielectric, max_steps: As in ``ForceFieldModel``.

    Raises:
        InputError: If a file cannot be read or used.
        TopologyMismatchError: If they do not fit together.
    """
    path = Path(system)
    topology, positions = load_topology(Path(structure))
    if positions is None:
        raise InputError(f"{structure}: has no positions; give a PDB, PDBx or GRO file (`structure`)")
    read = read_system(path)
    return ForceFieldModel(read, topology, positions, path.name, dielectric=dielectric, max_steps=max_steps)


def load_force_field_model(
    files: Sequence[str | Path],
    structure: str | Path,
    *,
    ligand: str | None = None,
    dielectric: float = DIELECTRIC,
    max_steps: int = MAX_STEPS,
    allow_scripts: bool = False,
) -> ForceFieldModel:
    """A force field applied to the protein and ligand of a structure; all else in it is left out.

    Args:
        files: Force-field XML files, OpenMM's own by name, the ligand's among them.
        structure: PDB or PDBx/mmCIF with hydrogens and the ligand's bonds.
        ligand: Residue name; may be None if only one residue can be the ligand.
        dielectric, max_steps: As in ``ForceFieldModel``.
        allow_scripts: Run the Python code that the files hold, see ``load_openmm_force_field``.

    Raises:
        InputError: If a file cannot be read, holds code, or has no parameters for a residue.
    """
    path = Path(structure)
    if find_format(path) not in (".pdb", ".cif", ".pdbx", ".mmcif") or not path.is_file():
        raise InputError(f"{path}: give a PDB or PDBx file with hydrogens and the ligand's bonds (`structure`)")
    read = read_pdb(path)
    topology = mdtraj.Topology.from_openmm(read.topology)
    residue = select_ligand(topology, ligand)
    kept = {r.index for r in list_residues(topology, residue)} | {residue.index}
    kept |= {r.index for r in topology.residues if classify_residue(r) == CAP}
    modeller = app.Modeller(read.topology, read.positions)
    modeller.delete([r for r in read.topology.residues() if r.index not in kept])
    names = ", ".join(Path(f).name for f in files)
    force_field = load_openmm_force_field(files, allow_scripts=allow_scripts)
    try:
        system = force_field.createSystem(modeller.topology, nonbondedMethod=app.NoCutoff)
    except Exception as error:  # unknown templates and terms: ValueError, KeyError
        raise InputError(
            f"{names} on {path.name}: {describe_error(error)} (the ligand's parameters: `ligand_parameters`; "
            "hydrogens and termini must be complete)"
        ) from error
    positions = np.asarray(modeller.positions.value_in_unit(unit.nanometer), dtype=np.float64)
    return ForceFieldModel(
        system, mdtraj.Topology.from_openmm(modeller.topology), positions, names, dielectric=dielectric,
        max_steps=max_steps,
    )  # fmt: skip
