"""The molecular system of a reference run: a solvated complex with its force field, built here or given."""

import gzip
import io
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import openmm as mm
from openmm import unit
from openmm.app import PME, CutoffNonPeriodic, ForceField, HBonds, Modeller, NoCutoff, PDBFile, Topology

from openmm_neuralmd.checks import a_count, a_number, check_arguments, check_path, check_text, optional
from openmm_neuralmd.errors import InputError, describe_error
from openmm_neuralmd.files import write_atomically
from openmm_neuralmd.force_field.force_field_files import find_own_file, load_openmm_force_field
from openmm_neuralmd.force_field.movers import COUPLINGS
from openmm_neuralmd.force_field.system_files import read_system
from openmm_neuralmd.molecule.chemistry import read_sdf
from openmm_neuralmd.molecule.complex import (
    Complex,
    is_prepared,
    load_complex,
    read_pdb,
)
from openmm_neuralmd.molecule.residues import is_bulk, is_ligand_like
from openmm_neuralmd.reference.implicit import (
    IMPLICIT_CUTOFF_NM,
    IMPLICIT_SOLVENTS,
    get_solvent_file,
    replace_by_native_force,
)
from openmm_neuralmd.reference.parameters import find_ambertools, make_parameters
from openmm_neuralmd.simulation.start import choose_complex

SOLVENTS = ("tip3p", *IMPLICIT_SOLVENTS, "none")
FORCE_FIELD = ("amber14-all.xml", "amber14/tip3p.xml")
CUTOFF_NM = 0.9  # of Lennard-Jones forces and of the direct part of PME
HYDROGEN_MASS_DA = 3.0  # taken from the heavy atom, for timesteps of 4 fs; Hopkins et al. (2015), doi:10.1021/ct5010406
SALT_MOLAR = 0.15  # that of blood
PADDING_NM = 1.0  # of water around the complex: more than the cutoff, so that it does not meet its image
_HEAVY_HYDROGEN_DA = 2.5  # hydrogens at least this heavy allow timesteps of 4 fs
PARAMETERS_ADVICE = (
    "give `ligand_parameters=FILE.xml`, an OpenMM force field file with the ligand's residue (docs/reference.md says "
    "how to make one with antechamber), or install acpype, with which it is made from ligand.sdf or `sdf`"
)


@dataclass(frozen=True)
class MolecularSystem:
    """Topology, force field and start of a run.

    Attributes:
        topology: OpenMM's, with box where periodic.
        system: OpenMM's; no barostat, bonds to hydrogens constrained.
        positions: [nm], (n_atoms, 3); molecules whole.
        ligand: Residue name.
        source: Where the complex came from.
        force_field: What the System was made with.
    """

    topology: Topology
    system: mm.System
    positions: np.ndarray
    ligand: str
    source: str
    force_field: str

    @property
    def is_periodic(self) -> bool:
        return bool(self.system.usesPeriodicBoundaryConditions())

    @property
    def box(self) -> np.ndarray | None:
        """Box vectors [nm], (3, 3), in reduced form; None without a box."""
        if not self.is_periodic:
            return None
        return convert_box(self.system.getDefaultPeriodicBoxVectors())

    def find_complex(self) -> np.ndarray:
        """Atoms of everything but water and salt, int64, (n_complex,)."""
        kept = [r for r in self.topology.residues() if not is_bulk(r)]
        return np.array([a.index for r in kept for a in r.atoms()], dtype=np.int64)

    def find_heavy(self) -> np.ndarray:
        """Heavy atoms of the complex, int64: what restraints hold."""
        atoms = list(self.topology.atoms())
        return np.array(
            [k for k in self.find_complex() if atoms[k].element is not None and atoms[k].element.atomic_number > 1],
            dtype=np.int64,
        )

    def choose_timestep(self) -> float:
        """4 fs where the complex' hydrogens were made heavy, else 2 fs; in ps."""
        atoms = list(self.topology.atoms())
        masses = [
            self.system.getParticleMass(int(k))._value
            for k in self.find_complex()
            if atoms[k].element is not None and atoms[k].element.atomic_number == 1
        ]
        return 0.004 if masses and min(masses) >= _HEAVY_HYDROGEN_DA else 0.002

    def format_complex(self) -> str:
        """PDB text of the complex at the start, ligand with CONECT records."""
        modeller = Modeller(self.topology, self.positions * unit.nanometer)
        kept = set(self.find_complex().tolist())
        modeller.delete([a for a in self.topology.atoms() if a.index not in kept])
        return _format_pdb(modeller.topology, np.array(modeller.positions.value_in_unit(unit.nanometer)))

    def write(self, system_path: Path, start_path: Path) -> None:
        """Write System (XML) and start (PDB), both gzipped, each to a temporary name first."""
        for path, text in (
            (system_path, mm.XmlSerializer.serialize(self.system)),
            (start_path, _format_pdb(self.topology, self.positions)),
        ):
            write_atomically(path, gzip.compress(text.encode(), mtime=0))


