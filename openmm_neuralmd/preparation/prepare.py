"""From a deposited structure to a folder that ``neuralmd simulate`` runs: what ``neuralmd prepare`` does."""

import io
import json
import string
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from openmm import Platform, unit
from openmm.app import Element, PDBFile, Topology
from rdkit import Chem

from openmm_neuralmd.checks import check_arguments
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.files import check_writable, compute_sha256
from openmm_neuralmd.folders import replace_files
from openmm_neuralmd.molecule.chemistry import describe_choice
from openmm_neuralmd.molecule.complex import PREPARED_FILES, Complex, load_prepared_complex
from openmm_neuralmd.preparation.arguments import PREPARATION_ARGUMENTS
from openmm_neuralmd.preparation.download import Fetch, download_component, fetch_text
from openmm_neuralmd.preparation.ligand import (
    PreparedLigand,
    prepare_ligand,
    read_bond_orders,
    read_component,
    read_smiles,
)
from openmm_neuralmd.preparation.protein import CAPS, add_hydrogens, complete_protein
from openmm_neuralmd.preparation.relaxation import find_strained, relax_built
from openmm_neuralmd.preparation.selection import POCKET_A, Parts, select_parts
from openmm_neuralmd.preparation.structure import Residue, compute_distance, read_structure
from openmm_neuralmd.units import NM_PER_ANGSTROM

DEFAULT_MAX_GAP = 5
"""Missing residues in a row that are built; longer loops would be guessed."""
_CLASH_A = 2.2  # no two heavy atoms that are not bonded come closer, short hydrogen bonds included
_CHAIN_LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class Preparation:
    """A prepared complex, its folder, the protocol as written to ``prepare.json``, and its warnings."""

    complex: Complex
    folder: Path
    protocol: dict[str, Any]

    @property
    def warnings(self) -> list[str]:
        return list(self.protocol["warnings"])


