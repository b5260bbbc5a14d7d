"""The solvated complex: built from files, given ready, and refused where something is missing."""

import gzip
from pathlib import Path

import numpy as np
import openmm as mm
import pytest
from openmm.app import PDBFile

from openmm_neuralmd.analysis.bundled import get_bundled_path
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.reference.system import FORCE_FIELD, MolecularSystem, build_system, load_system
from tests.reference.conftest import LIGAND


def test_water_salt_and_heavy_hydrogens(solvated: MolecularSystem) -> None:
    names = {r.name for r in solvated.topology.residues()}
    assert {"HOH", "NA", "CL", LIGAND} <= names
    charge = sum(
        force.getParticleParameters(k)[0]._value
        for force in solvated.system.getForces()
        if isinstance(force, mm.NonbondedForce)
        for k in range(force.getNumParticles())
    )
    assert charge == pytest.approx(0.0, abs=1e-3)
    lengths = np.linalg.norm(solvated.box, axis=1)
    assert lengths == pytest.approx(lengths[0])  # a rhombic dodecahedron
    assert np.linalg.det(solvated.box) == pytest.approx(lengths[0] ** 3 / np.sqrt(2.0))
    assert solvated.choose_timestep() == 0.004
    kept = solvated.find_complex()
    assert {a.residue.name for a in solvated.topology.atoms() if a.index not in set(kept)} == {"HOH", "NA", "CL"}


def test_ions_stand_where_the_seed_puts_them(pocket: Path, parameters: Path, solvated: MolecularSystem) -> None:
    again = build_system(pocket, ligand=LIGAND, ligand_parameters=parameters, padding=0.15)
    assert np.array_equal(again.positions, solvated.positions)


def test_what_is_written_is_read_back(solvated: MolecularSystem, tmp_path: Path) -> None:
    solvated.write(tmp_path / "system.xml.gz", tmp_path / "start.pdb.gz")
    found = load_system(tmp_path / "system.xml.gz", tmp_path / "start.pdb.gz")
    assert found.ligand == LIGAND
    assert found.positions == pytest.approx(solvated.positions, abs=1e-4)
    assert found.box == pytest.approx(solvated.box)
    assert mm.XmlSerializer.serialize(found.system) == mm.XmlSerializer.serialize(solvated.system)


def test_couplings_of_a_ready_system_are_left_out(vacuum: MolecularSystem, tmp_path: Path) -> None:
    vacuum.write(tmp_path / "system.xml.gz", tmp_path / "start.pdb.gz")
    system = mm.XmlSerializer.deserialize(gzip.decompress((tmp_path / "system.xml.gz").read_bytes()).decode())
    system.addForce(mm.AndersenThermostat(300.0, 1.0))
    (tmp_path / "system.xml").write_text(mm.XmlSerializer.serialize(system))
    found = load_system(tmp_path / "system.xml", tmp_path / "start.pdb.gz").system
    assert not any(isinstance(f, mm.AndersenThermostat) for f in found.getForces())


def test_light_hydrogens_get_the_short_timestep(vacuum: MolecularSystem) -> None:
    system = mm.XmlSerializer.deserialize(mm.XmlSerializer.serialize(vacuum.system))
    system.setParticleMass(next(a.index for a in vacuum.topology.atoms() if a.element.symbol == "H"), 1.008)
    light = MolecularSystem(vacuum.topology, system, vacuum.positions, LIGAND, "", "")
    assert light.choose_timestep() == 0.002