def convert_box(vectors: Any) -> np.ndarray:
    """OpenMM's box vectors as an array [nm], (3, 3)."""
    plain = vectors.value_in_unit(unit.nanometer) if unit.is_quantity(vectors) else vectors
    return np.array(
        [[c.value_in_unit(unit.nanometer) if unit.is_quantity(c) else c for c in v] for v in plain],
        dtype=np.float64,
    )


@check_arguments(
    source=optional(check_path),
    ligand=optional(check_text),
    sdf=optional(check_path),
    ligand_parameters=optional(check_path),
    solvent=check_text,
    padding=a_number(),
    seed=a_count(least=0),
)
def build_system(
    source: str | Path | None,
    *,
    ligand: str | None = None,
    sdf: str | Path | None = None,
    ligand_parameters: str | Path | None = None,
    allow_scripts: bool = False,
    solvent: str = "tip3p",
    padding: float = PADDING_NM,
    seed: int = 0,
) -> MolecularSystem:
    """Solvate a complex and give it a force field: Amber ff14SB, water, and the ligand's parameters.

    Args:
        source: Folder of ``neuralmd prepare``, PDB or mmCIF file with hydrogens; None for the bundled 4G3E.
        ligand: NAME, NAME:CHAIN or NAME:CHAIN:NUMBER; not needed for a prepared folder.
        sdf: The ligand with all atoms in the order of the structure, for its bonds where that has none.
        ligand_parameters: OpenMM force field file; if None the bundled one for 4G3E, else made by antechamber where
            that is installed.
        allow_scripts: Run the Python code that ``ligand_parameters`` holds.
        solvent: "tip3p": rhombic dodecahedron with 0.15 M NaCl; "obc2", "gbn2": generalized Born, without salt or box;
            "none": vacuum, for tests only.
        padding: Least distance between the complex and its image, less the width it has itself [nm].
        seed: Of the places of ions.

    Raises:
        InputError: If files are missing or unreadable, hold code, or the force field does not know a residue.
    """
    if solvent not in SOLVENTS:
        raise InputError(f"`solvent={solvent}`: choose one of {', '.join(SOLVENTS)}")
    if not 0.0 <= padding < 100.0:
        raise InputError(f"`padding` {padding:g}: give 0 nm or more")
    complex_ = choose_complex(source, ligand=ligand, sdf=sdf, load=load_complex)
    if source is None and ligand_parameters is None:
        with resources.as_file(resources.files("openmm_neuralmd") / "assets" / "4g3e" / "ligand_gaff2.xml") as path:
            force_field = _load_force_field(path)
    elif ligand_parameters is None:
        chemistry = _find_sdf(source, sdf)
        if chemistry is None or find_ambertools() is None:
            raise InputError(f"no parameters for ligand {complex_.ligand.name}: {PARAMETERS_ADVICE}")
        with tempfile.TemporaryDirectory(prefix="neuralmd-parameters-") as folder:
            force_field = _load_force_field(make_parameters(chemistry, complex_.ligand.name, Path(folder)))
    else:
        force_field = _load_force_field(Path(ligand_parameters), allow_scripts=allow_scripts)
    if not len(complex_.ligand.hydrogen_indices) and not any(
        a.element is not None and a.element.atomic_number == 1 for a in complex_.topology.atoms()
    ):
        raise InputError(f"{source}: has no hydrogens; make it with `neuralmd prepare` first")
    topology = complex_.topology if sdf is None else _add_ligand_bonds(complex_, Path(sdf))
    modeller = Modeller(topology, complex_.positions * unit.nanometer)
    modeller.topology.setPeriodicBoxVectors(None)
    _check_residues(force_field, modeller.topology, complex_.ligand.name)
    if solvent == "tip3p":
        with _seeded(seed):
            modeller.addSolvent(
                force_field,
                model="tip3p",
                padding=padding * unit.nanometer,
                boxShape="dodecahedron",
                ionicStrength=SALT_MOLAR * unit.molar,
            )
    return MolecularSystem(
        modeller.topology,
        create_system(force_field, modeller.topology, solvent),
        np.array(modeller.positions.value_in_unit(unit.nanometer)),
        complex_.ligand.name,
        complex_.source,
        f"Amber ff14SB, {_SOLVENT_NAMES[solvent]}, ligand "
        f"{Path(ligand_parameters).name if ligand_parameters else 'GAFF2 with AM1-BCC charges'}",
    )


_SOLVENT_NAMES = {
    "tip3p": "TIP3P",
    "none": "vacuum",
    **{k: f"{name} implicit solvent, cutoff {IMPLICIT_CUTOFF_NM:g} nm" for k, name in IMPLICIT_SOLVENTS.items()},
}
_CUTOFFS = {"tip3p": (PME, CUTOFF_NM), "none": (NoCutoff, CUTOFF_NM)}


