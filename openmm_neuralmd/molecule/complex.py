"""The complex a simulation is about: a flexible ligand, a rigid protein, and where both stand in a topology.

OpenMM's ``Topology`` and positions in nm go in; plain arrays come out, which models and dynamics can use without
knowing OpenMM.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from openmm_neuralmd.checks import (
    an_instance,
    check_arguments,
    check_finite,
    check_path,
    check_reals,
    check_text,
    describe,
    optional,
)
from openmm_neuralmd.errors import InputError, TopologyMismatchError, describe_error
from openmm_neuralmd.files import find_format, read_json, read_text
from openmm_neuralmd.folders import settle_folder
from openmm_neuralmd.molecule.bonds import find_parts, list_records
from openmm_neuralmd.molecule.chemistry import describe_choice, format_formula, match_graphs
from openmm_neuralmd.molecule.images import find_nearest_image, read_box
from openmm_neuralmd.molecule.ligand import Ligand, build_ligand, load_ligand_sdf
from openmm_neuralmd.molecule.residues import (
    NONMETALS,
    RESIDUE_LETTERS,
    describe_residue,
    get_residue_type,
    is_amino_acid,
    select_residue,
)
from openmm_neuralmd.molecule.shape import idealize_geometry
from openmm_neuralmd.molecule.site import BindingSite, assemble_site
from openmm_neuralmd.molecule.superposition import compute_superposed_rmsd

PREPARED_FILES = ("complex.pdb", "ligand.sdf", "prepare.json")  # of `neuralmd prepare`
_SHORTEST_BOND_NM = 0.05  # H-H is 0.074; positions given in another unit are below
_LONGEST_BOND_NM = 0.25  # C-I is 0.21
_LONGEST_LINK_NM = 0.3  # bonds to metals too
CHAIN_BREAK_NM = 0.42  # a peptide's CA-CA distance is 0.38 nm (trans) or 0.29 nm (cis)


@dataclass(frozen=True)
class Protein:
    """The rigid part, as the model sees it: residues that have N, CA and C.

    Attributes:
        residue_types: Index into ``RESIDUE_TYPES``, int64, (n_residues,); ``UNKNOWN_RESIDUE`` for any other.
        backbone: N, CA, C of each residue [nm], (n_residues, 3, 3).
        is_linked: Whether the peptide chain goes on to the next residue, bool, (n_residues,).
        ca_indices: Topology index of each CA, int64, (n_residues,).
    """

    residue_types: np.ndarray
    backbone: np.ndarray
    is_linked: np.ndarray
    ca_indices: np.ndarray

    @property
    def n_residues(self) -> int:
        return len(self.residue_types)


@dataclass(frozen=True)
class Complex:
    """A ligand in its protein: topology (``openmm.app.Topology``), positions [nm] (n_atoms, 3) and the parts.

    ``ligand`` moves, ``protein`` and what else the topology holds stands around it, ``site`` is where both meet.
    ``source`` says where it comes from, ``notes`` what was guessed or left out on reading it.
    """

    topology: Any
    positions: np.ndarray
    ligand: Ligand
    protein: Protein
    source: str = field(default="", compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    @check_arguments(ligand=check_text, sdf=optional(check_path))
    def from_topology(cls, topology: Any, positions: Any, ligand: str, *, sdf: str | Path | None = None) -> "Complex":
        """Find the ligand and the protein in an OpenMM topology.

        Args:
            topology: ``openmm.app.Topology``; the ligand needs its bonds, here or in ``sdf``.
            positions: Of all atoms, an OpenMM quantity of any length or an array [nm], (n_atoms, 3); molecules whole.
                Double or single precision: half precision has too few digits and is refused.
            ligand: Residue name, ``NAME:CHAIN`` or ``NAME:CHAIN:NUMBER``.
            sdf: File with the ligand's bonds and ideal geometry; heavy atoms in the topology's order, or in any
                order where the topology has the ligand's bonds.

        Raises:
            InputError: If an argument cannot be used, the ligand is absent or ambiguous, has no bonds or is not one
                molecule, or there is no protein.
            TopologyMismatchError: If ``sdf`` holds another molecule or atom order, or the counts differ.
        """
        _check_topology(topology)
        xyz = check_reals("positions", strip_unit("positions", positions), unit="nm")
        if xyz.shape != (topology.getNumAtoms(), 3):
            raise TopologyMismatchError(
                f"positions have shape {xyz.shape}, the topology has {topology.getNumAtoms()} atoms: "
                "give one (x, y, z) for each atom of this topology"
            )
        check_finite("positions", xyz)
        residue = select_residue(topology, ligand)
        notes: list[str] = []
        built = _build_ligand(topology, residue, xyz, sdf, notes)
        return cls(topology, xyz, built, _build_protein(topology, residue, xyz), notes=tuple(notes))

    def __getstate__(self) -> dict[str, Any]:
        """What pickles and copies hold: not the site, which is found again; equal complexes give equal bytes."""
        return {name: value for name, value in vars(self).items() if name != "site"}

    @cached_property
    def site(self) -> BindingSite:
        """The place around the pose that frames of trajectories are laid on."""
        if self.topology is None:  # as read from MISATO's file: no atoms around the ligand but CA are known
            sequence = "".join(RESIDUE_LETTERS[k] for k in self.protein.residue_types.tolist())
            nobody = np.empty(0, dtype=np.int64)
            return BindingSite(self.ligand, sequence, (), (), self.protein.backbone[:, 1], nobody)
        atoms = list(self.topology.atoms())
        own = atoms[int(self.ligand.atom_indices[0])].residue
        residues = [atoms[k].residue for k in self.protein.ca_indices.tolist()]
        return assemble_site(self.ligand, own, residues, self.positions)

    def with_ligand_positions(self, positions: np.ndarray) -> "Complex":
        """The same complex with the ligand's heavy atoms elsewhere [nm], (n_atoms, 3); pocket and pose unchanged."""
        xyz = check_finite("positions", check_reals("positions", strip_unit("positions", positions), unit="nm"))
        if xyz.shape != (self.ligand.n_atoms, 3):
            raise TopologyMismatchError(
                f"positions have shape {xyz.shape}, ligand {self.ligand.name} has {self.ligand.n_atoms} heavy atoms: "
                "give one (x, y, z) for each"
            )
        moved = self.positions.copy()
        moved[self.ligand.atom_indices] = xyz
        return replace(self, positions=moved)


