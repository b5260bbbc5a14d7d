"""Which parts of a structure make the complex: the ligand, the chains around it, and what else stays in place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gemmi
import numpy as np

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.molecule.residues import is_reserved_name
from openmm_neuralmd.preparation.structure import Polymer, Residue, Structure, compute_distance

POCKET_A = 10.0  # the reach of the default model
CONTACT_A = 5.0  # chains this near the ligand hold it; farther ones are mostly crystal neighbours
_BOND_TOLERANCE_A = 0.2  # beyond the sum of the covalent radii of Cordero et al. (2008), doi:10.1039/b801115j


@dataclass
class Parts:
    """Ligand, kept chains, kept ions and molecules; a record of the choices, and warnings about them."""

    ligand: Residue
    polymers: list[Polymer]
    surroundings: list[Residue]
    record: dict[str, Any]
    warnings: list[str]


def select_parts(
    structure: Structure, ligand: str, *, chains: Sequence[str] | None = None, remove: Sequence[str] = ()
) -> Parts:
    """Find the ligand and choose what stays around it; waters never do.

    Args:
        structure: Of ``read_structure``.
        ligand: NAME, NAME:CHAIN or NAME:CHAIN:NUMBER.
        chains: Protein chains to keep, where the ligand is looked for too; those within ``CONTACT_A`` of it if None.
        remove: Names of ions or molecules to leave out.

    Raises:
        InputError: If the ligand is absent, ambiguous, named like protein or water, bonded to something or holds a
            metal; if no protein is kept; if a name in ``chains`` or ``remove`` is not there.
    """
    known = {p.chain for p in structure.polymers}
    if chains is not None and not set(chains) <= known:
        raise InputError(
            f"no chain {', '.join(sorted(set(chains) - known))}; the structure's protein and nucleic acid chains are "
            f"{', '.join(sorted(known)) or 'none'}"
        )
    chosen = _find_ligand(structure, ligand, chains)
    _check_ligand(structure, chosen)
    pose = chosen.positions
    kept: list[Polymer] = []
    left_out: list[Polymer] = []
    warnings = []
    for polymer in structure.polymers:
        distance = min(compute_distance(pose, r.positions) for r in polymer.residues)
        if distance <= CONTACT_A if chains is None else polymer.chain in chains:
            kept.append(polymer)
            continue
        left_out.append(polymer)
        if chains is None and distance <= POCKET_A:
            warnings.append(
                f"chain {polymer.chain} was left out, {distance:.1f} Å from the ligand and in the models' reach of "
                f"{POCKET_A:g} Å; if it belongs to the pocket, keep it with `chains`"
            )
    if not any(p.is_peptide for p in kept):
        where = f"chain {', '.join(chains)}" if chains else f"within {CONTACT_A:g} Å of {chosen}"
        found = ", ".join(p.chain for p in left_out if p.is_peptide) or "none"
        raise InputError(f"no protein {where} (protein chains: {found}); choose others with `chains`")
    groups: dict[str, list[Residue]] = {"waters": [], "kept": [], "removed": [], "elsewhere": []}
    names = {p.chain for p in kept}
    for other in structure.others:
        if other is not chosen:
            groups[_sort_residue(other, pose, names, remove)].append(other)
    absent = sorted(set(remove) - {r.name for r in groups["removed"]})
    if absent:
        there = ", ".join(sorted({r.name for r in groups["kept"]})) or "none"
        raise InputError(f"`remove` {','.join(absent)}: no such ion or molecule (those kept: {there})")
    record = {
        "chains_kept": [p.chain for p in kept],
        "chains_left_out": [f"{p.chain} ({len(p.residues)} residues)" for p in left_out],
        "waters_removed": len(groups["waters"]),
        "molecules_kept_rigid": [str(r) for r in groups["kept"]],
        "molecules_removed": [str(r) for r in groups["removed"]],
        "molecules_left_out_elsewhere": [str(r) for r in groups["elsewhere"]],
    }
    warnings += _list_false_bonds(structure, chosen)
    warnings += [
        f"{r} stays {compute_distance(pose, r.positions):.1f} Å from the ligand without acting on it: the models know "
        "protein and ligand only"
        for r in groups["kept"]
        if compute_distance(pose, r.positions) <= CONTACT_A
    ]
    return Parts(chosen, kept, groups["kept"], record, warnings)


def _sort_residue(residue: Residue, pose: np.ndarray, chains: set[str], remove: Sequence[str]) -> str:
    if residue.is_water:
        return "waters"
    if residue.name in remove:
        return "removed"
    near = residue.chain in chains or compute_distance(pose, residue.positions) <= POCKET_A
    return "kept" if near else "elsewhere"


def _find_ligand(structure: Structure, selection: str, chains: Sequence[str] | None) -> Residue:
    name, *place = selection.split(":")
    if is_reserved_name(name):
        raise InputError(
            f"ligand {selection!r}: {name} is the name of an amino acid, cap, water or ion; rename the ligand's "
            "residue in the file, for instance to LIG"
        )
    found = [r for r in structure.others if r.name == name]
    for attribute, wanted in zip((lambda r: r.chain, lambda r: f"{r.number}{r.insertion_code}"), place, strict=False):
        found = [r for r in found if attribute(r) == wanted]
    if chains is not None and not place:
        found = [r for r in found if r.chain in chains]
    if not found:
        inside = [r for p in structure.polymers for r in p.residues if r.name == name]
        if inside:
            raise InputError(f"ligand {selection!r}: {inside[0]} is part of a protein or nucleic acid chain")
        listing = ", ".join(str(r) for r in structure.others if not r.is_water and len(r.atoms) > 1)
        raise InputError(f"ligand {selection!r} not found; the structure holds {listing or 'no molecule but protein'}")
    if len(found) > 1:
        listing = ", ".join(str(r) for r in found[:12])
        raise InputError(
            f"ligand {selection!r} found {len(found)} times ({listing}); choose one as NAME:CHAIN:NUMBER or by `chains`"
        )
    return found[0]


def _check_ligand(structure: Structure, ligand: Residue) -> None:
    metals = [a.name for a in ligand.atoms if gemmi.Element(a.element).is_metal]
    if metals:
        raise InputError(f"ligand {ligand} holds metal atoms ({', '.join(metals)}): metals are not supported")
    label = str(ligand)
    for link in structure.links:
        for (own, mine), (partner, theirs) in (link, link[::-1]):
            if own == label:
                raise InputError(
                    f"ligand {label} is bonded to {partner} ({mine}-{theirs}, LINK record): covalent ligands are not "
                    "supported"
                )
    pose = ligand.positions
    radii = [gemmi.Element(a.element).covalent_r for a in ligand.atoms]
    for other in [*(r for p in structure.polymers for r in p.residues), *structure.others]:
        if other is ligand or other.is_water or compute_distance(pose, other.positions) > 3.0:
            continue
        for atom in other.atoms:
            element = gemmi.Element(atom.element)
            gaps = np.linalg.norm(pose - atom.position, axis=1) - radii - element.covalent_r
            if gaps.min() < _BOND_TOLERANCE_A and not element.is_metal:
                mine = ligand.atoms[int(gaps.argmin())].name
                raise InputError(
                    f"ligand {label} is bonded to {other} ({mine}-{atom.name}, "
                    f"{np.linalg.norm(pose - atom.position, axis=1)[gaps.argmin()]:.2f} Å): covalent ligands are not "
                    "supported"
                )


def _list_false_bonds(structure: Structure, ligand: Residue) -> list[str]:
    """CONECT records between the ligand and others that are no bonds: real ones were refused before."""
    places = {
        (str(r), a.name): a for r in [*(r for p in structure.polymers for r in p.residues), *structure.others]
        for a in r.atoms if not r.is_water
    }  # fmt: skip
    warnings = []
    for link in structure.conects:
        (own, mine), (partner, theirs) = link if link[0][0] == str(ligand) else link[::-1]
        if own != str(ligand) or (own, mine) not in places or (partner, theirs) not in places:
            continue
        first, second = places[own, mine], places[partner, theirs]
        if not gemmi.Element(second.element).is_metal:
            warnings.append(
                f"ligand {own}: its CONECT record with {partner} ({mine}-{theirs}) was not followed: the atoms are "
                f"{np.linalg.norm(first.position - second.position):.2f} Å apart, which no bond is"
            )
    return warnings
