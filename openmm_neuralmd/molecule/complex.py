"""The complex a simulation is about: a flexible ligand, a rigid protein, and where both stand in a topology.

OpenMM's ``Topology`` and positions in nm go in; plain arrays come out, which models and solvers can use without
knowing OpenMM.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
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
from openmm_neuralmd.molecule.chemistry import (
    describe_choice,
    find_constrained_pairs,
    find_torsions,
    format_formula,
    match_graphs,
    read_sdf,
)
from openmm_neuralmd.molecule.residues import (
    RESIDUE_TYPES,
    UNKNOWN_RESIDUE,
    describe_residue,
    get_parent_residue,
    select_residue,
)
from openmm_neuralmd.molecule.shape import compute_superposed_rmsd, idealize_geometry

_NONMETALS = frozenset("H B C N O F Si P S Cl As Se Br Te I".split())
PREPARED_FILES = ("complex.pdb", "ligand.sdf", "prepare.json")  # of `neuralmd prepare`
_SHORTEST_BOND_NM = 0.05
_LONGEST_BOND_NM = 0.25  # C-I is 0.21
_LONGEST_LINK_NM = 0.3  # bonds to metals too
CHAIN_BREAK_NM = 0.42  # a peptide's CA-CA distance is 0.38 nm (trans) or 0.29 nm (cis)


@dataclass(frozen=True)
class Ligand:
    """The flexible part: heavy atoms in topology order, and the hydrogens that follow them.

    Attributes:
        name: Residue name.
        atomic_numbers: int64, (n_atoms,); no hydrogens.
        masses: Of the elements [Da], (n_atoms,).
        bonds: Heavy-atom bonds, ligand indices, int64, (n_bonds, 2).
        bond_orders: One for each bond (1.5 aromatic), or None where the input had none.
        positions: The pose [nm], (n_atoms, 3); the pocket is what surrounds it.
        geometry: Coordinates [nm], (n_atoms, 3), whose bonds and 1-3 distances the ligand keeps; from an SDF where
            one is given, else the pose; sp centres straight, sp2 ones flat (``idealize_geometry``).
        atom_indices: Of the heavy atoms in the topology, int64, (n_atoms,).
        hydrogen_indices, hydrogen_parents: Topology index of each hydrogen, ligand index of its heavy atom.
        atom_names: As in the topology.
    """

    name: str
    atomic_numbers: np.ndarray
    masses: np.ndarray
    bonds: np.ndarray
    bond_orders: tuple[float, ...] | None
    positions: np.ndarray
    geometry: np.ndarray
    atom_indices: np.ndarray
    hydrogen_indices: np.ndarray
    hydrogen_parents: np.ndarray
    atom_names: tuple[str, ...]

    @property
    def n_atoms(self) -> int:
        return len(self.atomic_numbers)

    def find_torsions(self) -> tuple[np.ndarray, np.ndarray]:
        """Rotatable bonds: axes (n_torsions, 2) and turning sides (n_torsions, n_atoms); see ``chemistry``."""
        return find_torsions(self.geometry, self.bonds, self.bond_orders)

    def find_constraints(self) -> tuple[np.ndarray, np.ndarray]:
        """Bonds and 1-3 pairs (n_pairs, 2) and their distances [nm] in ``geometry`` (n_pairs,)."""
        pairs = find_constrained_pairs(self.n_atoms, self.bonds)
        return pairs, np.linalg.norm(self.geometry[pairs[:, 0]] - self.geometry[pairs[:, 1]], axis=1)


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
    """A ligand in its protein: topology (``openmm.app.Topology``), positions [nm] (n_atoms, 3) and both parts.

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
    atoms = list(residue.atoms())
    unknown = [a.name for a in atoms if a.element is None]
    if unknown:
        raise InputError(
            f"ligand {describe_residue(residue)}: atoms {', '.join(unknown)} have no element; fix columns 77-78"
        )
    heavy = [a for a in atoms if a.element.atomic_number > 1]
    metals = [f"{a.name} {a.element.symbol}" for a in heavy if a.element.symbol not in _NONMETALS]
    if metals:
        raise InputError(
            f"ligand {describe_residue(residue)} holds metal atoms ({', '.join(metals)}): metals are not supported"
        )
    index = {a.index: k for k, a in enumerate(heavy)}
    pose = xyz[[a.index for a in heavy]]
    elements = np.array([a.element.atomic_number for a in heavy], dtype=np.int64)
    bonds, orders, parents = _read_bonds(topology, residue, index, xyz, notes)
    geometry = pose
    if sdf is not None:
        bonds, orders, geometry = _read_sdf(Path(sdf), heavy, bonds, pose, notes)
    hydrogens = [a for a in atoms if a.element.atomic_number == 1]
    if parents.keys() != {a.index for a in hydrogens} and len(heavy):
        for atom in hydrogens:  # no CONECT records: a hydrogen belongs to the nearest heavy atom
            parents.setdefault(atom.index, int(np.argmin(np.linalg.norm(pose - xyz[atom.index], axis=1))))
    _check_molecule(describe_residue(residue), len(heavy), bonds)
    _check_unit(describe_residue(residue), pose, bonds)
    return Ligand(
        name=residue.name,
        atomic_numbers=elements,
        masses=np.array([a.element.mass._value for a in heavy]),
        bonds=bonds,
        bond_orders=orders,
        positions=pose,
        geometry=idealize_geometry(geometry, bonds, orders),
        atom_indices=np.array([a.index for a in heavy], dtype=np.int64),
        hydrogen_indices=np.array([a.index for a in hydrogens], dtype=np.int64),
        hydrogen_parents=np.array([parents[a.index] for a in hydrogens], dtype=np.int64),
        atom_names=tuple(a.name for a in heavy),
    )