A_COMPLEX = an_instance(Complex, of="a Complex, such as load_complex(...) or load_bundled_complex()")
"""Checker of a complex."""


@check_arguments(path=check_path)
def read_pdb(path: str | Path) -> Any:
    """A PDB or PDBx/mmCIF file, perhaps gzipped, as ``openmm.app.PDBFile`` or ``PDBxFile``.

    Raises:
        InputError: If it is missing, unreadable or holds no atoms.
    """
    from openmm.app import PDBFile, PDBxFile

    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: a folder; leave out `ligand` and `sdf` to read what `neuralmd prepare` wrote there")
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the PDB or mmCIF file of a protein with its ligand")
    reader = PDBxFile if find_format(path) in (".cif", ".mmcif", ".pdbx") else PDBFile
    text = read_text(path)
    try:
        structure = reader(io.StringIO(text))
    except Exception as error:  # OpenMM's parsers raise whatever the damage led to
        told = ("cut short? " if isinstance(error, ValueError) else "") + describe_error(error)
        reason = "no atoms, or cut short" if isinstance(error, IndexError | AttributeError) else told
        raise InputError(
            f"{path}: cannot be read as {reader.__name__[:-4]} ({reason}); protein and ligand "
            "come from a PDB, mmCIF, GRO or TPR file, or a folder of neuralmd prepare"
        ) from error
    if structure.topology.getNumAtoms() == 0:
        raise InputError(f"{path}: holds no atoms; give the PDB or mmCIF file of a protein with its ligand")
    return structure


