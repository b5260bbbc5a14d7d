"""The ligand's chemistry: bond orders from SMILES, SDF or the Chemical Component Dictionary, stereo from coordinates.

A source of bond orders knows atoms in its own order; its molecular graph is laid over the coordinates, so that the
result has the structure's atoms, order and pose. Hydrogens come from the source's protonation state.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdCIPLabeler
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from openmm_neuralmd.errors import InputError, TopologyMismatchError, describe_error
from openmm_neuralmd.molecule.chemistry import build_graph, format_formula
from openmm_neuralmd.preparation.structure import Residue

_BOND_TOLERANCE_A = 0.45  # beyond the sum of the covalent radii: wide, since bonds of the source alone are used
_SAME_POSE_A = 0.5  # an SDF within this rms distance is in the structure's own frame
_MAX_MATCHES = 1000  # of one molecule on itself: turned rings and groups multiply
_LIKELY_LENGTHS = (0.78, 1.2)  # of a bond, in sums of the covalent radii; C#C has 0.82
_ORDERS = {
    gemmi.BondType.Single: Chem.BondType.SINGLE,
    gemmi.BondType.Double: Chem.BondType.DOUBLE,
    gemmi.BondType.Triple: Chem.BondType.TRIPLE,
    gemmi.BondType.Aromatic: Chem.BondType.AROMATIC,
}


@dataclass(frozen=True)
class PreparedLigand:
    """The ligand with bond orders and hydrogens.

    Attributes:
        molecule: With one conformer [A]; heavy atoms in the structure's order, then hydrogens.
        atom_names: Of all atoms, unique.
        record: What it is and where it came from, for the protocol.
        warnings: Stereo that differs from the source's, unlikely bond lengths.
    """

    molecule: Chem.Mol
    atom_names: tuple[str, ...]
    record: dict[str, Any]
    warnings: list[str]


def read_smiles(smiles: str) -> Chem.Mol:
    """Molecule of a SMILES string, without explicit hydrogens.

    Raises:
        InputError: If it is no SMILES.
    """
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or molecule.GetNumAtoms() == 0:
        raise InputError(f"`smiles` {smiles!r} is no valid SMILES; quote it and check its rings and valences")
    return molecule


def read_bond_orders(path: str | Path) -> Chem.Mol:
    """The first molecule of an SDF or MOL file, without explicit hydrogens.

    Raises:
        InputError: If the file is missing or holds no valid molecule.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the ligand's SDF file")
    with rdBase.BlockLogs():
        molecule = Chem.MolFromMolFile(str(path))
    if molecule is None or molecule.GetNumAtoms() == 0:
        raise InputError(f"{path}: holds no valid molecule; give an SDF or MOL file with bond orders")
    Chem.AssignStereochemistryFrom3D(molecule)
    return molecule


def read_component(path: str | Path) -> Chem.Mol:
    """Molecule of a Chemical Component Dictionary file, without explicit hydrogens; stereo is left to coordinates.

    Raises:
        InputError: If the file holds no component with atoms and bonds.
    """
    try:
        component = gemmi.make_chemcomp_from_block(gemmi.cif.read(str(path)).sole_block())
        editable = Chem.RWMol()
        index = {}
        for atom in component.atoms:
            new = Chem.Atom(atom.el.name if not atom.is_hydrogen() else "H")
            new.SetFormalCharge(round(atom.charge))
            index[atom.id] = editable.AddAtom(new)
        for bond in component.rt.bonds:
            editable.AddBond(index[bond.id1.atom], index[bond.id2.atom], _ORDERS[bond.type])
        molecule = editable.GetMol()
        with rdBase.BlockLogs():
            Chem.SanitizeMol(molecule)
            molecule = Chem.RemoveHs(molecule)
    except (RuntimeError, ValueError, KeyError) as error:
        raise InputError(
            f"{path}: no usable component definition ({describe_error(error)}); give `smiles` or `sdf`"
        ) from error
    return molecule


def prepare_ligand(residue: Residue, source: Chem.Mol, source_name: str) -> PreparedLigand:
    """Give the ligand of a structure the bond orders, charges and protonation of ``source``.

    Args:
        residue: Heavy atoms and pose.
        source: Of one of the readers above.
        source_name: Where it came from.

    Raises:
        TopologyMismatchError: If the source is another molecule; both formulas are named.
    """
    source = Chem.RemoveHs(source)
    symbols = [a.element for a in residue.atoms]
    _check_formula(residue, symbols, source, source_name)
    order = _match_atoms(residue, source, source_name)
    molecule = Chem.RenumberAtoms(source, order)
    expected = _label_stereo(molecule)
    molecule.RemoveAllConformers()
    conformer = Chem.Conformer(molecule.GetNumAtoms())
    for k, atom in enumerate(residue.atoms):
        conformer.SetAtomPosition(k, atom.position.tolist())
    molecule.AddConformer(conformer)
    Chem.AssignStereochemistryFrom3D(molecule)
    names = [a.name for a in residue.atoms]
    found = _label_stereo(molecule)
    warnings = [
        f"ligand {residue}: {_name_place(place, names)} is {found.get(place, 'without stereo')} in the coordinates, "
        f"{label} in {source_name}; the coordinates were kept"
        for place, label in expected.items()
        if found.get(place) != label
    ]
    warnings += _find_unlikely_bonds(residue, molecule)
    complete = Chem.AddHs(molecule, addCoords=True)
    hydrogens = _name_hydrogens(complete.GetNumAtoms() - len(names), set(names))
    complete.SetProp("_Name", residue.name)
    record = {
        "residue": str(residue),
        "bond_orders_from": source_name,
        "smiles": Chem.MolToSmiles(molecule),
        "formula": CalcMolFormula(molecule),
        "charge": Chem.GetFormalCharge(molecule),
        "stereo_in_coordinates": {_name_place(place, names): label for place, label in found.items()},
        "hydrogens_in_file_replaced": len(residue.hydrogens),
        "hydrogens_added": len(hydrogens),
    }
    return PreparedLigand(complete, (*names, *hydrogens), record, warnings)


