"""What GROMACS is given: masses, constrained bonds, restraints, run parameters; no GROMACS is needed here."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import openmm as mm
import pytest

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.reference.energies import GROMACS_TERMS, EnergyComparison, require_agreement
from openmm_neuralmd.reference.gromacs_files import (
    choose_constraints,
    format_phase,
    format_single_point,
    write_gromacs_topology,
    write_structure,
)
from openmm_neuralmd.reference.gromacs_tools import extract_error, list_warnings
from openmm_neuralmd.reference.system import MolecularSystem
from tests.reference.conftest import LIGAND
from tests.reference.test_protocol import USUAL


def read_sections(text: str) -> Iterator[tuple[str, str, list[str]]]:
    """Molecule, section and fields of each line."""
    molecule = section = ""
    for line in text.splitlines():
        fields = line.split(";")[0].split()
        if line.startswith("["):
            section = line.strip("[ ]")
        elif fields and not line.startswith("#"):
            molecule = fields[0] if section == "moleculetype" else molecule
            yield molecule, section, fields


@pytest.fixture(scope="module")
def topology(solvated: MolecularSystem, tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("parmed", reason="pip install 'openmm_neuralmd[gromacs]'")
    path = tmp_path_factory.mktemp("top") / "system.top"
    write_gromacs_topology(solvated, path)
    return path.read_text()


def test_heavy_hydrogens_stay_heavy(topology: str) -> None:
    masses = [(m, f[4], float(f[7])) for m, s, f in read_sections(topology) if s == "atoms"]
    assert {mass for m, name, mass in masses if name[0] == "H" and m != "HOH"} == {3.0}
    assert {round(mass, 2) for m, name, mass in masses if name[0] == "H" and m == "HOH"} == {1.01}


def test_every_bond_has_parameters_and_constrained_ones_their_length(topology: str, solvated: MolecularSystem) -> None:
    bonds = [(m, f) for m, s, f in read_sections(topology) if s == "bonds"]
    assert bonds
    assert all(len(f) == 5 for _, f in bonds)
    system, atoms = solvated.system, list(solvated.topology.atoms())
    names = [a.name for a in atoms if a.residue.name == LIGAND]
    first = next(a.index for a in atoms if a.residue.name == LIGAND)
    lengths = {
        frozenset((names[i - first], names[j - first])): d._value
        for i, j, d in (system.getConstraintParameters(k) for k in range(system.getNumConstraints()))
        if atoms[i].residue.name == LIGAND
    }
    assert len(lengths) == 16
    written = {frozenset((names[int(f[0]) - 1], names[int(f[1]) - 1])): float(f[3]) for m, f in bonds if m == LIGAND}
    assert {pair: written[pair] for pair in lengths} == pytest.approx(lengths, abs=1e-5)


def test_water_is_rigid_and_not_restrained(topology: str) -> None:
    lines = list(read_sections(topology))
    (settles,) = [f for _, s, f in lines if s == "settles"]
    assert [float(v) for v in settles[2:]] == pytest.approx([0.09572, 0.15139], abs=1e-6)  # TIP3P's O-H and H-H
    restrained = {m for m, s, _ in lines if s == "position_restraints"}
    assert LIGAND in restrained
    assert restrained.isdisjoint({"HOH", "NA", "CL"})
    ligand = {f[0] for m, s, f in lines if m == LIGAND and s == "position_restraints"}
    heavy = {f[0] for m, s, f in lines if m == LIGAND and s == "atoms" and not f[4].startswith("H")}
    assert ligand == heavy
    assert len(heavy) == 27


def test_nothing_about_user_or_host(topology: str) -> None:
    assert not re.search(r"[Uu]ser|[Hh]ost|Command line", topology)


def test_structure_has_box_and_six_decimals(solvated: MolecularSystem, tmp_path: Path) -> None:
    write_structure(solvated, tmp_path / "a.gro")
    lines = (tmp_path / "a.gro").read_text().splitlines()
    xyz = np.array([[float(line[20 + 11 * k : 31 + 11 * k]) for k in range(3)] for line in lines[2:-1]])
    assert xyz == pytest.approx(solvated.positions, abs=1e-6)
    a = solvated.box
    assert np.array(lines[-1].split(), dtype=float) == pytest.approx(
        [a[0, 0], a[1, 1], a[2, 2], 0.0, 0.0, 0.0, 0.0, a[2, 0], a[2, 1]], abs=1e-6
    )


def test_run_parameters_follow_the_protocol(solvated: MolecularSystem, vacuum: MolecularSystem) -> None:
    phases = {p.name: p for p in USUAL.list_phases()}
    heating = format_phase(solvated, USUAL, phases["heating"], is_first=True)
    for line in ("define = -DPOSRES", "gen-temp = 50", "annealing-time = 0 10", "constraints = h-bonds", "dt = 0.004"):
        assert line in heating
    assert "pcoupl" not in heating
    production = format_phase(solvated, USUAL, phases["production"], is_first=False)
    for line in (
        "nsteps = 25000",
        "nstxout-compressed = 2500",
        "pcoupl = C-rescale",
        "DispCorr = EnerPres",
        "tau-t = 1",
    ):
        assert line in production
    assert "POSRES" not in production
    assert "rcoulomb = 0.9\n" in production
    assert "PME" not in format_single_point(vacuum)
    assert choose_constraints(solvated) == choose_constraints(vacuum) == "h-bonds"


def copy_system(molecules: MolecularSystem) -> MolecularSystem:
    return replace(molecules, system=mm.XmlSerializer.deserialize(mm.XmlSerializer.serialize(molecules.system)))


def test_forces_that_gromacs_would_not_get(vacuum: MolecularSystem, tmp_path: Path) -> None:
    changed = copy_system(vacuum)
    changed.system.addForce(mm.CustomBondForce("r"))
    with pytest.raises(NotImplementedError, match="CustomBondForce cannot be passed on"):
        write_gromacs_topology(changed, tmp_path / "a.top")
    changed = copy_system(vacuum)
    changed.system.addForce(mm.HarmonicBondForce())
    with pytest.raises(NotImplementedError, match="several HarmonicBondForce"):
        write_gromacs_topology(changed, tmp_path / "a.top")
    changed = copy_system(vacuum)
    changed.system.removeConstraint(0)
    with pytest.raises(NotImplementedError, match="bonds are constrained"):
        write_gromacs_topology(changed, tmp_path / "a.top")
    assert not (tmp_path / "a.top").exists()


def test_disagreement_is_found() -> None:
    energies = dict.fromkeys(GROMACS_TERMS, 1000.0)
    require_agreement(EnergyComparison(energies, {**energies, "bonds": 1000.09}))
    with pytest.raises(InputError, match=r"disagree in bonds: bonds 1000\.000 and 1000\.200"):
        require_agreement(EnergyComparison(energies, {**energies, "bonds": 1000.2}))
    with pytest.raises(InputError, match="disagree in total"):
        require_agreement(EnergyComparison(energies, {**energies, "total": float("nan")}))


def test_what_gromacs_says_is_understood() -> None:
    text = "\n".join(
        [
            "WARNING 1 [file system.top, line 12]:",
            "  The bond between atoms 1 C1 and 2 N1 has an estimated",
            "  oscillational period of 1.5e-02 ps",
            "",
            "",
            "-------",
            "Fatal error:",
            "number of coordinates",
            "does not match",
            "",
            "For more information and tips see the website",
        ]
    )
    assert list_warnings(text) == [
        "The bond between atoms 1 C1 and 2 N1 has an estimated oscillational period of 1.5e-02 ps"
    ]
    assert extract_error(text) == "number of coordinates does not match"
    assert extract_error("one\ntwo") == "one two"
