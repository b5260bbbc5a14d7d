"""Energies of snapshots: what is cut out of a System is the System's, and minimisation leaves the pose."""

from pathlib import Path

import mdtraj
import numpy as np
import openmm as mm
import pytest
from openmm import Platform, app, unit

from openmm_neuralmd.analysis.bundled import get_bundled_path
from openmm_neuralmd.errors import InputError, TopologyMismatchError
from openmm_neuralmd.force_field.energies import ForceFieldModel, load_force_field_model, load_system_model
from openmm_neuralmd.force_field.subsystem import check_not_bonded, cut_system

COMPLEX = get_bundled_path("complex.pdb")
FORCE_FIELD = ("amber14-all.xml", get_bundled_path("ligand_gaff2.xml"))


@pytest.fixture(scope="module")
def pdb() -> app.PDBFile:
    return app.PDBFile(str(COMPLEX))


@pytest.fixture(scope="module")
def holo() -> mdtraj.Trajectory:
    return mdtraj.load(str(COMPLEX))


@pytest.fixture(scope="module")
def parts(holo: mdtraj.Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """Ligand, and residues near it."""
    ligand = holo.topology.select("resname '0WC'")
    near = mdtraj.compute_neighbors(holo, 0.4, ligand)[0]
    residues = {holo.topology.atom(k).residue for k in near} - {holo.topology.atom(ligand[0]).residue}
    return ligand, np.array(sorted(a.index for r in residues for a in r.atoms))


@pytest.fixture(scope="module")
def model() -> ForceFieldModel:
    return load_force_field_model(FORCE_FIELD, COMPLEX, ligand="0WC")


def make_system(pdb: app.PDBFile, **settings: object) -> mm.System:
    return app.ForceField(*map(str, FORCE_FIELD)).createSystem(pdb.topology, **settings)


def compute_energy(system: mm.System, positions: np.ndarray) -> float:
    context = mm.Context(system, mm.VerletIntegrator(0.001), Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    return context.getState(energy=True).getPotentialEnergy()._value


def mark_heavy(holo: mdtraj.Trajectory) -> np.ndarray:
    return np.array([a.element.symbol != "H" for a in holo.topology.atoms])


def test_all_atoms_cut_out_are_the_system(pdb: app.PDBFile, holo: mdtraj.Trajectory) -> None:
    system = make_system(pdb, nonbondedMethod=app.NoCutoff)
    cut = cut_system(system, np.arange(holo.n_atoms), mark_heavy(holo), 1.0)
    assert compute_energy(cut, holo.xyz[0]) == pytest.approx(compute_energy(system, holo.xyz[0]), abs=1e-3)


@pytest.mark.parametrize("dielectric", [1.0, 4.0])
def test_interaction_is_the_difference_of_three_energies(
    pdb: app.PDBFile, holo: mdtraj.Trajectory, parts: tuple[np.ndarray, np.ndarray], dielectric: float
) -> None:
    system, heavy = make_system(pdb, nonbondedMethod=app.NoCutoff), mark_heavy(holo)
    ligand, protein = parts
    both = np.concatenate(parts)
    cut = [cut_system(system, atoms, heavy, dielectric) for atoms in (both, ligand, protein)]
    whole, *alone = (compute_energy(c, holo.xyz[0, a]) for c, a in zip(cut, (both, ligand, protein), strict=True))
    bound = ForceFieldModel(system, holo.topology, holo.xyz[0], "test", dielectric=dielectric).bind(ligand, protein)
    coulomb, lennard_jones = bound._pairs.compute(holo.xyz[0, both].astype(np.float64))
    assert coulomb + lennard_jones == pytest.approx(whole - sum(alone), abs=1e-3)
    assert coulomb < 0 > lennard_jones


def test_forces_are_openmm_s_and_the_slope_of_the_energy(
    pdb: app.PDBFile, holo: mdtraj.Trajectory, parts: tuple[np.ndarray, np.ndarray]
) -> None:
    """Of the ligand in the whole cut; protein and protein alone exert none on it."""
    system, heavy = make_system(pdb, nonbondedMethod=app.NoCutoff), mark_heavy(holo)
    ligand, protein = (holo.xyz[0, part].astype(np.float64) for part in parts)
    bound = ForceFieldModel(system, holo.topology, holo.xyz[0], "test").bind(*parts)
    energy, forces = bound.compute_forces(ligand, protein)
    whole = cut_system(system, np.concatenate(parts), heavy, 4.0)
    context = mm.Context(whole, mm.VerletIntegrator(0.001), Platform.getPlatformByName("Reference"))
    context.setPositions(np.concatenate([ligand, protein]))
    state = context.getState(energy=True, forces=True)
    alone = compute_energy(cut_system(system, parts[1], heavy, 4.0), protein)
    assert energy == pytest.approx(state.getPotentialEnergy()._value - alone, abs=1e-3)
    expected = state.getForces(asNumpy=True)._value[: len(ligand)]
    np.testing.assert_allclose(forces, expected, atol=1e-6 * np.abs(expected).max())
    rng = np.random.default_rng(0)
    step = 1e-6 * rng.normal(size=ligand.shape)
    after, before = (bound.compute_forces(ligand + sign * step, protein)[0] for sign in (1.0, -1.0))
    assert after - before == pytest.approx(-2.0 * float((forces * step).sum()), rel=1e-4)


def test_a_solvated_kind_of_system_gives_the_same(
    pdb: app.PDBFile, holo: mdtraj.Trajectory, parts: tuple[np.ndarray, np.ndarray], model: ForceFieldModel
) -> None:
    """Periodic, PME, constrained hydrogens of 3 Da: springs stand for the constraints."""
    system = make_system(
        pdb,
        nonbondedMethod=app.PME,
        nonbondedCutoff=0.9 * unit.nanometer,
        constraints=app.HBonds,
        hydrogenMass=3.0 * unit.dalton,
    )
    membrane = mm.MonteCarloMembraneBarostat  # movers have no energy, and are passed over
    system.addForce(membrane(1.0, 0.0, 300.0, membrane.XYIsotropic, membrane.ZFree))
    xyz = [holo.xyz[0, part].astype(np.float64) for part in parts]
    found = ForceFieldModel(system, holo.topology, holo.xyz[0], "test").bind(*parts)
    expected = model.bind(*parts)
    assert found.compute_interaction(*xyz)[:2] == pytest.approx(expected.compute_interaction(*xyz)[:2], abs=0.5)
    strain = np.subtract(*found.compute_conformation(xyz[0]))
    assert strain == pytest.approx(np.subtract(*expected.compute_conformation(xyz[0])), abs=0.3)


def test_minimisation_takes_out_hydrogens_and_leaves_the_pose(
    holo: mdtraj.Trajectory, parts: tuple[np.ndarray, np.ndarray], model: ForceFieldModel
) -> None:
    energies = model.bind(*parts)
    ligand, protein = (holo.xyz[0, part].astype(np.float64) for part in parts)
    rng = np.random.default_rng(0)
    light = ~mark_heavy(holo)[parts[0]]
    shaken = ligand.copy()
    shaken[light] += rng.normal(scale=0.015, size=(light.sum(), 3))
    first, second = (energies.compute_interaction(x, protein) for x in (ligand, shaken))
    assert sum(second[:2]) == pytest.approx(sum(first[:2]), abs=2.0)
    assert 0.0 < first.shift < 0.02
    held, relaxed = energies.compute_conformation(ligand)
    assert relaxed < held
    assert energies.compute_conformation(shaken)[0] == pytest.approx(held, abs=0.5)
    apart = energies.compute_interaction(ligand + 50.0, protein)
    assert sum(apart[:2]) == pytest.approx(0.0, abs=0.1)


def test_what_cannot_be_cut_is_refused(
    pdb: app.PDBFile, holo: mdtraj.Trajectory, parts: tuple[np.ndarray, np.ndarray]
) -> None:
    system = make_system(pdb, nonbondedMethod=app.NoCutoff)
    system.addForce(mm.CustomBondForce("r"))
    with pytest.raises(InputError, match="holds CustomBondForce"):
        ForceFieldModel(system, holo.topology, holo.xyz[0], "test")
    system.removeForce(system.getNumForces() - 1)
    with pytest.raises(TopologyMismatchError, match="5166 particles"):
        ForceFieldModel(system, holo.topology.subset(np.arange(10)), holo.xyz[0, :10], "test")
    with pytest.raises(InputError, match="at least 1"):
        ForceFieldModel(system, holo.topology, holo.xyz[0], "test", dielectric=0.5)
    with pytest.raises(InputError, match="at least 1"):
        ForceFieldModel(system, holo.topology, holo.xyz[0], "test", max_steps=0)
    stiff = make_system(pdb, nonbondedMethod=app.NoCutoff, constraints=app.AllBonds)
    with pytest.raises(InputError, match="constraints=HBonds"):
        ForceFieldModel(stiff, holo.topology, holo.xyz[0], "test").bind(*parts)
    bonds = next(f for f in system.getForces() if isinstance(f, mm.HarmonicBondForce))
    bonds.addBond(int(parts[0][0]), 0, 0.15, 1e5)
    with pytest.raises(InputError, match="covalent"):
        check_not_bonded(system, parts[0])


def test_files(tmp_path: Path, pdb: app.PDBFile, parts: tuple[np.ndarray, np.ndarray], model: ForceFieldModel) -> None:
    path = tmp_path / "system.xml"
    path.write_text(mm.XmlSerializer.serialize(make_system(pdb, nonbondedMethod=app.NoCutoff)))
    read = load_system_model(path, COMPLEX)
    xyz = [read.positions[part] for part in parts]
    found = [m.bind(*parts).compute_interaction(*xyz)[:2] for m in (read, model)]
    assert found[0] == pytest.approx(found[1], abs=0.2)
    path.write_text("<Force type='PythonForce'/>")
    with pytest.raises(InputError, match="PythonForce"):
        load_system_model(path, COMPLEX)
    path.write_text(mm.XmlSerializer.serialize(mm.VerletIntegrator(0.001)))
    with pytest.raises(InputError, match="VerletIntegrator, not a System"):
        load_system_model(path, COMPLEX)
    path.write_text("nonsense")
    with pytest.raises(InputError, match="not a serialized System"):
        load_system_model(path, COMPLEX)
    with pytest.raises(InputError, match="no such file"):
        load_system_model(tmp_path / "nowhere.xml", COMPLEX)
    with pytest.raises(InputError, match="`ligand_parameters`"):
        load_force_field_model(["amber14-all.xml"], COMPLEX)
    with pytest.raises(InputError, match="PDB or PDBx"):
        load_force_field_model(FORCE_FIELD, tmp_path / "a.gro")