def _check_unit(ligand: str, pose: np.ndarray, bonds: np.ndarray) -> None:
    typical = float(np.median(np.linalg.norm(pose[bonds[:, 0]] - pose[bonds[:, 1]], axis=1))) if len(bonds) else 0.15
    if typical > 4 * _LONGEST_BOND_NM:
        raise InputError(f"ligand {ligand}: its bonds are {typical:.2f} nm long: give nm, these may be in A")
    if typical < _SHORTEST_BOND_NM:
        raise InputError(f"ligand {ligand}: its bonds are {typical:.3f} nm long: give real positions in nm")


def _read_bonds(
    topology: Any, residue: Any, index: dict[int, int], xyz: np.ndarray, notes: list[str]
) -> tuple[np.ndarray, tuple[float, ...] | None, dict[int, int]]:
    """Heavy-atom bonds, their orders where all are known, and each hydrogen's heavy atom."""
    members = {a.index for a in residue.atoms()}
    bonds: list[tuple[int, int]] = []
    orders: list[float | None] = []
    parents: dict[int, int] = {}
    for bond in topology.bonds():
        a, b = bond[0].index, bond[1].index
        if (a in members) != (b in members):
            own, partner = bond if a in members else (bond[1], bond[0])
            length = _measure(topology, xyz[own.index] - xyz[partner.index])
            names = f"{describe_residue(partner.residue)} ({own.name}-{partner.name}"
            if length < _LONGEST_LINK_NM:
                raise InputError(
                    f"ligand {describe_residue(residue)} is bonded to {names}, {length:.2f} nm): covalent ligands are "
                    "not supported"
                )
            notes.append(
                f"ligand {describe_residue(residue)}: its bond record with {names}) was not followed: the atoms are "
                f"{length:.2f} nm apart, which no bond is"
            )
        if a in index and b in index:
            if {index[a], index[b]} in map(set, bonds):  # CONECT records and templates may both name it
                continue
            bonds.append((index[a], index[b]))
            orders.append(float(bond.order) if bond.order is not None else None)
        elif a in members and (a in index or b in index):
            hydrogen, heavy = (b, a) if a in index else (a, b)
            parents[hydrogen] = index[heavy]
    known = None if any(o is None for o in orders) else tuple(o for o in orders if o is not None)
    return np.array(bonds, dtype=np.int64).reshape(-1, 2), known, parents


def _measure(topology: Any, vector: np.ndarray) -> float:
    """Length [nm] of the shortest image of a vector in the topology's box, if it has one."""
    vectors = topology.getPeriodicBoxVectors()
    box = () if vectors is None else np.array(strip_unit("box", vectors), dtype=np.float64)[::-1]
    for k, side in zip((2, 1, 0), box, strict=False):
        vector = vector - np.round(vector[k] / side[k]) * side
    return float(np.linalg.norm(vector))