def test_ligand_without_parameters(pocket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openmm_neuralmd.reference.system.find_ambertools", lambda: None)
    with pytest.raises(InputError, match=r"no parameters for ligand 0WC: give `ligand_parameters=FILE\.xml`.*antecha"):
        build_system(pocket, ligand=LIGAND)


def test_parameters_are_made_where_antechamber_is(
    pocket: Path, parameters: Path, vacuum: MolecularSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def make(sdf: Path, name: str, folder: Path) -> Path:
        asked.append((sdf, name))
        return parameters

    monkeypatch.setattr("openmm_neuralmd.reference.system.find_ambertools", lambda: Path())
    monkeypatch.setattr("openmm_neuralmd.reference.system.make_parameters", make)
    sdf = get_bundled_path("ligand.sdf")
    found = build_system(pocket, ligand=LIGAND, sdf=sdf, solvent="none")
    assert asked == [(sdf, LIGAND)]
    assert mm.XmlSerializer.serialize(found.system) == mm.XmlSerializer.serialize(vacuum.system)


def test_ligand_that_lacks_an_atom(pocket: Path, parameters: Path, tmp_path: Path) -> None:
    lines = pocket.read_text().splitlines()
    lost = next(k for k, line in enumerate(lines) if line[17:20] == LIGAND and line[76:78].strip() == "H")
    serial = lines[lost][6:11]
    kept = [line.replace(serial, "", 1) if line.startswith("CONECT") else line for line in lines]
    kept = [line for k, line in enumerate(kept) if k != lost and line[6:].strip()]
    (tmp_path / "short.pdb").write_text("\n".join(kept))
    with pytest.raises(InputError, match="the parameters do not fit ligand 0WC"):
        build_system(tmp_path / "short.pdb", ligand=LIGAND, ligand_parameters=parameters)


def test_parameters_that_are_no_force_field(pocket: Path, tmp_path: Path) -> None:
    (tmp_path / "text.xml").write_text("parameters")
    with pytest.raises(InputError, match="not an OpenMM force field"):
        build_system(pocket, ligand=LIGAND, ligand_parameters=tmp_path / "text.xml")


def test_missing_hydrogens(pocket: Path, parameters: Path, tmp_path: Path) -> None:
    lines = [line for line in pocket.read_text().splitlines() if line[76:78].strip() != "H"]
    (tmp_path / "bare.pdb").write_text("\n".join(line for line in lines if not line.startswith("CONECT")))
    with pytest.raises(InputError):
        build_system(tmp_path / "bare.pdb", ligand=LIGAND, ligand_parameters=parameters)
    kept = [line for line in pocket.read_text().splitlines() if not (line[76:78].strip() == "H" and "ARG" in line)]
    (tmp_path / "part.pdb").write_text("\n".join(kept))
    with pytest.raises(InputError, match=r"does not know ARG:A:410.*neuralmd prepare"):
        build_system(tmp_path / "part.pdb", ligand=LIGAND, ligand_parameters=parameters)


def test_bonds_come_from_the_sdf_where_the_structure_has_none(pocket: Path, parameters: Path, tmp_path: Path) -> None:
    text = "\n".join(line for line in pocket.read_text().splitlines() if not line.startswith("CONECT"))
    (tmp_path / "unbonded.pdb").write_text(text)
    found = build_system(
        tmp_path / "unbonded.pdb",
        ligand=LIGAND,
        sdf=get_bundled_path("ligand.sdf"),
        ligand_parameters=parameters,
        solvent="none",
    )
    assert sum(b[0].residue.name == LIGAND for b in found.topology.bonds()) == 46


def test_system_and_structure_that_differ(vacuum: MolecularSystem, solvated: MolecularSystem, tmp_path: Path) -> None:
    vacuum.write(tmp_path / "a.xml.gz", tmp_path / "a.pdb.gz")
    solvated.write(tmp_path / "b.xml.gz", tmp_path / "b.pdb.gz")
    with pytest.raises(InputError, match=r"atoms, .* particles"):
        load_system(tmp_path / "a.xml.gz", tmp_path / "b.pdb.gz")


@pytest.mark.parametrize("content", [b"<System/>", b"no XML", gzip.compress(b"no XML", mtime=0)])
def test_damaged_system(vacuum: MolecularSystem, tmp_path: Path, content: bytes) -> None:
    vacuum.write(tmp_path / "system.xml.gz", tmp_path / "start.pdb.gz")
    damaged = tmp_path / ("damaged.xml.gz" if content[:2] == b"\x1f\x8b" else "damaged.xml")
    damaged.write_bytes(content)
    with pytest.raises(InputError):
        load_system(damaged, tmp_path / "start.pdb.gz")


def test_topology_holds_the_complex_with_its_bonds(solvated: MolecularSystem, tmp_path: Path) -> None:
    (tmp_path / "topology.pdb").write_text(solvated.format_complex())
    found = PDBFile(str(tmp_path / "topology.pdb"))
    assert found.topology.getNumAtoms() == len(solvated.find_complex())
    assert sum(b[0].residue.name == LIGAND for b in found.topology.bonds()) == 46


@pytest.mark.parametrize("solvent", ["none", "gbn2"])
def test_force_fields_in_the_current_folder_are_not_openmm_s(
    pocket: Path, parameters: Path, solvent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = f"<InitializationScript>open('{tmp_path / 'ran'}', 'w').close()</InitializationScript>"
    for name in (*FORCE_FIELD, "amber14/protein.ff14SB.xml", "implicit/gbn2.xml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"<ForceField>{code}</ForceField>")
    monkeypatch.chdir(tmp_path)
    build_system(pocket, ligand=LIGAND, ligand_parameters=parameters, solvent=solvent)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("tag", ["Script", "InitializationScript"])
def test_parameters_that_hold_code_need_leave(pocket: Path, parameters: Path, tag: str, tmp_path: Path) -> None:
    code = f"<{tag}>open('{tmp_path / 'ran'}', 'w').close()</{tag}></ForceField>"
    path = tmp_path / "ligand.xml"
    path.write_text(parameters.read_text().replace("</ForceField>", code))
    with pytest.raises(InputError, match=rf"ligand\.xml: holds <{tag}>.*`allow_scripts=True`"):
        build_system(pocket, ligand=LIGAND, ligand_parameters=path, solvent="none")
    assert not (tmp_path / "ran").exists()
    build_system(pocket, ligand=LIGAND, ligand_parameters=path, solvent="none", allow_scripts=True)
    assert (tmp_path / "ran").exists()