@check_arguments(**PREPARATION_ARGUMENTS)
def prepare_complex(
    source: str | Path,
    ligand: str,
    out: str | Path,
    *,
    chains: Sequence[str] | None = None,
    smiles: str | None = None,
    sdf: str | Path | None = None,
    ph: float = 7.0,
    max_gap: int = DEFAULT_MAX_GAP,
    remove: Sequence[str] = (),
    overwrite: bool = False,
    fetch: Fetch = fetch_text,
) -> Preparation:
    """Write ``complex.pdb``, ``ligand.sdf`` and ``prepare.json`` of a protein-ligand complex.

    Args:
        source: PDB or mmCIF file.
        ligand: NAME, NAME:CHAIN or NAME:CHAIN:NUMBER.
        out: Folder, created if absent.
        chains: Protein chains to keep; those near the ligand if None.
        smiles, sdf: Bond orders and protonation of the ligand; the Chemical Component Dictionary if both are None.
        ph: For the protein's hydrogens.
        max_gap: Longest gap of a chain that is built [residues]; longer ones are capped.
        remove: Names of ions and molecules to leave out.
        overwrite: Replace a prepared complex in ``out``.
        fetch: Downloads the component.

    Raises:
        InputError, TopologyMismatchError: If the input cannot be used; nothing is written then.
    """
    folder = Path(out)
    check_writable(folder)
    existing = [name for name in PREPARED_FILES if (folder / name).exists()]
    if existing and not overwrite:
        raise InputError(
            f"{folder} already holds {', '.join(existing)}; give `overwrite=True` to replace them or another `out`"
        )
    if smiles is not None and sdf is not None:
        raise InputError("both `smiles` and `sdf`: give one source of bond orders")
    if not 0.0 <= ph <= 14.0:
        raise InputError(f"pH {ph:g} is outside 0 to 14")
    structure = read_structure(source)
    parts = select_parts(structure, ligand, chains=chains, remove=remove)
    molecule, origin = _read_chemistry(parts.ligand.name, smiles, sdf, fetch)
    prepared = prepare_ligand(parts.ligand, molecule, origin)
    platform = _choose_platform()
    kept = {str(r) for r in _list_residues(parts)}
    locations = [note for note in structure.record["alternate_locations"] if note.split()[0] in kept]
    renamed = _shorten_names(parts)
    with _reproducible(platform):
        protein = complete_protein(
            parts.polymers, [parts.ligand, *parts.surroundings], max_gap=max_gap, platform=platform
        )
        topology, positions = protein.topology, protein.positions
        n_polymer = topology.getNumResidues()
        positions = np.concatenate([positions, _add_ligand(topology, parts.ligand, prepared)])
        for residue in parts.surroundings:
            positions = np.concatenate([positions, _add_residue(topology, residue)])
        variants = protein.variants + [None] * (topology.getNumResidues() - n_polymer)
        topology, positions, states = add_hydrogens(topology, positions, variants, ph=ph, platform=platform)
        deposited = {
            (r.chain, str(r.number), r.insertion_code, a.name)
            for p in parts.polymers
            for r in p.residues
            for a in r.atoms
        }
        reason = relax_built(topology, positions, deposited, n_polymer, platform=platform)
    warnings = [*parts.warnings, *prepared.warnings, *protein.warnings]
    if reason is not None:
        warnings.append(f"built atoms and hydrogens were not relaxed with Amber14: {reason}")
    strained = find_strained(topology, positions, deposited)
    warnings += [f"built peptide {name} is not planar and trans: its place is a guess" for name in strained]
    warnings += _check_built(topology, positions, n_polymer, parts)
    protocol = {
        "source": {"file": Path(source).name, "sha256": compute_sha256(source)},
        "ligand_selection": f"{parts.ligand.name}:{parts.ligand.chain}:{parts.ligand.number}",
        **structure.record,
        "alternate_locations": locations,
        **parts.record,
        "renamed": renamed,
        **protein.record,
        "ph": ph,
        "protonation_states": states,
        "relaxed": "built atoms and hydrogens, Amber14, deposited heavy atoms fixed" if reason is None else None,
        "ligand": prepared.record,
        "n_atoms": topology.getNumAtoms(),
        "platform": platform.getName(),
        "versions": {name: version(name) for name in ("openmm_neuralmd", "openmm", "pdbfixer", "rdkit", "gemmi")},
        "warnings": warnings,
    }
    text = io.StringIO()
    PDBFile.writeFile(topology, positions * unit.nanometer, text, keepIds=True)
    contents = (
        text.getvalue(),
        Chem.MolToMolBlock(prepared.molecule) + "$$$$\n",
        json.dumps(protocol, indent=2) + "\n",
    )
    replace_files(folder, dict(zip(PREPARED_FILES, contents, strict=True)))
    return Preparation(load_prepared_complex(folder), folder, protocol)


def _read_chemistry(name: str, smiles: str | None, sdf: str | Path | None, fetch: Fetch) -> tuple[Chem.Mol, str]:
    """The molecule that tells the ligand's bond orders, and where it came from."""
    if smiles is not None:
        return read_smiles(smiles), f"SMILES {smiles}"
    if sdf is not None:
        molecule, chosen = read_bond_orders(sdf), describe_choice(sdf)
        return molecule, f"SDF {chosen or Path(sdf).name}"
    try:
        return read_component(download_component(name, fetch=fetch)), f"Chemical Component Dictionary {name}"
    except InputError as error:
        raise InputError(f"bond orders of ligand {name} are unknown: give `smiles` or `sdf` ({error})") from error


def _choose_platform() -> Platform:
    """OpenMM's CPU platform, or Reference where it is absent; never its own choice, which may be a broken GPU."""
    names = [Platform.getPlatform(k).getName() for k in range(Platform.getNumPlatforms())]
    return Platform.getPlatformByName("CPU" if "CPU" in names else "Reference")


def _list_residues(parts: Parts) -> list[Residue]:
    return [*(r for p in parts.polymers for r in p.residues), parts.ligand, *parts.surroundings]