@check_arguments(pdb=check_path, ligand=check_text, sdf=optional(check_path))
def load_complex(pdb: str | Path, ligand: str, *, sdf: str | Path | None = None) -> Complex:
    """Read a complex from a PDB or PDBx/mmCIF file, perhaps gzipped (hydrogens welcome, waters ignored).

    Raises:
        InputError: As in ``read_pdb`` and ``Complex.from_topology``.
    """
    path = Path(pdb)
    structure = read_pdb(path)
    loaded = Complex.from_topology(structure.topology, structure.positions, ligand, sdf=sdf)
    n_models = structure.getNumFrames()
    notes = (f"{path.name}: model 1 of {n_models} used",) if n_models > 1 else ()
    return replace(loaded, source=str(path), notes=(*notes, *loaded.notes))


def load_bundled_complex() -> Complex:
    """The bundled 4G3E: NIK kinase with CMP1 (0WC), first production snapshot of our own MD, PDB 4G3E chain B."""
    folder = resources.files("openmm_neuralmd") / "assets" / "4g3e"
    with resources.as_file(folder / "complex.pdb") as pdb, resources.as_file(folder / "ligand.sdf") as sdf:
        return replace(load_complex(pdb, "0WC", sdf=sdf), source="bundled 4G3E")


@check_arguments(path=check_path)
def check_source(path: str | Path) -> None:
    """InputError where there is nothing to read a complex from."""
    if not Path(path).exists():
        raise InputError(f"{path}: no such file or folder; give a complex, or none for the bundled 4G3E")


@check_arguments(path=check_path)
def is_prepared(path: str | Path) -> bool:
    """Whether a path is a folder, or the ``complex.pdb`` in one, that ``neuralmd prepare`` wrote."""
    path = Path(path)
    return path.is_dir() or (path.name == PREPARED_FILES[0] and path.with_name(PREPARED_FILES[-1]).is_file())


@check_arguments(path=check_path)
def load_prepared_complex(path: str | Path) -> Complex:
    """What ``neuralmd prepare`` wrote: its folder, or the ``complex.pdb`` in it.

    Raises:
        InputError: If the folder does not hold all of ``PREPARED_FILES``, or they cannot be read.
    """
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    settle_folder(folder)
    missing = [name for name in PREPARED_FILES if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder}: no {', '.join(missing)}; give a folder that `neuralmd prepare` wrote")
    pdb, sdf, protocol = (folder / name for name in PREPARED_FILES)
    content = read_json(protocol, "run `neuralmd prepare` again")
    ligand, origin = content.get("ligand_selection"), content.get("source")
    source = origin.get("file") if isinstance(origin, dict) else None
    if not isinstance(ligand, str) or not isinstance(source, str):
        raise InputError(f"{protocol}: damaged, it names no ligand or source; run `neuralmd prepare` again")
    return replace(load_complex(pdb, ligand, sdf=sdf), source=f"{pdb} (prepared from {source})")


def strip_unit(name: str, values: Any, *, unit: str = "nm") -> Any:
    """The numbers of an OpenMM quantity in nm or nm/ps; what is no quantity comes back as it is.

    Raises:
        InputError: If it is a quantity of something else.
    """
    if not hasattr(values, "value_in_unit"):
        return values
    from openmm.unit import nanometer, picosecond

    try:
        return values.value_in_unit({"nm": nanometer, "nm/ps": nanometer / picosecond}[unit])
    except (TypeError, AttributeError) as error:
        raise InputError(f"{name} are in {getattr(values, 'unit', 'no unit')}; give {unit}") from error


def _check_topology(topology: Any) -> None:
    from openmm.app import Topology

    if not isinstance(topology, Topology):
        advice = "topology.to_openmm() of this one" if hasattr(topology, "to_openmm") else "PDBFile(...).topology"
        raise InputError(f"topology is {describe(topology)}; give an openmm.app.Topology, such as {advice}")


