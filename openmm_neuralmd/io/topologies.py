"""Topology files of any engine: PDB, mmCIF, GRO, prmtop, PSF through mdtraj, HDF5, TPR through MDAnalysis."""

import re
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import mdtraj
import numpy as np
from mdtraj.formats.gro import load_gro
from mdtraj.formats.pdbx import load_pdbx

from openmm_neuralmd.errors import InputError, TopologyMismatchError, describe_error
from openmm_neuralmd.io.formats import (
    CIF_SUFFIXES,
    HDF5_SUFFIXES,
    PDB_SUFFIXES,
    PRMTOP_SUFFIXES,
    TOPOLOGIES,
    TOPOLOGY_SUFFIXES,
    check_format,
)
from openmm_neuralmd.io.hdf5_trajectories import load_hdf5
from openmm_neuralmd.molecule.residues import ION_ELEMENTS
from openmm_neuralmd.units import ANGSTROM_PER_NM

_HEAVIEST_HYDROGEN = 4.5  # [Da]
_ELEMENTS = mdtraj.element.Element._elements_by_symbol
_OF_MOLECULES = frozenset("H B C N O F P S I CL BR SI SE FE ZN MG".split())  # CA, CD, NE, HG name C, N and H atoms


class StructureFile(NamedTuple):
    """What a topology file holds: atoms, and positions [nm] (n_atoms, 3) and cell [nm] (3, 3) where it has them."""

    topology: mdtraj.Topology
    positions: np.ndarray | None
    cell: np.ndarray | None


def load_topology(path: Path) -> tuple[mdtraj.Topology, np.ndarray | None]:
    """Topology, and positions [nm], (n_atoms, 3), where the file has them; of a TPR file the topology only.

    Raises:
        InputError: If the file is missing or unreadable.
    """
    structure = load_structure_file(path)
    return structure.topology, None if path.suffix.lower() == ".tpr" else structure.positions


