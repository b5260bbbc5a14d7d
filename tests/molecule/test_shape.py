"""Distances, heights and lines: exact gradients that never vanish, and geometries made straight and flat."""

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import AllChem

from openmm_neuralmd.molecule.chemistry import find_constrained_pairs, find_torsions
from openmm_neuralmd.molecule.shape import build_shape, compute_shape_errors, idealize_geometry, separate_angles
from tests.helpers import CHIRAL_ALKYNE, displace, make_complex

LIGANDS = (
    CHIRAL_ALKYNE,
    "c1ccc2c(c1)[nH]c1ccccc12",
    "C1C2CC3CC1CC(C2)C3",
    "CC#CC#CC",
    "CO",
    "CCN=[N+]=[N-]",
    "CC(N)=O",
)


@pytest.fixture(params=LIGANDS)
def molecule(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """Geometry [nm] and bonds."""
    ligand = make_complex(request.param).ligand
    return ligand.geometry, ligand.bonds


def read_orders(smiles: str, bonds: np.ndarray) -> list[float]:
    """Bond orders from the SMILES, whose order of heavy atoms the ligand has."""
    molecule = Chem.MolFromSmiles(smiles)
    return [molecule.GetBondBetweenAtoms(*pair).GetBondTypeAsDouble() for pair in bonds.tolist()]


def test_gradients_are_those_of_the_errors(molecule: tuple[np.ndarray, np.ndarray]) -> None:
    shape = build_shape(*molecule)
    x = torch.from_numpy(displace(molecule[0], 0.03, seed=1))[None]
    expected = torch.autograd.functional.jacobian(lambda y: compute_shape_errors(y, shape)[0], x)
    _, gradients = compute_shape_errors(x, shape)
    torch.testing.assert_close(gradients, expected[:, :, 0].flatten(2), rtol=0, atol=1e-12)


def test_geometry_has_no_errors_in_any_unit(molecule: tuple[np.ndarray, np.ndarray]) -> None:
    geometry, bonds = molecule
    shape = build_shape(geometry, bonds)
    x = torch.from_numpy(geometry)[None]
    assert compute_shape_errors(x, shape)[0].abs().max() < 1e-6
    assert compute_shape_errors(10.0 * x, shape.convert(10.0, torch.float64))[0].abs().max() < 1e-5


def test_angles_are_what_bonds_leave_of_distances() -> None:
    """The gradient of C-C-O's 1-3 distance less that of its bonds is the gradient of the angle, times d(distance)."""
    ligand = make_complex("CCO").ligand
    shape = build_shape(ligand.geometry, ligand.bonds)
    x = torch.from_numpy(ligand.geometry)[None]

    def compute_angle(y: torch.Tensor) -> torch.Tensor:
        arms = torch.nn.functional.normalize(y[0, [0, 2]] - y[0, 1], dim=-1)
        return torch.acos((arms[0] * arms[1]).sum())

    gradients = separate_angles(compute_shape_errors(x, shape)[1], shape)[0]
    expected = torch.autograd.functional.jacobian(compute_angle, x).flatten()
    lengths = (x[0, [0, 2]] - x[0, 1]).norm(dim=-1)
    across = lengths.prod() * torch.sin(compute_angle(x)) / (x[0, 0] - x[0, 2]).norm()
    row = shape.pairs.tolist().index([0, 2])
    torch.testing.assert_close(gradients[row], across * expected, rtol=0, atol=1e-12)
    others = [k for k in range(len(gradients)) if k != row]
    assert torch.equal(gradients[others], compute_shape_errors(x, shape)[1][0][others])


def test_rigid_motion_and_torsions_are_free_and_nothing_else(molecule: tuple[np.ndarray, np.ndarray]) -> None:
    """In the shape itself, flat and straight as it is, where gradients of distances alone leave more free."""
    geometry, bonds = molecule
    x = torch.from_numpy(geometry)[None]
    rank = int(torch.linalg.matrix_rank(compute_shape_errors(x, build_shape(geometry, bonds))[1][0], rtol=1e-3))
    singular = np.linalg.svd(geometry - geometry.mean(axis=0), compute_uv=False)
    n_rotations = 2 if singular[1] < 1e-3 * singular[0] else 3
    assert 3 * len(geometry) - rank == 3 + n_rotations + len(find_torsions(geometry, bonds)[0])


@pytest.mark.parametrize("smiles", LIGANDS)
def test_idealizing_straightens_and_flattens(smiles: str) -> None:
    ligand = make_complex(smiles).ligand
    orders = read_orders(smiles, ligand.bonds)
    bent = displace(ligand.geometry, 0.006, seed=3)
    ideal = idealize_geometry(bent, ligand.bonds, orders)
    pairs = find_constrained_pairs(ligand.n_atoms, ligand.bonds)
    before, after = (np.linalg.norm(x[pairs[:, 0]] - x[pairs[:, 1]], axis=1) for x in (bent, ideal))
    assert np.abs(after - before).max() < 1e-3  # nm
    shape = build_shape(ideal, ligand.bonds)
    expected = build_shape(ligand.geometry, ligand.bonds)
    assert torch.equal(shape.quadruples, expected.quadruples)
    assert torch.equal(shape.lines, expected.lines)
    is_flat = expected.heights.abs() < 2e-3
    assert (shape.heights[is_flat].abs() < 1e-6).all()
    assert (shape.heights[~is_flat] * expected.heights[~is_flat] > 0).all()
    a, b, c = (ideal[atoms] for atoms in shape.lines.numpy().T)
    assert np.linalg.norm(np.cross(b - a, c - b), axis=1).max(initial=0.0) < 1e-6
    again = idealize_geometry(ideal, ligand.bonds, orders)
    np.testing.assert_allclose(again, ideal, rtol=0, atol=1e-5)


def test_only_sp2_is_made_flat() -> None:
    """A nitrogen between flat and pyramidal, like an aniline's, keeps the height that the geometry gives it."""
    ligand = make_complex("CN(C)c1ccccc1").ligand
    orders = read_orders("CN(C)c1ccccc1", ligand.bonds)
    nitrogen = int(np.flatnonzero(ligand.atomic_numbers == 7)[0])
    bent = displace(ligand.geometry, 0.01, seed=3)
    before = build_shape(bent, ligand.bonds)
    ideal = build_shape(idealize_geometry(bent, ligand.bonds, orders), ligand.bonds)
    unknown = idealize_geometry(bent, ligand.bonds)
    is_nitrogen = before.quadruples[:, 0] == nitrogen
    assert before.heights[is_nitrogen].abs().min() > 1e-4
    torch.testing.assert_close(ideal.heights[is_nitrogen], before.heights[is_nitrogen], rtol=0.2, atol=0)
    assert (ideal.heights[~is_nitrogen].abs() < 1e-6).all()
    np.testing.assert_allclose(unknown, bent, rtol=0, atol=1e-9)


def test_idealizing_leaves_what_is_not_nearly_flat() -> None:
    ligand = make_complex("C[C@@](O)(F)C1CCCCC1").ligand
    orders = [1.0] * len(ligand.bonds)
    bent = displace(ligand.geometry, 0.006, seed=3)
    np.testing.assert_allclose(idealize_geometry(bent, ligand.bonds, orders), bent, rtol=0, atol=1e-9)


CYCLONONYNE, PARACYCLOPHANE, CYCLOHEPTATRIENE = "C1CCCC#CCCC1", "C1Cc2ccc(cc2)CCc2ccc1cc2", "C1C=CC=CC=C1"


@pytest.mark.parametrize("smiles", [CYCLONONYNE, PARACYCLOPHANE])
def test_a_strained_ligand_keeps_its_bends(smiles: str) -> None:
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    bare = AllChem.EmbedParameters()  # without RDKit's own idea of what is straight and flat
    bare.randomSeed, bare.useRandomCoords = 1, True
    assert AllChem.EmbedMolecule(molecule, bare) == 0
    AllChem.MMFFOptimizeMolecule(molecule)
    molecule = Chem.RemoveHs(molecule)
    geometry = molecule.GetConformer().GetPositions() / 10.0
    bonds = np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds()])
    ideal = idealize_geometry(geometry, bonds, read_orders(smiles, bonds))
    lengths = [np.linalg.norm(x[bonds[:, 0]] - x[bonds[:, 1]], axis=1) for x in (ideal, geometry)]
    assert np.abs(lengths[0] - lengths[1]).max() < 1e-3
    errors, _ = compute_shape_errors(torch.from_numpy(ideal)[None], build_shape(ideal, bonds))
    assert errors.abs().max() < 1e-9