def create_system(force_field: ForceField, topology: Topology, solvent: str) -> mm.System:
    """The System of a complex in one of ``SOLVENTS``; ``force_field`` gets the solvent's parameters.

    Raises:
        InputError: If the solvent has no parameters for an element.
    """
    if solvent in IMPLICIT_SOLVENTS:
        force_field.loadFile(str(find_own_file(get_solvent_file(solvent))))
    method, cutoff = _CUTOFFS.get(solvent, (CutoffNonPeriodic, IMPLICIT_CUTOFF_NM))
    try:
        system = force_field.createSystem(
            topology,
            nonbondedMethod=method,
            nonbondedCutoff=cutoff * unit.nanometer,
            constraints=HBonds,
            hydrogenMass=HYDROGEN_MASS_DA * unit.dalton,
        )
    except ValueError as error:  # GBn2 is tabulated for radii of 0.1 to 0.2 nm: no silicon
        raise InputError(f"`solvent={solvent}` does not go with this complex: {describe_error(error)}") from error
    if solvent == "obc2":
        replace_by_native_force(system)
    return system


@check_arguments(system_path=check_path, top=check_path, ligand=optional(check_text))
def load_system(system_path: str | Path, top: str | Path, *, ligand: str | None = None) -> MolecularSystem:
    """A System somebody made, and the structure it belongs to; both may be gzipped.

    Raises:
        InputError: If one is missing or unreadable, they do not fit, or the ligand is not to be found.
    """
    system_path, top = Path(system_path), Path(top)
    system, structure = read_system(system_path), read_pdb(top)
    topology = structure.topology
    if topology.getNumAtoms() != system.getNumParticles():
        raise InputError(
            f"{top} has {topology.getNumAtoms()} atoms, {system_path} has {system.getNumParticles()} particles; give "
            "the structure this System was made for"
        )
    for index in [k for k, f in enumerate(system.getForces()) if type(f).__name__ in COUPLINGS][::-1]:
        system.removeForce(index)
    if system.usesPeriodicBoundaryConditions():
        topology.setPeriodicBoxVectors(system.getDefaultPeriodicBoxVectors())
    positions = np.array(structure.positions.value_in_unit(unit.nanometer))
    return MolecularSystem(
        topology, system, positions, _find_ligand(topology, ligand, top), str(top), f"given: {system_path.name}"
    )


def _find_sdf(source: str | Path | None, sdf: str | Path | None) -> Path | None:
    """The ligand with all its hydrogens, where there is a file that has them."""
    if sdf is not None:
        return Path(sdf)
    if source is None or not is_prepared(source):
        return None
    return (Path(source) if Path(source).is_dir() else Path(source).parent) / "ligand.sdf"


def _load_force_field(path: Path, *, allow_scripts: bool = False) -> ForceField:
    if not path.is_file():
        raise InputError(f"{path}: no such file; {PARAMETERS_ADVICE}")
    return load_openmm_force_field([*map(find_own_file, FORCE_FIELD), path], allow_scripts=allow_scripts)


def _check_residues(force_field: ForceField, topology: Topology, ligand: str) -> None:
    unmatched = force_field.getUnmatchedResidues(topology)
    if not unmatched:
        return
    names = ", ".join(f"{r.name}:{r.chain.id}:{r.id}" for r in unmatched[:6])
    if any(r.name == ligand for r in unmatched):
        raise InputError(
            f"the parameters do not fit ligand {ligand}: its atoms, hydrogens included, or bonds differ from every "
            f"residue in the file; {PARAMETERS_ADVICE}"
        )
    raise InputError(
        f"the force field does not know {names}: hydrogens or atoms are missing, or it is another molecule; run "
        "`neuralmd prepare` (with `remove` for molecules to leave out), or give `system` and `top`"
    )


def _add_ligand_bonds(complex_: Complex, sdf: Path) -> Topology:
    """The topology with the ligand's bonds from the SDF, where it has none itself."""
    topology, ligand = complex_.topology, complex_.ligand
    members = set(ligand.atom_indices.tolist()) | set(ligand.hydrogen_indices.tolist())
    if any(b[0].index in members for b in topology.bonds()):
        return topology
    atoms = [a for a in topology.atoms() if a.index in members]
    molecule = read_sdf(sdf)
    if [a.element.atomic_number for a in atoms] != [a.GetAtomicNum() for a in molecule.GetAtoms()]:
        raise InputError(
            f"{sdf}: the ligand has no bonds in the structure, and this file's atoms, hydrogens included, are in "
            "another order; add CONECT records or use `neuralmd prepare`"
        )
    for bond in molecule.GetBonds():
        topology.addBond(atoms[bond.GetBeginAtomIdx()], atoms[bond.GetEndAtomIdx()])
    return topology


def _find_ligand(topology: Topology, ligand: str | None, top: Path) -> str:
    names = sorted({r.name for r in topology.residues() if is_ligand_like(r)})
    if ligand is None and len(names) == 1:
        return names[0]
    if ligand is not None and ligand.split(":")[0] in {r.name for r in topology.residues()}:
        return ligand.split(":")[0]
    found = ", ".join(names) or "none that could be"
    raise InputError(f"{top}: which residue is the ligand? say `ligand=NAME`; there is {found}")


def _format_pdb(topology: Topology, positions: np.ndarray) -> str:
    text = io.StringIO()
    PDBFile.writeFile(topology, positions * unit.nanometer, text, keepIds=True)
    return text.getvalue()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Modeller draws the ions' places from Python's global generator: fix it, and give its state back."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