@contextmanager
def _reproducible(platform: Platform) -> Iterator[None]:
    """One thread for every context made inside: several add forces in any order, and minimisations amplify that."""
    if platform.getName() != "CPU":
        yield
        return
    wanted = {"Threads": "1", "DeterministicForces": "true"}
    before = {name: platform.getPropertyDefaultValue(name) for name in wanted}
    try:
        for name, value in wanted.items():
            platform.setPropertyDefaultValue(name, value)
        yield
    finally:
        for name, value in before.items():
            platform.setPropertyDefaultValue(name, value)


def _shorten_names(parts: Parts) -> list[str]:
    """Give long chain identifiers a letter and a long ligand name "LIG", since PDB files hold no longer ones."""
    residues = _list_residues(parts)
    notes = []
    taken = {r.chain for r in residues if len(r.chain) == 1}
    free = iter([c for c in _CHAIN_LETTERS if c not in taken])
    for chain in dict.fromkeys(r.chain for r in residues if len(r.chain) != 1):
        letter = next(free, None)
        if letter is None:
            raise InputError("more chains than PDB files can name; keep fewer with `chains`")
        notes.append(f"chain {chain} to {letter}")
        for residue in [r for r in residues if r.chain == chain]:
            residue.chain = letter
        for polymer in [p for p in parts.polymers if p.chain == chain]:
            polymer.chain = letter
    if len(parts.ligand.name) > 3:
        notes.append(f"ligand {parts.ligand.name} to LIG")
        parts.ligand.name = "LIG"
    return notes


def _check_built(topology: Topology, positions: np.ndarray, n_polymer: int, parts: Parts) -> list[str]:
    """Warnings about residues built near the ligand, and about contacts too close to be real."""
    pose = parts.ligand.positions
    deposited = {(r.chain, f"{r.number}{r.insertion_code}") for p in parts.polymers for r in p.residues}
    warnings = []
    for residue in list(topology.residues())[:n_polymer]:
        heavy = [a.index for a in residue.atoms() if a.element.atomic_number > 1]
        distance = compute_distance(pose, positions[heavy] / NM_PER_ANGSTROM)
        label = (residue.chain.id, f"{residue.id}{residue.insertionCode.strip()}")
        name = f"{residue.name}:{':'.join(label)}"
        if (label not in deposited or residue.name in CAPS) and distance < POCKET_A:
            warnings.append(f"{name} was built, {distance:.1f} Å from the ligand: its place is a guess")
        if distance < _CLASH_A:
            warnings.append(f"{name} comes within {distance:.2f} Å of the ligand")
    return warnings


def _add_ligand(topology: Topology, residue: Residue, prepared: PreparedLigand) -> np.ndarray:
    """Append the ligand with its bonds, in a chain of its own; positions [nm] of its atoms."""
    new = topology.addResidue(residue.name, topology.addChain(residue.chain), str(residue.number))
    atoms = [
        topology.addAtom(name, Element.getByAtomicNumber(atom.GetAtomicNum()), new)
        for name, atom in zip(prepared.atom_names, prepared.molecule.GetAtoms(), strict=True)
    ]
    for bond in prepared.molecule.GetBonds():
        topology.addBond(atoms[bond.GetBeginAtomIdx()], atoms[bond.GetEndAtomIdx()])
    return np.array(prepared.molecule.GetConformer().GetPositions()) * NM_PER_ANGSTROM


def _add_residue(topology: Topology, residue: Residue) -> np.ndarray:
    """Append an ion or molecule as deposited, in a chain of its own; positions [nm] of its atoms."""
    chain = topology.addChain(residue.chain)
    new = topology.addResidue(residue.name[:3], chain, str(residue.number), residue.insertion_code)
    for atom in residue.atoms:
        topology.addAtom(atom.name, Element.getBySymbol(atom.element), new)
    return residue.positions * NM_PER_ANGSTROM