def load_structure_file(path: Path) -> StructureFile:
    """All that a topology file tells.

    Raises:
        InputError: If the file is missing or unreadable.
    """
    suffix = check_format(path, TOPOLOGY_SUFFIXES, "topology", TOPOLOGIES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on what is checked here, or does not matter, such as numbers that wrap
            topology, positions, cell = _READERS[suffix](path)
    except (InputError, TopologyMismatchError):
        raise
    except Exception as error:  # readers raise whatever the damage led to
        if isinstance(error, IndexError) and suffix in PDB_SUFFIXES:  # mdtraj's of a file without an ATOM record
            raise InputError(f"{path}: holds no atoms that could be read; give a topology") from error
        raise InputError(f"{path}: cannot be read as a topology: {describe_damage(error)}") from error
    if topology.n_atoms == 0:
        raise InputError(f"{path}: holds no atoms that could be read; give a topology")
    if suffix == ".gro":
        _set_elements(topology)
    return StructureFile(
        topology,
        None if positions is None else np.asarray(positions, dtype=np.float64),
        None if cell is None or not np.any(cell) else np.asarray(cell, dtype=np.float64),
    )


def _read_first(reader: Callable[..., mdtraj.Trajectory]) -> Callable[[Path], StructureFile]:
    """What a reader of mdtraj finds in the first frame of a file."""

    def read(path: Path) -> StructureFile:
        frame = reader(str(path.absolute()))  # mdtraj takes a name such as http:/... for an address
        cell = None if frame.unitcell_vectors is None else frame.unitcell_vectors[0]
        return StructureFile(frame.topology, frame.xyz[0], cell)

    return read


def _read_bare(reader: Callable[[str], mdtraj.Topology]) -> Callable[[Path], StructureFile]:
    """What a reader of mdtraj finds in a file without positions."""
    return lambda path: StructureFile(reader(str(path.absolute())), None, None)


def _load_tpr(path: Path) -> StructureFile:
    try:
        import MDAnalysis
    except ImportError as error:
        raise InputError(f"{path}: TPR files need MDAnalysis: pip install 'openmm_neuralmd[gromacs]'") from error
    try:
        universe = MDAnalysis.Universe(str(path))
    except ValueError as error:  # whose text names a class; what went wrong is in the first error
        raise InputError(f"{path}: cannot be read as a topology: {describe_damage(_find_cause(error))}") from error
    bonds = universe.bonds.indices if hasattr(universe, "bonds") else np.empty((0, 2), dtype=np.int64)
    elements = guess_elements(universe.atoms.masses, bonds)
    if hasattr(universe.atoms, "elements"):
        elements = [_ELEMENTS.get(s.upper(), e) for s, e in zip(universe.atoms.elements, elements, strict=True)]
    topology = mdtraj.Topology()
    atoms: list[Any] = []
    for segment in universe.segments:
        chain = topology.add_chain()
        for old in segment.residues:
            residue = topology.add_residue(old.resname, chain, resSeq=int(old.resid), segment_id=str(segment.segid))
            for atom in old.atoms:
                atoms.append(topology.add_atom(atom.name, elements[atom.index], residue))
    for a, b in bonds:
        topology.add_bond(atoms[a], atoms[b])
    try:
        positions = universe.atoms.positions / ANGSTROM_PER_NM
        cell = universe.trajectory.ts.triclinic_dimensions
    except (AttributeError, ValueError, MDAnalysis.exceptions.NoDataError):  # before MDAnalysis 2.10
        return StructureFile(topology, None, None)
    return StructureFile(topology, positions.astype(np.float64), None if cell is None else cell / ANGSTROM_PER_NM)


def guess_elements(masses: np.ndarray, bonds: np.ndarray) -> list[Any]:
    """mdtraj elements of nearest mass; up to 4.5 Da is hydrogen, whose surplus goes back to what it is bonded to.

    Args:
        masses: [Da], (n_atoms,); hydrogens may have been made heavy at the cost of their neighbours.
        bonds: Atom pairs, (n_bonds, 2).
    """
    light = (masses > 0.5) & (masses < _HEAVIEST_HYDROGEN)
    own = np.where(light, mdtraj.element.hydrogen.mass, masses)
    for a, b in np.asarray(bonds).reshape(-1, 2).tolist():
        if light[a] != light[b]:
            hydrogen, heavy = (a, b) if light[a] else (b, a)
            own[heavy] += masses[hydrogen] - mdtraj.element.hydrogen.mass
    elements = sorted(_ELEMENTS.values(), key=lambda e: -e.mass)
    known = {e.number: e for e in elements if e.mass}  # of isotopes the lightest: deuterium is hydrogen
    table = [known[number] for number in sorted(known)]
    nearest = np.abs(own[:, None] - np.array([e.mass for e in table])).argmin(axis=1)
    return [mdtraj.element.virtual if m <= 0.5 else table[k] for m, k in zip(own, nearest, strict=True)]


def _set_elements(topology: mdtraj.Topology) -> None:
    """Elements from atom names, where a file has no more than those; mdtraj itself reads CL as C and BR as B."""
    for residue in topology.residues:
        for atom in residue.atoms:
            atom.element = _read_element(atom.name, is_alone=residue.n_atoms == 1)


def _read_element(name: str, *, is_alone: bool) -> Any:
    letters = re.sub(r"^[^A-Z]+", "", name.upper())
    if is_alone:  # an ion: ZN, CA, NA+, CL-, MG2
        symbol = re.sub(r"[^A-Z].*", "", letters)
        return _ELEMENTS.get(
            ION_ELEMENTS.get(symbol, symbol).upper(), _ELEMENTS.get(symbol[:2], mdtraj.element.virtual)
        )
    symbol = letters[:2] if letters[:2] in _OF_MOLECULES else letters[:1]
    return _ELEMENTS[symbol] if symbol in _OF_MOLECULES else mdtraj.element.virtual


def _find_cause(error: BaseException) -> BaseException:
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    return error


def describe_damage(error: BaseException) -> str:
    """Why a reader of files failed, in one line; never empty."""
    if isinstance(error, TypeError | EOFError):  # what readers stumble over where a file ends too early
        return "empty or cut short"
    return describe_error(error)


_READERS: dict[str, Callable[[Path], StructureFile]] = {
    **dict.fromkeys(PDB_SUFFIXES, _read_first(partial(mdtraj.load_pdb, frame=0))),
    **dict.fromkeys(CIF_SUFFIXES, _read_first(partial(load_pdbx, frame=0))),
    **dict.fromkeys(PRMTOP_SUFFIXES, _read_bare(mdtraj.load_prmtop)),
    **dict.fromkeys(HDF5_SUFFIXES, lambda path: StructureFile(*load_hdf5(path))),
    ".gro": _read_first(load_gro),
    ".psf": _read_bare(mdtraj.load_psf),
    ".tpr": _load_tpr,
}
"""One for each of ``TOPOLOGY_SUFFIXES``; mdtraj's own choice by name would include readers that run code."""
