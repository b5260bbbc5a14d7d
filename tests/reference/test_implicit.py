"""Implicit solvent: the energies of OpenMM's own models, short runs, and what does not go with it."""

import io
import json
from pathlib import Path

import mdtraj
import numpy as np
import openmm as mm
import pytest
from openmm import unit
from openmm.app import CutoffNonPeriodic, Element, ForceField, HBonds, PDBFile, Topology

from openmm_neuralmd.cli import main
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.reference.implicit import IMPLICIT_CUTOFF_NM, IMPLICIT_SOLVENTS
from openmm_neuralmd.reference.system import FORCE_FIELD, build_system, create_system
from tests.reference.conftest import LIGAND

SILANE = """<ForceField>
 <AtomTypes><Type name="si" class="si" element="Si" mass="28.09"/><Type name="h" class="h" element="H" mass="1.008"/></AtomTypes>
 <Residues><Residue name="SIL"><Atom name="SI" type="si"/><Atom name="H" type="h"/><Bond from="0" to="1"/></Residue></Residues>
 <HarmonicBondForce><Bond class1="si" class2="h" length="0.15" k="1"/></HarmonicBondForce>
 <NonbondedForce coulomb14scale="0.8" lj14scale="0.5">
  <Atom type="si" charge="0" sigma="1" epsilon="0"/><Atom type="h" charge="0" sigma="1" epsilon="0"/></NonbondedForce>
</ForceField>"""  # noqa: E501


def compute(system: mm.System, positions: np.ndarray) -> tuple[float, np.ndarray]:
    """Energy [kJ/mol] and forces [kJ/mol/nm]."""
    platform = mm.Platform.getPlatformByName("Reference")
    context = mm.Context(system, mm.VerletIntegrator(0.001), platform)
    context.setPositions(positions)
    state = context.getState(energy=True, forces=True)
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value


@pytest.mark.parametrize("solvent", IMPLICIT_SOLVENTS)
def test_energies_are_those_of_the_models_in_openmm(pocket: Path, parameters: Path, solvent: str) -> None:
    found = build_system(pocket, ligand=LIGAND, ligand_parameters=parameters, solvent=solvent)
    assert not found.is_periodic
    pdb = PDBFile(str(pocket))
    expected = ForceField(*FORCE_FIELD, str(parameters), f"implicit/{solvent}.xml").createSystem(
        pdb.topology,
        nonbondedMethod=CutoffNonPeriodic,
        nonbondedCutoff=IMPLICIT_CUTOFF_NM * unit.nanometer,
        constraints=HBonds,
    )
    energy, forces = compute(found.system, found.positions)
    expected_energy, expected_forces = compute(expected, found.positions)
    assert energy == pytest.approx(expected_energy, abs=0.01)
    assert np.abs(forces - expected_forces).max() < 1e-3 * np.abs(expected_forces).max()
    vacuum = build_system(pocket, ligand=LIGAND, ligand_parameters=parameters, solvent="none")
    assert compute(vacuum.system, found.positions)[0] - energy > 100.0  # charged residues are solvated


def test_forces_of_pairs_beyond_the_cutoff_are_small(pocket: Path, parameters: Path) -> None:
    found = build_system(pocket, ligand=LIGAND, ligand_parameters=parameters, solvent="obc2")
    whole = mm.XmlSerializer.deserialize(mm.XmlSerializer.serialize(found.system))
    for force in whole.getForces():
        if isinstance(force, mm.NonbondedForce | mm.GBSAOBCForce):
            force.setNonbondedMethod(force.NoCutoff)
    forces, expected = (compute(s, found.positions)[1] for s in (found.system, whole))
    assert np.sqrt(np.mean((forces - expected) ** 2)) < 2e-3 * np.sqrt(np.mean(expected**2))


def test_element_beyond_the_tables_of_gbn2() -> None:
    topology = Topology()
    residue = topology.addResidue("SIL", topology.addChain())
    atoms = [
        topology.addAtom(name, Element.getBySymbol(symbol), residue) for name, symbol in (("SI", "Si"), ("H", "H"))
    ]
    topology.addBond(*atoms)
    with pytest.raises(InputError, match="`solvent=gbn2` does not go with this complex"):
        create_system(ForceField(io.StringIO(SILANE)), topology, "gbn2")


@pytest.mark.parametrize("solvent", IMPLICIT_SOLVENTS)
def test_a_run_and_its_continuation(
    pocket: Path, parameters: Path, solvent: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = ["reference", str(pocket), "--ligand", LIGAND, "--ligand-parameters", str(parameters)]
    short = "--time 0.04 --interval 0.02 --equilibration 0.1 --threads 1 --quiet".split()
    assert main([*words, *short, "--solvent", solvent, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"Amber ff14SB, {IMPLICIT_SOLVENTS[solvent]} implicit solvent, cutoff 2 nm, ligand" in printed
    assert "no water molecules in the site" in printed
    assert "vacuum" not in printed
    first = mdtraj.load(str(out / "trajectory.dcd"), top=str(out / "topology.pdb"))
    assert main(["reference", "--resume", "--time", "0.1", "--threads", "1", "--quiet", "--out", str(out)]) == 0
    found = mdtraj.load(str(out / "trajectory.dcd"), top=str(out / "topology.pdb"))
    assert found.unitcell_vectors is None
    assert len(found) == 5
    assert np.array_equal(found.xyz[:2], first.xyz)
    steps = np.linalg.norm(np.diff(found.xyz, axis=0), axis=-1)
    assert steps.max() < 0.1  # 0.02 ps: nothing wraps, nothing flies away
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "finished"
    assert IMPLICIT_SOLVENTS[solvent] in record["force_field"]
    assert (out / "log.csv").read_text().splitlines()[-1].endswith(",,")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--solvent", "gbn2", "--engine", "gromacs"], "--solvent gbn2: GROMACS has no implicit solvent; use --engine"),
        (["--solvent", "obc2", "--check-energies"], "--solvent obc2: GROMACS has no implicit solvent; use --engine"),
        (["--solvent", "gbn2", "--padding", "1"], "--padding 1: --solvent gbn2 has no box; leave --padding out"),
        (["--solvent", "obc2", "--pressure", "1"], "--pressure 1: --solvent obc2 has no box; leave --pressure out"),
        (["--solvent", "none", "--padding", "0"], "--padding 0: --solvent none has no box; leave --padding out"),
    ],
)
def test_what_does_not_go_with_it(
    more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reference", "none.pdb", "--ligand", "LIG", *more, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
