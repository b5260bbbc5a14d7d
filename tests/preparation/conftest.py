"""A deposited structure in miniature: twelve residues of the bundled complex around its ligand, as a PDB entry."""

from collections.abc import Callable
from pathlib import Path

import pytest

from openmm_neuralmd.molecule.complex import load_bundled_complex

SMILES = "C[C@@](O)(C#Cc1ccc2c(c1)N(c1nc(N)ncc1Cl)CC2)c1nccs1"
N_RESIDUES = 12
WATER = "HETATM 9001  O   HOH B 901      {:8.3f}{:8.3f}{:8.3f}  1.00  0.00           O\n"
ION = "HETATM 9002 ZN    ZN B 902      {:8.3f}{:8.3f}{:8.3f}  1.00  0.00          ZN\n"

Edit = Callable[[list[str]], list[str]]


def build_entry() -> list[str]:
    """PDB lines without hydrogens: SEQRES, one stretch of chain B, the ligand, a water and a zinc ion."""
    complex_ = load_bundled_complex()
    residues = [r for r in complex_.topology.residues() if {"N", "CA", "C"} <= {a.name for a in r.atoms()}]
    # a stretch whose numbers are consecutive, next to the ligand: the hinge of the kinase
    start = next(k for k, r in enumerate(residues) if r.id == "465")
    chosen = residues[start : start + N_RESIDUES]
    ligand = next(r for r in complex_.topology.residues() if r.name == "0WC")
    names = [r.name for r in chosen]
    lines = [f"SEQRES   1 B {len(names):4d}  {' '.join(names)}\n"]
    serial = 0
    for residue, record, number in [*((r, "ATOM  ", int(r.id)) for r in chosen), (ligand, "HETATM", 702)]:
        if residue is ligand:
            lines.append("TER\n")
        for atom in residue.atoms():
            symbol = atom.element.symbol
            if symbol == "H":
                continue
            serial += 1
            name = f" {atom.name:<3}" if len(symbol) == 1 and len(atom.name) < 4 else f"{atom.name:<4}"
            x, y, z = 10.0 * complex_.positions[atom.index]
            lines.append(
                f"{record}{serial:5d} {name} {residue.name:>3} B{number:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00"
                f"          {symbol.upper():>2}\n"
            )
    x, y, z = 10.0 * complex_.ligand.positions.mean(axis=0)
    return [*lines, WATER.format(x, y, z + 9.0), ION.format(x, y + 7.0, z + 6.0), "END\n"]


@pytest.fixture(scope="session")
def entry_lines() -> list[str]:
    return build_entry()


@pytest.fixture
def write_entry(entry_lines: list[str], tmp_path: Path) -> Callable[[Edit], Path]:
    """Writes the entry after an edit of its lines; the path of the file."""

    def write(edit: Edit = list) -> Path:
        path = tmp_path / "entry.pdb"
        path.write_text("".join(edit(list(entry_lines))))
        return path

    return write
