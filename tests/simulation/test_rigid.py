"""Surroundings held fixed, hydrogens that follow, and Systems that do not fit."""

import numpy as np
import openmm as mm
import pytest
from rdkit import Chem

from openmm_neuralmd.dynamics.projection import BondProjection
from openmm_neuralmd.errors import InputError, TopologyMismatchError
from openmm_neuralmd.molecule.complex import Complex, load_bundled_complex
from openmm_neuralmd.simulation.rigid import build_rigid_system, check_ligand, hold_surroundings
from tests.helpers import displace, make_complex

KINDS = {
    "methyl and hydroxyl": "CC(C)CO",
    "terminal alkyne": "CCC#C",
    "aromatic": "c1ccc(O)cc1",
    "planar amide": "CC(N)=O",
    "charged": "C[NH3+]",
    "quaternary ammonium and carboxylic acid": "C[N+](C)(C)CC(=O)O",
    "chiral CH": "C[C@H](F)Cl",
    "line of atoms": "OC#CC#CO",
    "all in a line": "CC#CC",
    "two heavy atoms": "CO",
    "nitrile": "CC#N",
}


def compute_positions(system: mm.System, positions: np.ndarray) -> np.ndarray:
    """Positions [nm] with virtual sites in place."""
    context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    context.computeVirtualSites()
    return context.getState(positions=True).getPositions(asNumpy=True)._value


def spoil_hydrogens(complex_: Complex, positions: np.ndarray) -> np.ndarray:
    spoiled = positions.copy()
    spoiled[complex_.ligand.hydrogen_indices] = 9.0
    return spoiled


@pytest.mark.parametrize("smiles", KINDS.values(), ids=KINDS.keys())
def test_hydrogens_stand_where_they_were(smiles: str) -> None:
    complex_ = make_complex(smiles)
    found = compute_positions(build_rigid_system(complex_), spoil_hydrogens(complex_, complex_.positions))
    np.testing.assert_allclose(found, complex_.positions, rtol=0, atol=2e-4)  # an alkyne's H goes onto the axis


@pytest.mark.parametrize("smiles", KINDS.values(), ids=KINDS.keys())
def test_hydrogens_follow_a_rigid_motion(smiles: str) -> None:
    complex_ = make_complex(smiles)
    ligand = complex_.ligand
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    own = np.concatenate([ligand.atom_indices, ligand.hydrogen_indices])
    moved = complex_.positions.copy()
    moved[own] = moved[own] @ turn.T + [0.1, -0.2, 0.05]
    found = compute_positions(build_rigid_system(complex_), spoil_hydrogens(complex_, moved))
    if np.linalg.svd(ligand.positions - ligand.positions.mean(axis=0))[1][1] > 0.02:  # else they turn about the line
        np.testing.assert_allclose(found, moved, rtol=0, atol=2e-4)
    parents = ligand.atom_indices[ligand.hydrogen_parents]
    lengths = np.linalg.norm(found[ligand.hydrogen_indices] - found[parents], axis=1)
    original = complex_.positions
    np.testing.assert_allclose(
        lengths, np.linalg.norm(original[ligand.hydrogen_indices] - original[parents], axis=1), rtol=0, atol=1e-5
    )


def test_hydrogen_geometry_survives_a_changed_conformation() -> None:
    """After a torsion by 60 degrees, bond lengths and angles of the hydrogens are as before."""
    complex_ = make_complex("CCCC")
    ligand = complex_.ligand
    heavy = complex_.positions[ligand.atom_indices]
    axis = heavy[2] - heavy[1]
    axis /= np.linalg.norm(axis)
    arm = heavy[3] - heavy[2]
    angle = np.pi / 3
    turned = (
        arm * np.cos(angle) + np.cross(axis, arm) * np.sin(angle) + axis * (axis @ arm) * (1 - np.cos(angle)) + heavy[2]
    )
    moved = complex_.positions.copy()
    moved[ligand.atom_indices[3]] = turned
    found = compute_positions(build_rigid_system(complex_), moved)
    neighbour_of = {0: 1, 1: 0, 2: 1, 3: 2}
    neighbours = ligand.atom_indices[[neighbour_of[p] for p in ligand.hydrogen_parents.tolist()]]
    for partners in (ligand.atom_indices[ligand.hydrogen_parents], neighbours):
        before, after = (
            np.linalg.norm(xyz[ligand.hydrogen_indices] - xyz[partners], axis=1) for xyz in (complex_.positions, found)
        )
        np.testing.assert_allclose(after, before, rtol=0, atol=1e-6)