def _read_sdf(
    path: Path, atoms: list[Any], known: np.ndarray, pose: np.ndarray, notes: list[str]
) -> tuple[np.ndarray, tuple[float, ...], np.ndarray]:
    """Bonds, their orders and a geometry [nm] from an SDF file, for the ligand's atoms in the structure's order.

    Args:
        path: Its heavy atoms may stand in another order where the structure has bonds.
        atoms, known, pose: Of the structure: heavy atoms, bonds where it has them, and positions [nm].
        notes: Receives a line if the order is another, or the file holds more than one molecule.
    """
    molecule = read_sdf(path)
    if chosen := describe_choice(path):
        notes.append(chosen)
    heavy = {a.GetIdx(): k for k, a in enumerate(a for a in molecule.GetAtoms() if a.GetAtomicNum() > 1)}
    found = np.array([molecule.GetAtomWithIdx(i).GetAtomicNum() for i in heavy], dtype=np.int64)
    pairs = [b for b in molecule.GetBonds() if b.GetBeginAtomIdx() in heavy and b.GetEndAtomIdx() in heavy]
    bonds = np.array([(heavy[b.GetBeginAtomIdx()], heavy[b.GetEndAtomIdx()]) for b in pairs], dtype=np.int64)
    bonds = bonds.reshape(-1, 2)
    orders = tuple(b.GetBondTypeAsDouble() for b in pairs)
    coordinates = molecule.GetConformer().GetPositions()[list(heavy)] / 10.0
    elements = np.array([a.element.atomic_number for a in atoms], dtype=np.int64)
    if sorted(found) != sorted(elements):
        symbols = [molecule.GetAtomWithIdx(i).GetSymbol() for i in heavy]
        raise TopologyMismatchError(
            f"{path} has the heavy atoms {format_formula(symbols)}, {describe_residue(atoms[0].residue)} in the "
            f"structure has {format_formula([a.element.symbol for a in atoms])}: give this ligand's SDF"
        )
    is_same = np.array_equal(found, elements)
    if is_same and {frozenset(b) for b in bonds.tolist()} == {frozenset(b) for b in known.tolist()}:
        return bonds, orders, coordinates
    if is_same and np.linalg.norm(pose[bonds[:, 0]] - pose[bonds[:, 1]], axis=1).max(initial=0.0) < _LONGEST_BOND_NM:
        return bonds, orders, coordinates
    if not len(known):
        raise TopologyMismatchError(
            f"{path}: heavy atoms are ordered otherwise than in the structure, which has no bonds to match them by: "
            "give the SDF with its heavy atoms in the structure's order, or a structure with CONECT records"
        )
    orders_of_atoms = match_graphs(elements, known, found, bonds)
    if not len(orders_of_atoms):
        raise TopologyMismatchError(
            f"{path}: the same atoms as the ligand's in the structure, but other bonds: give the SDF of this molecule"
        )
    # of a symmetric molecule the way that fits the pose best has its stereo too
    order = min(orders_of_atoms, key=lambda order: compute_superposed_rmsd(coordinates[order], pose))
    notes.append(f"{path.name}: atoms are ordered otherwise than in the structure, and were matched by their bonds")
    return np.argsort(order)[bonds], orders, coordinates[order]


def _check_molecule(name: str, n_atoms: int, bonds: np.ndarray) -> None:
    if n_atoms < 2:
        raise InputError(f"ligand {name} has {n_atoms} heavy atoms: a model needs at least 2")
    if len(bonds) == 0:
        raise InputError(f"ligand {name} has no bonds: add CONECT records to the PDB file or give an SDF file (`sdf`)")
    reached, grown = {0}, True
    while grown:
        linked = {int(b) for pair in bonds if reached & set(pair.tolist()) for b in pair}
        grown = not linked <= reached
        reached |= linked
    if len(reached) < n_atoms:
        raise InputError(
            f"ligand {name}: its bonds join only {len(reached)} of {n_atoms} heavy atoms: complete the CONECT records "
            "or give an SDF file (`sdf`)"
        )


def _build_protein(topology: Any, ligand: Any, xyz: np.ndarray) -> Protein:
    types: list[int] = []
    indices: list[list[int]] = []
    places: list[tuple[int, int]] = []
    for chain in topology.chains():
        for order, residue in enumerate(chain.residues()):
            backbone = _find_backbone(residue)
            if backbone is None or residue.index == ligand.index:
                continue
            name = get_parent_residue(residue.name).upper()
            types.append(RESIDUE_TYPES.index(name) if name in RESIDUE_TYPES else UNKNOWN_RESIDUE)
            indices.append(backbone)
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


def _find_backbone(residue: Any) -> list[int] | None:
    atoms = {a.name: a.index for a in residue.atoms()}
    return [atoms[n] for n in ("N", "CA", "C")] if all(n in atoms for n in ("N", "CA", "C")) else None


def find_links(places: Iterable[tuple[int, int]], ca: np.ndarray) -> np.ndarray:
    """A residue is linked to the next one in the same chain if their CA atoms are a peptide bond apart."""
    chains = np.array([chain for chain, _ in places])
    linked = np.zeros(len(ca), dtype=bool)
    near = np.linalg.norm(np.diff(ca, axis=0), axis=1) <= CHAIN_BREAK_NM
    linked[:-1] = near & (chains[1:] == chains[:-1])
    return linked
