"""A complex from whatever topology file there is: GROMACS' GRO and TPR, Amber's prmtop, HDF5, besides PDB and mmCIF.

These know less than a prepared complex: a GRO file no elements and no bonds, a TPR or prmtop file bonds without orders,
a prmtop file no coordinates, and a frame of a run may be cut by its box and full of water. What is missing is taken
from an SDF file, or guessed from names, distances and hydrogens; the complex's notes say which.
"""

import string
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gemmi
import mdtraj
import numpy as np
from scipy.spatial import cKDTree

from openmm_neuralmd.checks import a_number, check_arguments, check_path, check_text, optional
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.io.formats import HDF5_SUFFIXES, PRMTOP_SUFFIXES, is_hdf5
from openmm_neuralmd.io.topologies import StructureFile, load_structure_file
from openmm_neuralmd.io.trajectories import open_trajectory
from openmm_neuralmd.molecule.bonds import perceive_bonds
from openmm_neuralmd.molecule.chemistry import perceive_bond_orders
from openmm_neuralmd.molecule.complex import Complex, load_complex
from openmm_neuralmd.molecule.images import Tree, make_whole, span_points
from openmm_neuralmd.molecule.residues import (
    BULK_IONS,
    WATER,
    classify_residue,
    describe_residue,
    is_bulk,
    select_residue,
)
from openmm_neuralmd.units import ANGSTROM_PER_NM

SUFFIXES = (".gro", ".tpr", *PRMTOP_SUFFIXES, ".psf", *HDF5_SUFFIXES)
"""Of files that mdtraj or MDAnalysis reads; PDB and mmCIF files are OpenMM's."""
_CHAIN_LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits
_MAX_BONDS = {1: 1, 9: 1, 17: 1, 35: 1, 53: 1, 8: 2, 5: 4, 6: 4, 7: 4, 14: 4, 15: 5, 16: 6}
"""Valences by atomic number; an atom with more bonds was given some of a neighbour that stands too near."""
_COVALENT_NM = 0.02  # beyond the sum of the covalent radii


def find_structure_file(complex_file: str | None, top: str | None, trajectories: Sequence[str]) -> str | None:
    """What a complex is read from: a file of its own, else the topology, else a trajectory that holds one."""
    return complex_file or top or next((t for t in trajectories if is_hdf5(t)), None)