def _build_ligand(topology: Any, residue: Any, xyz: np.ndarray, sdf: str | Path | None, notes: list[str]) -> Ligand:
    label = describe_residue(residue)
    atoms = list(residue.atoms())
    unknown = [a.name for a in atoms if a.element is None]
    if unknown:
        raise InputError(f"ligand {label}: atoms {', '.join(unknown)} have no element; fix columns 77-78")
    heavy = [a for a in atoms if a.element.atomic_number > 1]
    metals = [f"{a.name} {a.element.symbol}" for a in heavy if a.element.symbol not in NONMETALS]
    if metals:
        raise InputError(f"ligand {label} holds metal atoms ({', '.join(metals)}): metals are not supported")
    _check_links(topology, residue, xyz, notes)
    built = build_ligand(topology, residue, xyz, perceive=False)
    if sdf is not None:
        built = _take_chemistry(Path(sdf), built, label, [a.element.symbol for a in heavy], notes)
    _check_molecule(label, built.n_atoms, built.bonds)
    _check_unit(label, built.positions, built.bonds)
    return replace(built, geometry=idealize_geometry(built.geometry, built.bonds, built.bond_orders))


def _check_unit(ligand: str, pose: np.ndarray, bonds: np.ndarray) -> None:
    typical = float(np.median(np.linalg.norm(pose[bonds[:, 0]] - pose[bonds[:, 1]], axis=1))) if len(bonds) else 0.15
    if typical > 4 * _LONGEST_BOND_NM:
        raise InputError(f"ligand {ligand}: its bonds are {typical:.2f} nm long: give nm, these may be in A")
    if typical < _SHORTEST_BOND_NM:
        raise InputError(f"ligand {ligand}: its bonds are {typical:.3f} nm long: give real positions in nm")


def _check_links(topology: Any, residue: Any, xyz: np.ndarray, notes: list[str]) -> None:
    """Refuse a ligand that is bonded to something else; a record between atoms far apart is none, and is noted."""
    members = {a.index for a in residue.atoms()}
    for first, second, _ in list_records(topology):
        if (first.index in members) == (second.index in members):
            continue
        own, partner = (first, second) if first.index in members else (second, first)
        length = _measure(topology, xyz[own.index] - xyz[partner.index])
        names = f"{describe_residue(partner.residue)} ({own.name}-{partner.name}"
        if length < _LONGEST_LINK_NM:
            raise InputError(
                f"ligand {describe_residue(residue)} is bonded to {names}, {length:.2f} nm): covalent ligands are not "
                "supported"
            )
        notes.append(
            f"ligand {describe_residue(residue)}: its bond record with {names}) was not followed: the atoms are "
            f"{length:.2f} nm apart, which no bond is"
        )


def _measure(topology: Any, vector: np.ndarray) -> float:
    """Length [nm] of the shortest image of a vector in the topology's box, if it has one."""
    box = read_box(topology)
    return float(np.linalg.norm(vector if box is None else find_nearest_image(vector, box)))


