"""The ligand's graph, and recognising it whatever its atoms are called."""

from dataclasses import replace

import mdtraj
import numpy as np
import pytest

from openmm_neuralmd.analysis.bundled import get_bundled_path, load_bundled_site
from openmm_neuralmd.errors import InputError, TopologyMismatchError
from openmm_neuralmd.molecule.bonds import perceive_bonds
from openmm_neuralmd.molecule.chemistry import list_neighbours
from openmm_neuralmd.molecule.ligand import Ligand, build_ligand, compute_pyramidality, load_ligand_sdf, select_ligand
from openmm_neuralmd.molecule.matching import match_ligands
from tests.helpers import load_bundled_replicas


@pytest.fixture(scope="module")
def ligand() -> Ligand:
    return load_bundled_site().ligand


def permute(ligand: Ligand, order: np.ndarray) -> Ligand:
    """The same molecule with new names, its atom k being the old atom order[k]."""
    names = tuple(f"X{k}" for k in range(len(order)))
    return replace(ligand.reorder(order), name="NEW", atom_names=names, bond_orders=None, n_hydrogens=None)


def make_ligand(name: str, numbers: np.ndarray, bonds: np.ndarray, xyz: np.ndarray) -> Ligand:
    n_atoms, none = len(numbers), np.empty(0, dtype=np.int64)
    names = tuple(f"X{k}" for k in range(n_atoms))
    return Ligand(name, numbers, 12.0 * np.ones(n_atoms), bonds, None, xyz, xyz, np.arange(n_atoms), none, none, names)


def test_what_must_not_change_in_0wc(ligand: Ligand) -> None:
    assert (ligand.n_atoms, len(ligand.bonds)) == (27, 30)
    assert [[ligand.atom_names[k] for k in center] for center in ligand.find_centers()] == [["C14", "C13", "C1", "O1"]]
    assert sorted(len(ring) for ring in ligand.find_flat_rings()) == [5, 6, 6]
    axes = {frozenset(ligand.atom_names[k] for k in torsion[1:3]) for torsion in ligand.find_dihedrals()}
    assert axes == {frozenset(("C3", "C14")), frozenset(("C8", "N1")), frozenset(("C18", "C14"))}


def bend(ligand: Ligand) -> Ligand:
    """The ligand without bond orders in the frame of r1 that bends a planar carbon atom most."""
    r1 = load_bundled_replicas()[0].positions.astype(np.float64)
    neighbours = [(k, *found[:3]) for k, found in enumerate(list_neighbours(ligand.n_atoms, ligand.bonds))]
    planar = [n for n in neighbours if len(n) == 4 and ligand.atom_names[n[0]] in ("C9", "C15", "C18")]
    frame = np.abs(compute_pyramidality(r1, np.array(planar))).max(axis=1).argmax()
    return replace(ligand, bond_orders=None, n_hydrogens=None, geometry=r1[frame])


def test_a_bent_planar_carbon_is_no_center(ligand: Ligand) -> None:
    bent = bend(ligand)
    assert len(bent.find_centers()) > 1  # one pose alone cannot tell
    only = [["C14", "C13", "C1", "O1"]]
    frames = [r.positions for r in load_bundled_replicas()]
    for known in (
        bent.find_centers(frames),
        replace(bent, bond_orders=ligand.bond_orders).find_centers(),
    ):
        assert [[ligand.atom_names[k] for k in center] for center in known] == only


def test_four_neighbours_make_a_center_in_any_pose(ligand: Ligand) -> None:
    flat = ligand.geometry * np.array([1.0, 1.0, 0.0])
    centers = replace(ligand, geometry=flat).find_centers()
    assert [ligand.atom_names[k] for k in centers[:, 0]] == ["C14"]


def test_hydrogens_are_counted_by_distance(holo: mdtraj.Trajectory, ligand: Ligand) -> None:
    found = build_ligand(holo.topology, select_ligand(holo.topology, "0WC"), holo.xyz[0])
    assert found.n_hydrogens == ligand.n_hydrogens
    assert sum(found.n_hydrogens or ()) == 16
    heavy = holo.atom_slice(holo.topology.select("element != H"))
    assert build_ligand(heavy.topology, select_ligand(heavy.topology, "0WC"), heavy.xyz[0]).n_hydrogens is None


def test_torsions_span_bonds_around_a_line(ligand: Ligand) -> None:
    for first, left, right, last in ligand.find_dihedrals():
        for a, b, c in ((first, left, right), (left, right, last)):
            u, v = ligand.geometry[a] - ligand.geometry[b], ligand.geometry[c] - ligand.geometry[b]
            assert abs(u @ v) < 0.9 * np.linalg.norm(u) * np.linalg.norm(v)


def test_bonds_from_distances_are_those_of_the_sdf(ligand: Ligand) -> None:
    found = perceive_bonds(ligand.atomic_numbers, ligand.geometry)
    assert {frozenset(b) for b in found.tolist()} == {frozenset(b) for b in ligand.bonds.tolist()}


def test_match_finds_the_permutation(ligand: Ligand) -> None:
    order = np.random.default_rng(4).permutation(ligand.n_atoms)
    matches = match_ligands(ligand, permute(ligand, order))
    assert matches.tolist() == [np.argsort(order).tolist()]


def test_match_lists_symmetries() -> None:
    angles = np.arange(6) * np.pi / 3
    ring = 0.14 * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    bonds = np.stack([np.arange(6), (np.arange(6) + 1) % 6], axis=1)
    benzene = make_ligand("BNZ", np.full(6, 6), bonds, ring)
    assert len(match_ligands(benzene, benzene)) == 12


def test_another_molecule_is_named(ligand: Ligand) -> None:
    numbers = ligand.atomic_numbers.copy()
    numbers[list(ligand.atom_names).index("Cl1")] = 35
    other = replace(ligand, name="BRO", atomic_numbers=numbers)
    with pytest.raises(TopologyMismatchError, match=r"BRO \(C19 Br N5 O S.* another molecule than 0WC \(C19 Cl N5 O S"):
        match_ligands(ligand, other)
    fewer = replace(ligand, name="CUT", bonds=ligand.bonds[1:])
    with pytest.raises(TopologyMismatchError, match="29 bonds"):
        match_ligands(ligand, fewer)


def test_select_ligand_says_what_is_there(holo: mdtraj.Trajectory) -> None:
    assert select_ligand(holo.topology, None).name == "0WC"
    with pytest.raises(InputError, match=r"'ABC' found 0 times.*0WC"):
        select_ligand(holo.topology, "ABC")


def test_topology_without_bond_records(holo: mdtraj.Trajectory) -> None:
    bare = holo.topology.copy()
    bare._bonds = []
    residue = select_ligand(bare, "0WC")
    assert len(build_ligand(bare, residue, holo.xyz[0]).bonds) == 30


def test_sdf_must_exist() -> None:
    with pytest.raises(InputError, match="no such file"):
        load_ligand_sdf("nowhere.sdf")
    with pytest.raises(InputError, match="not a readable SDF"):
        load_ligand_sdf(get_bundled_path("complex.pdb"))