@check_arguments(
    path=check_path,
    ligand=check_text,
    sdf=optional(check_path),
    trajectory=optional(check_path),
    frame_interval=optional(a_number(above=0.0)),
)
def load_structure(
    path: str | Path,
    ligand: str,
    *,
    sdf: str | Path | None = None,
    trajectory: str | Path | None = None,
    frame_interval: float | None = None,
) -> Complex:
    """Read a complex from a file of any engine; water and the ions Na, Cl and K of other files than PDB are left out.

    Args:
        path: PDB or mmCIF (as ``load_complex``), GRO, TPR, prmtop, PSF or HDF5.
        ligand: Residue name, ``NAME:CHAIN`` or ``NAME:CHAIN:NUMBER``.
        sdf: The ligand's bonds, their orders and ideal geometry.
        trajectory: Its first frame is the pose where ``path`` holds no coordinates.
        frame_interval: Of ``trajectory`` [ps], where it does not say it.

    Raises:
        InputError: If a file is missing or unreadable, there are no coordinates, an element cannot be right, or as in
            ``Complex.from_topology``.
        TopologyMismatchError: As in ``Complex.from_topology``.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        return load_complex(path, ligand, sdf=sdf)
    file = load_structure_file(path)
    notes: list[str] = []
    if file.positions is None:
        if trajectory is None:
            raise InputError(
                f"{path}: holds no coordinates; give the complex as PDB, mmCIF or GRO (of Amber files ambpdb makes one)"
            )
        frames = open_trajectory(trajectory, path, interval=frame_interval)
        file = StructureFile(file.topology, frames.positions, frames.cell)
        notes.append(f"{path.name} holds no coordinates: the pose is the first frame of {Path(trajectory).name}")
    file = _leave_out_solvent(file, path.name, notes)
    positions = _mend(file)
    for chain, letter in zip(file.topology.chains, _CHAIN_LETTERS, strict=False):
        chain.chain_id = chain.chain_id or letter
    topology = file.topology.to_openmm()
    residue = select_residue(topology, ligand)
    if path.suffix.lower() == ".gro":
        notes.append(f"{path.name} holds no elements: they were read from the atoms' names")
    bonded = {a.index for bond in topology.bonds() for a in bond}
    if bonded.isdisjoint(a.index for a in residue.atoms()):
        _add_bonds(topology, residue, positions, path.name)
        if sdf is None:
            notes.append(f"{path.name} holds no bonds of the ligand: they were perceived from distances")
    complex_ = Complex.from_topology(topology, positions, ligand, sdf=sdf)
    if complex_.ligand.bond_orders is None:
        complex_ = _add_bond_orders(complex_, notes)
    return replace(complex_, source=str(path), notes=(*complex_.notes, *notes))


def _leave_out_solvent(file: StructureFile, name: str, notes: list[str]) -> StructureFile:
    assert file.positions is not None
    bulk = [residue for residue in file.topology.residues if is_bulk(residue)]
    n_waters = sum(classify_residue(residue) == WATER for residue in bulk)
    left_out = {atom.index for residue in bulk for atom in residue.atoms}
    left_out |= {atom.index for atom in file.topology.atoms if atom.element is mdtraj.element.virtual}
    if not left_out:
        return file
    kept = np.array([k for k in range(file.topology.n_atoms) if k not in left_out], dtype=np.int64)
    parts = [(n_waters, "water", ""), (len(bulk) - n_waters, "ion", f" ({', '.join(BULK_IONS)})")]
    counted = " and ".join(f"{n} {what}{'s' if n > 1 else ''}{which}" for n, what, which in parts if n)
    if counted:
        notes.append(f"{name}: {counted} left out of the rigid surroundings")
    return StructureFile(file.topology.subset(kept), file.positions[kept], file.cell)


def _mend(file: StructureFile) -> np.ndarray:
    """Positions [nm], (n_atoms, 3), of whole residues side by side, where the box has cut or scattered them.

    Residues are joined to the nearest one, along a minimum spanning tree of the distances between the images nearest to
    each other: a peptide is followed along its chain, a ligand goes to its pocket.
    """
    assert file.positions is not None
    if file.cell is None:
        return file.positions
    centres = np.array(
        [next((a.index for a in r.atoms if a.name == "CA"), r.atom(0).index) for r in file.topology.residues]
    )
    owners = np.array([a.residue.index for a in file.topology.atoms])
    between = span_points(file.positions[centres], file.cell)
    within = np.setdiff1d(np.arange(len(owners)), centres)
    tree = Tree(
        len(owners),
        np.concatenate([centres[between.children], within]),
        np.concatenate([centres[between.parents], centres[owners[within]]]),
    )
    return make_whole(file.positions[None], file.cell[None], tree)[0]


def _add_bonds(topology: Any, residue: Any, positions: np.ndarray, name: str) -> None:
    """Bonds between the ligand's heavy atoms, and of each hydrogen to the nearest, checked by what elements allow."""
    atoms = [a for a in residue.atoms() if a.element is not None]
    heavy = [a for a in atoms if a.element.atomic_number > 1]
    if len(heavy) < 2:
        return
    pose = positions[[a.index for a in heavy]]
    numbers = np.array([a.element.atomic_number for a in heavy])
    bonds = [(heavy[i], heavy[j]) for i, j in perceive_bonds(numbers, pose).tolist()]
    tree = cKDTree(pose)
    bonds += [(a, heavy[tree.query(positions[a.index])[1]]) for a in atoms if a.element.atomic_number == 1]
    for atom, number in zip(heavy, numbers.tolist(), strict=True):
        n_bonds = sum(atom in bond for bond in bonds)
        if n_bonds > _MAX_BONDS.get(number, n_bonds):
            raise InputError(
                f"{name}: atom {atom.name} of {describe_residue(residue)} reads as {atom.element.symbol}, but has "
                f"{n_bonds} neighbours: rename it, or give the complex as PDB or mmCIF with its elements"
            )
    _check_covalent(topology, residue, heavy, positions, name)
    for first, second in bonds:
        topology.addBond(first, second)


def _check_covalent(topology: Any, residue: Any, heavy: list[Any], positions: np.ndarray, name: str) -> None:
    others = [
        a
        for r in topology.residues()
        if r is not residue
        for a in r.atoms()
        if a.element is not None and a.element.atomic_number > 1 and not gemmi.Element(a.element.symbol).is_metal
    ]
    if not others:
        return
    tree = cKDTree(positions[[a.index for a in others]])
    for atom in heavy:
        distance, k = tree.query(positions[atom.index])
        radii = sum(gemmi.Element(a.element.symbol).covalent_r for a in (atom, others[k])) / ANGSTROM_PER_NM
        if distance < radii + _COVALENT_NM:
            raise InputError(
                f"{name}: ligand {describe_residue(residue)} is bonded to {describe_residue(others[k].residue)} "
                f"({atom.name}-{others[k].name}, {ANGSTROM_PER_NM * distance:.2f} Å): covalent ligands are not "
                "supported"
            )


def _add_bond_orders(complex_: Complex, notes: list[str]) -> Complex:
    ligand = complex_.ligand
    orders = perceive_bond_orders(ligand.atomic_numbers, ligand.bonds, ligand.hydrogen_parents, ligand.positions)
    if orders is None:
        notes.append(f"bond orders of {ligand.name} are unknown: all bonds outside rings may turn (give `sdf`)")
        return complex_
    notes.append(f"bond orders of {ligand.name} were perceived from its hydrogens (`sdf` gives them)")
    return replace(complex_, ligand=replace(ligand, bond_orders=orders))