def test_a_puckered_ring_may_turn_inside_out() -> None:
    ligand = make_complex(CYCLOHEPTATRIENE).ligand
    shape = build_shape(ligand.geometry, ligand.bonds)
    assert len(shape.heights) == 0
    mirrored = torch.from_numpy(ligand.geometry * [1.0, 1.0, -1.0])[None]
    assert compute_shape_errors(mirrored, shape)[0].abs().max() < 1e-9


def test_heights_stand_above_triangles_that_have_a_plane() -> None:
    """In a flat ring with an alkyne in it some successive atoms stand in a line."""
    above = [[0, 0], [1, 0], [2, 0], [3, 0], [3.5, 0.9]]
    side = 0.14 * np.array([*above, *([3 - x, 1.8 - y] for x, y in above)])
    geometry = np.column_stack([side, np.zeros(10)])
    bonds = np.array([(k, (k + 1) % 10) for k in range(10)])
    shape = build_shape(geometry, bonds)
    assert len(shape.lines) == 4
    assert 0 < len(shape.heights) < 10
    moved = torch.from_numpy(displace(geometry, 0.005, seed=0))[None]
    assert compute_shape_errors(moved, shape)[0].abs().max() < 0.03


def test_atoms_in_one_place_are_no_reason_to_crash() -> None:
    ligand = make_complex("CC(C)CO").ligand
    geometry = ligand.geometry.copy()
    geometry[1] = geometry[0]
    assert np.isfinite(idealize_geometry(geometry, ligand.bonds)).all()