@pytest.mark.parametrize("smiles", KINDS.values(), ids=KINDS.keys())
def test_hydrogens_keep_ideal_geometry_in_other_conformations(smiles: str) -> None:
    """Bonds, angles and distances between hydrogens of one atom, after any displacement that keeps the bonds."""
    complex_ = make_complex(smiles)
    ligand, before = complex_.ligand, complex_.positions
    system, projection = build_rigid_system(complex_), BondProjection(ligand)
    partners = [
        (int(hydrogen), int(partner))
        for hydrogen, parent in zip(ligand.hydrogen_indices, ligand.hydrogen_parents, strict=True)
        for partner in [
            ligand.atom_indices[parent],
            *ligand.atom_indices[ligand.bonds[(ligand.bonds == parent).any(axis=1)].ravel()],
            *ligand.hydrogen_indices[ligand.hydrogen_parents == parent],
        ]
    ]
    first, second = np.array(partners).T
    expected = np.linalg.norm(before[first] - before[second], axis=1)
    for seed in range(5):
        moved = spoil_hydrogens(complex_, before)
        moved[ligand.atom_indices] = projection.project(displace(ligand.positions, 0.05, seed=seed))[0]
        found = compute_positions(system, moved)
        lengths = np.linalg.norm(found[first] - found[second], axis=1)
        np.testing.assert_allclose(lengths, expected, rtol=0, atol=5e-4)  # nm; the projection's own error, spread


def test_only_ligand_heavy_atoms_can_move(tiny_complex: Complex) -> None:
    system = build_rigid_system(tiny_complex)
    masses = np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])
    assert set(np.flatnonzero(masses)) == set(tiny_complex.ligand.atom_indices)
    np.testing.assert_allclose(masses[tiny_complex.ligand.atom_indices], tiny_complex.ligand.masses)


def test_ligand_without_hydrogens() -> None:
    complex_ = make_complex("CCO", hydrogens=False)
    system = build_rigid_system(complex_)
    assert not any(system.isVirtualSite(i) for i in range(system.getNumParticles()))


def build_free_system(complex_: Complex, *, moved_mass: float = 0.0) -> mm.System:
    """All masses of the elements; ``moved_mass`` [Da] goes from each heavy atom to each of its ligand hydrogens."""
    system = mm.System()
    masses = np.array([a.element.mass._value for a in complex_.topology.atoms()])
    masses[complex_.ligand.hydrogen_indices] += moved_mass
    np.subtract.at(masses, complex_.ligand.atom_indices[complex_.ligand.hydrogen_parents], moved_mass)
    for mass in masses:
        system.addParticle(mass)
    return system


def test_everything_is_held_and_no_constraint_stays(tiny_complex: Complex) -> None:
    system = build_free_system(tiny_complex, moved_mass=2.0)
    ligand = tiny_complex.ligand
    system.addConstraint(0, 1, 0.1)
    for hydrogen, parent in zip(ligand.hydrogen_indices, ligand.hydrogen_parents, strict=True):
        system.addConstraint(int(hydrogen), int(ligand.atom_indices[parent]), 0.1)
    system.addConstraint(3, 4, 0.1)
    held = hold_surroundings(system, tiny_complex)
    assert held.n_following == len(ligand.hydrogen_indices)
    assert held.n_constraints_removed == held.n_following + 2
    assert held.n_fixed == tiny_complex.topology.getNumAtoms() - ligand.n_atoms - len(ligand.hydrogen_indices)
    assert system.getNumConstraints() == 0
    compute_positions(system, tiny_complex.positions)  # OpenMM accepts the System
    assert str(held.n_fixed) in str(held)


def test_wrong_particle_count(tiny_complex: Complex) -> None:
    with pytest.raises(TopologyMismatchError, match="particles"):
        check_ligand(mm.System(), tiny_complex)


def test_wrong_elements_name_the_atom(tiny_complex: Complex) -> None:
    system = build_free_system(tiny_complex)
    wrong = int(tiny_complex.ligand.atom_indices[3])
    system.setParticleMass(wrong, 32.0)
    with pytest.raises(TopologyMismatchError, match=f"particle {wrong}"):
        check_ligand(system, tiny_complex)


def test_fixed_ligand_is_refused(tiny_complex: Complex) -> None:
    system = build_free_system(tiny_complex)
    system.setParticleMass(int(tiny_complex.ligand.atom_indices[0]), 0.0)
    with pytest.raises(TopologyMismatchError, match="cannot move"):
        check_ligand(system, tiny_complex)


def test_hydrogen_on_its_heavy_atom_is_refused() -> None:
    complex_ = make_complex("CCO")
    ligand = complex_.ligand
    complex_.positions[ligand.hydrogen_indices[0]] = complex_.positions[ligand.atom_indices[ligand.hydrogen_parents[0]]]
    with pytest.raises(InputError, match="stands on"):
        build_rigid_system(complex_)


def test_bundled_complex_keeps_every_hydrogen() -> None:
    complex_ = load_bundled_complex()
    found = compute_positions(build_rigid_system(complex_), spoil_hydrogens(complex_, complex_.positions))
    np.testing.assert_allclose(found, complex_.positions, rtol=0, atol=1e-9)


def test_smiles_cover_linear_planar_terminal_and_charged_groups() -> None:
    joined = Chem.MolFromSmiles(".".join(KINDS.values()))
    for pattern in ("[CH]#C", "[NH2]C=O", "[CH3]", "[N+;H3]", "[cH]", "[OH]"):
        assert joined.HasSubstructMatch(Chem.MolFromSmarts(pattern)), pattern
