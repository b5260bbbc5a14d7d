"""Hydrogen bonds by a truth table of Baker and Hubbard's criterion, and contacts at their cutoff."""

import mdtraj
import numpy as np
import pytest

from openmm_neuralmd.analysis.contacts import (
    HYDROGEN_BOND_ANGLE,
    HYDROGEN_BOND_NM,
    find_contacts,
    find_hydrogen_bonds,
    list_hydrogen_bond_candidates,
)

LENGTH_NM = 0.1  # of the bond to hydrogen


def build(donor: str, acceptor: str, *, by_ligand: bool = True) -> tuple[mdtraj.Topology, set[int], dict[int, int]]:
    """Donor with its hydrogen (atoms 0, 1) and acceptor (2), one of the ligand, the other of a residue."""
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    owner, other = (topology.add_residue(name, chain) for name in (("LIG", "GLU") if by_ligand else ("GLU", "LIG")))
    topology.add_atom("D", mdtraj.element.get_by_symbol(donor), owner)
    topology.add_atom("H", mdtraj.element.hydrogen, owner)
    topology.add_atom("A", mdtraj.element.get_by_symbol(acceptor), other)
    ligand = {0, 1} if by_ligand else {2}
    return topology, ligand, {k: 0 for k in range(3) if k not in ligand}


def place(distance: float, degrees: float) -> np.ndarray:
    """Donor, hydrogen, acceptor [nm], with H...A distance and angle D-H...A."""
    angle = np.radians(degrees)
    acceptor = distance * np.array([-np.cos(angle), np.sin(angle), 0.0])
    return np.array([[-LENGTH_NM, 0.0, 0.0], [0.0, 0.0, 0.0], acceptor])


def is_bonded(donor: str, acceptor: str, distance: float, degrees: float, *, by_ligand: bool = True) -> bool:
    topology, ligand, columns = build(donor, acceptor, by_ligand=by_ligand)
    candidates, places = list_hydrogen_bond_candidates(topology, np.array([[0, 1]]), ligand, columns)
    frames = mdtraj.Trajectory(place(distance, degrees)[None], topology)
    return bool(find_hydrogen_bonds(frames, candidates, places, 1)[0, 0])


@pytest.mark.parametrize("by_ligand", [True, False])
@pytest.mark.parametrize(
    ("donor", "acceptor", "distance", "degrees", "expected"),
    [
        ("N", "O", 0.20, 180.0, True),
        ("O", "N", 0.20, 180.0, True),
        ("N", "N", 0.20, 150.0, True),
        ("O", "O", 0.17, 160.0, True),
        ("N", "O", HYDROGEN_BOND_NM - 0.001, 180.0, True),
        ("N", "O", HYDROGEN_BOND_NM + 0.001, 180.0, False),  # too far
        ("N", "O", 0.20, np.degrees(HYDROGEN_BOND_ANGLE) + 0.5, True),
        ("N", "O", 0.20, np.degrees(HYDROGEN_BOND_ANGLE) - 0.5, False),  # too bent
        ("N", "O", 0.20, 90.0, False),
        ("N", "O", HYDROGEN_BOND_NM + 0.001, np.degrees(HYDROGEN_BOND_ANGLE) - 0.5, False),
        ("C", "O", 0.20, 180.0, False),  # carbon gives none
        ("S", "O", 0.20, 180.0, False),
        ("N", "S", 0.20, 180.0, False),  # sulfur and the halogens take none
        ("N", "F", 0.20, 180.0, False),
        ("N", "C", 0.20, 180.0, False),
    ],
)
def test_truth_table(
    donor: str, acceptor: str, distance: float, degrees: float, expected: bool, by_ligand: bool
) -> None:
    assert is_bonded(donor, acceptor, distance, degrees, by_ligand=by_ligand) is expected


def test_no_bond_within_the_ligand_or_the_residue() -> None:
    topology, _, _ = build("N", "O")
    bonds = np.array([[0, 1]])
    for ligand, columns in (({0, 1, 2}, {}), (set(), {0: 0, 1: 0, 2: 0})):
        assert list_hydrogen_bond_candidates(topology, bonds, ligand, columns)[0].shape == (0, 3)


def test_a_hydrogen_gives_only_to_what_it_is_bonded_to() -> None:
    topology, ligand, columns = build("N", "O")
    candidates, places = list_hydrogen_bond_candidates(topology, np.array([[1, 0]]), ligand, columns)
    assert (candidates.tolist(), places.tolist()) == ([[0, 1, 2]], [0])
    assert len(list_hydrogen_bond_candidates(topology, np.empty((0, 2)), ligand, columns)[0]) == 0


def test_columns_and_frames() -> None:
    """Two residues, of which each holds in one of three frames."""
    topology, ligand, _ = build("N", "O")
    residue = topology.add_residue("ASP", next(topology.chains))
    topology.add_atom("A", mdtraj.element.oxygen, residue)
    candidates, places = list_hydrogen_bond_candidates(topology, np.array([[0, 1]]), ligand, {2: 0, 3: 1})
    far, near = np.array([[0.6, 0.0, 0.0]]), place(0.2, 170.0)
    frames = [np.concatenate([near, far]), np.concatenate([near[:2], far, near[2:]])]
    frames.append(np.concatenate([near[:2], far, far]))
    found = find_hydrogen_bonds(mdtraj.Trajectory(np.stack(frames), topology), candidates, places, 2)
    assert found.tolist() == [[True, False], [False, True], [False, False]]


def test_contact_at_the_cutoff() -> None:
    ligand = np.zeros((1, 1, 3))
    residues = [np.array([[[0.449, 0, 0]]]), np.array([[[0.451, 0, 0]]]), np.empty((1, 0, 3))]
    assert find_contacts(ligand, residues).tolist() == [[True, False, False]]