def _check_formula(residue: Residue, symbols: list[str], source: Chem.Mol, source_name: str) -> None:
    if len(Chem.GetMolFrags(source)) > 1:
        raise InputError(f"{source_name} holds several molecules; give the ligand alone, without salt or solvent")
    expected = [a.GetSymbol() for a in source.GetAtoms()]
    if sorted(symbols) != sorted(expected):
        raise TopologyMismatchError(
            f"ligand {residue} has the heavy atoms {format_formula(symbols)} in the structure, {source_name} has "
            f"{format_formula(expected)} ({CalcMolFormula(source)}): give this ligand's SMILES or SDF, or complete "
            "its coordinates"
        )


def _match_atoms(residue: Residue, source: Chem.Mol, source_name: str) -> list[int]:
    """For each atom of the structure its index in ``source``, from the graphs; where there are several, the best."""
    perceived = _perceive_graph(residue)
    matches = np.array(
        perceived.GetSubstructMatches(_draw(source), uniquify=False, maxMatches=_MAX_MATCHES, useChirality=False)
    )
    if not len(matches):
        raise TopologyMismatchError(
            f"ligand {residue} and {source_name} have the same formula but other bonds: the bonds seen in the "
            "coordinates do not fit; give the SMILES of this isomer, or check the coordinates"
        )
    xyz = residue.positions[matches]  # (n_matches, n_atoms, 3), in the order of source
    if source.GetNumConformers() and source.GetConformer().Is3D():
        rms = np.sqrt(((xyz - source.GetConformer().GetPositions()) ** 2).sum(axis=-1).mean(axis=1))
        if rms.min() < _SAME_POSE_A:
            return np.argsort(matches[rms.argmin()]).tolist()
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in source.GetBonds()]
    orders = np.array([b.GetBondTypeAsDouble() for b in source.GetBonds()])
    first, second = np.array(bonds).T
    lengths = np.linalg.norm(xyz[:, first] - xyz[:, second], axis=-1)
    return np.argsort(matches[(lengths @ orders).argmin()]).tolist()  # the higher orders on the shorter bonds


def _find_unlikely_bonds(residue: Residue, molecule: Chem.Mol) -> list[str]:
    warnings = []
    for bond in molecule.GetBonds():
        a, b = residue.atoms[bond.GetBeginAtomIdx()], residue.atoms[bond.GetEndAtomIdx()]
        length = float(np.linalg.norm(a.position - b.position))
        expected = gemmi.Element(a.element).covalent_r + gemmi.Element(b.element).covalent_r
        if not _LIKELY_LENGTHS[0] <= length / expected <= _LIKELY_LENGTHS[1]:
            warnings.append(
                f"ligand {residue}: bond {a.name}-{b.name} is {length:.2f} Å long, and the simulation keeps it so; "
                "mend the coordinates"
            )
    return warnings


def _perceive_graph(residue: Residue) -> Chem.Mol:
    """Atoms and single bonds seen in the coordinates."""
    elements = [gemmi.Element(a.element) for a in residue.atoms]
    radii = np.array([element.covalent_r for element in elements])
    xyz = residue.positions
    near = np.linalg.norm(xyz[:, None] - xyz[None], axis=-1) < radii[:, None] + radii[None] + _BOND_TOLERANCE_A
    return build_graph(np.array([e.atomic_number for e in elements]), np.argwhere(np.triu(near, 1)))


def _draw(source: Chem.Mol) -> Chem.Mol:
    """The same graph with single bonds only."""
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in source.GetBonds()]
    numbers = np.array([a.GetAtomicNum() for a in source.GetAtoms()])
    return build_graph(numbers, np.array(bonds, dtype=np.int64).reshape(-1, 2))


def _label_stereo(molecule: Chem.Mol) -> dict[tuple[int, ...], str]:
    """CIP label of each specified stereo centre (atom,) and double bond (atom, atom)."""
    rdCIPLabeler.AssignCIPLabels(molecule)
    labels: dict[tuple[int, ...], str] = {}
    for atom in molecule.GetAtoms():
        if atom.HasProp("_CIPCode"):
            labels[(atom.GetIdx(),)] = atom.GetProp("_CIPCode")
    for bond in molecule.GetBonds():
        if bond.HasProp("_CIPCode"):
            ends = sorted((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()))
            labels[tuple(ends)] = bond.GetProp("_CIPCode")
    return labels


def _name_place(place: tuple[int, ...], names: list[str]) -> str:
    return "=".join(names[k] for k in place)


def _name_hydrogens(n_hydrogens: int, taken: set[str]) -> list[str]:
    free = (name for name in (f"H{k}" for k in range(1, 1000)) if name not in taken)
    return [next(free) for _ in range(n_hydrogens)]