def _take_chemistry(path: Path, ligand: Ligand, label: str, symbols: list[str], notes: list[str]) -> Ligand:
    """The ligand with bonds, their orders and geometry from an SDF file, whose atoms may be ordered otherwise.

    Args:
        path: Its heavy atoms must be in the structure's order where that has no bonds.
        ligand, label, symbols: Of the structure.
        notes: Receives a line if the order is another, or the file holds more than one molecule.
    """
    drawn = load_ligand_sdf(path)
    if chosen := describe_choice(path):
        notes.append(chosen)
    if sorted(drawn.atomic_numbers) != sorted(ligand.atomic_numbers):
        found = [name.rstrip("0123456789") for name in drawn.atom_names]
        raise TopologyMismatchError(
            f"{path} has the heavy atoms {format_formula(found)}, {label} in the structure has "
            f"{format_formula(symbols)}: give this ligand's SDF"
        )
    if not _is_in_order(drawn, ligand):
        if not len(ligand.bonds):
            raise TopologyMismatchError(
                f"{path}: heavy atoms are ordered otherwise than in the structure, which has no bonds to match them "
                "by: give the SDF with its heavy atoms in the structure's order, or a structure with CONECT records"
            )
        orders = match_graphs(ligand.atomic_numbers, ligand.bonds, drawn.atomic_numbers, drawn.bonds)
        if not len(orders):
            raise TopologyMismatchError(
                f"{path}: the same atoms as the ligand's in the structure, but other bonds: give the SDF of this "
                "molecule"
            )
        # of a symmetric molecule the way that fits the pose best has its stereo too
        drawn = drawn.reorder(
            min(orders, key=lambda order: compute_superposed_rmsd(drawn.geometry[order], ligand.positions))
        )
        notes.append(f"{path.name}: atoms are ordered otherwise than in the structure, and were matched by their bonds")
    return replace(
        ligand,
        bonds=drawn.bonds,
        bond_orders=drawn.bond_orders,
        geometry=drawn.geometry,
        n_hydrogens=ligand.n_hydrogens or drawn.n_hydrogens,
    )


def _is_in_order(drawn: Ligand, ligand: Ligand) -> bool:
    """Whether a file's atoms stand in the structure's order: by its bonds, or by their lengths in the pose."""
    if not np.array_equal(drawn.atomic_numbers, ligand.atomic_numbers):
        return False
    if {frozenset(b) for b in drawn.bonds.tolist()} == {frozenset(b) for b in ligand.bonds.tolist()}:
        return True
    first, second = drawn.bonds.T
    lengths = np.linalg.norm(ligand.positions[first] - ligand.positions[second], axis=1)
    return bool(lengths.max(initial=0.0) < _LONGEST_BOND_NM)


def _check_molecule(name: str, n_atoms: int, bonds: np.ndarray) -> None:
    if n_atoms < 2:
        raise InputError(f"ligand {name} has {n_atoms} heavy atoms: a model needs at least 2")
    if len(bonds) == 0:
        raise InputError(f"ligand {name} has no bonds: add CONECT records to the PDB file or give an SDF file (`sdf`)")
    first = find_parts(n_atoms, bonds)[0]
    if len(first) < n_atoms:
        raise InputError(
            f"ligand {name}: its bonds join only {len(first)} of {n_atoms} heavy atoms: complete the CONECT records "
            "or give an SDF file (`sdf`)"
        )


def _build_protein(topology: Any, ligand: Any, xyz: np.ndarray) -> Protein:
    types: list[int] = []
    indices: list[list[int]] = []
    places: list[tuple[int, int]] = []
    for chain in topology.chains():
        for order, residue in enumerate(chain.residues()):
            if residue.index == ligand.index or not is_amino_acid(residue):
                continue
            atoms = {a.name: a.index for a in residue.atoms()}
            types.append(get_residue_type(residue.name))
            indices.append([atoms[name] for name in ("N", "CA", "C")])
            places.append((chain.index, order))
    if not types:
        raise InputError("no protein: no residue has N, CA and C atoms; give a structure of the whole complex")
    backbone_xyz = xyz[np.array(indices)]
    return Protein(
        residue_types=np.array(types, dtype=np.int64),
        backbone=backbone_xyz,
        is_linked=find_links(places, backbone_xyz[:, 1]),
        ca_indices=np.array([n[1] for n in indices], dtype=np.int64),
    )


def find_links(places: Iterable[tuple[int, int]], ca: np.ndarray) -> np.ndarray:
    """A residue is linked to the next one in the same chain if their CA atoms are a peptide bond apart."""
    chains = np.array([chain for chain, _ in places])
    linked = np.zeros(len(ca), dtype=bool)
    near = np.linalg.norm(np.diff(ca, axis=0), axis=1) <= CHAIN_BREAK_NM
    linked[:-1] = near & (chains[1:] == chains[:-1])
    return linked
