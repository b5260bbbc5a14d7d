"""One pass over a trajectory: superposition, images, matching, contacts."""

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from openmm_neuralmd.analysis.bundled import (
    get_bundled_path,
    load_bundled_site,
    open_bundled_replica,
)
from openmm_neuralmd.analysis.metrics import compute_pair_distances
from openmm_neuralmd.analysis.observation import Observation, observe
from openmm_neuralmd.errors import InputError, TopologyMismatchError
from openmm_neuralmd.io.trajectories import open_run, open_trajectory
from openmm_neuralmd.molecule.matching import map_residues
from openmm_neuralmd.molecule.site import BindingSite, build_site, list_residues
from tests.helpers import load_bundled_replicas


@pytest.fixture(scope="module")
def site() -> BindingSite:
    return load_bundled_site()


@pytest.fixture(scope="module")
def r1(site: BindingSite) -> Observation:
    return observe(open_bundled_replica("r1"), site)


def save(trajectory: mdtraj.Trajectory, folder: Path) -> tuple[Path, Path]:
    trajectory.save(str(folder / "a.xtc"))
    trajectory[0].save(str(folder / "a.pdb"))
    return folder / "a.xtc", folder / "a.pdb"


@pytest.fixture
def replica() -> mdtraj.Trajectory:
    return mdtraj.load(str(get_bundled_path("r1_pocket.xtc")), top=str(get_bundled_path("pocket.pdb")))


def test_agrees_with_the_stored_snapshots(r1: Observation) -> None:
    stored = load_bundled_replicas()[0]
    assert (r1.interval, r1.n_frames) == (80.0, 36)
    kept, first = stored.positions[9::10], r1.positions
    for pairs in (np.array([[0, 26], [5, 12], [3, 20]]),):  # distances know no superposition
        assert compute_pair_distances(first, pairs) == pytest.approx(compute_pair_distances(kept, pairs), abs=0.002)
    assert np.linalg.norm(first - kept, axis=-1).mean() < 0.1  # the pocket's CA against all CA atoms


def test_on_all_ca_atoms(site: BindingSite) -> None:
    placed = observe(open_bundled_replica("r1"), site, superpose_on="all")
    stored = load_bundled_replicas()[0]
    assert placed.positions == pytest.approx(stored.positions[9::10], abs=0.001)  # XTC rounds to 0.001 nm
    with pytest.raises(InputError, match="choose pocket or all"):
        observe(open_bundled_replica("r1"), site, superpose_on="none")


def test_known_contacts_of_cmp1(r1: Observation, site: BindingSite) -> None:
    occupancy = dict(zip(site.pocket_labels, r1.hydrogen_bonds.mean(axis=0), strict=True))
    assert occupancy["GLU472"] > 0.8  # the hinge, as in doi:10.1074/jbc.M112.366658
    assert occupancy["LEU474"] > 0.7
    assert r1.contacts.mean(axis=0)[site.pocket_labels.index("LEU474")] == 1.0
    assert r1.clashes.max() == 0


def test_place_in_the_box_does_not_matter(
    replica: mdtraj.Trajectory, r1: Observation, site: BindingSite, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    moved = replica[:]
    for k in range(len(moved)):
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        moved.xyz[k] = moved.xyz[k] @ (turn * np.sign(np.linalg.det(turn)))
        ligand = moved.topology.select("resname '0WC'")
        moved.xyz[k, ligand] += rng.integers(-2, 3, 3) @ moved.unitcell_vectors[k]
        inside = moved.xyz[k] @ np.linalg.inv(moved.unitcell_vectors[k])  # wrapped atom by atom: everything is cut
        moved.xyz[k] = (inside - np.floor(inside)) @ moved.unitcell_vectors[k]
    moved.save(str(tmp_path / "a.xtc"))
    found = observe(open_trajectory(tmp_path / "a.xtc", get_bundled_path("pocket.pdb")), site)
    assert found.positions == pytest.approx(r1.positions, abs=0.004)  # XTC rounds to 0.001 nm
    assert np.mean(found.contacts != r1.contacts) < 0.01


def test_names_and_order_do_not_matter(
    replica: mdtraj.Trajectory, r1: Observation, site: BindingSite, tmp_path: Path
) -> None:
    ligand = replica.topology.select("resname '0WC'")
    order = np.concatenate(
        [np.setdiff1d(np.arange(replica.n_atoms), ligand), np.random.default_rng(1).permutation(ligand)]
    )
    topology = mdtraj.Topology()
    new: dict[int, mdtraj.core.topology.Atom] = {}
    chain, last = topology.add_chain(), None
    for index in order:
        atom = replica.topology.atom(index)
        if atom.residue is not last:
            is_ligand = atom.residue.name == "0WC"
            residue = topology.add_residue("UNL" if is_ligand else atom.residue.name, chain, atom.residue.resSeq)
            last = atom.residue
        new[index] = topology.add_atom(f"X{index}" if index in ligand else atom.name, atom.element, residue)
    for a, b in replica.topology.bonds:
        topology.add_bond(new[a.index], new[b.index])
    shuffled = mdtraj.Trajectory(
        replica.xyz[:, order], topology, replica.time, replica.unitcell_lengths, replica.unitcell_angles
    )
    found = observe(open_trajectory(*save(shuffled, tmp_path)), site)
    assert found.positions == pytest.approx(r1.positions, abs=0.002)


def test_without_hydrogens(replica: mdtraj.Trajectory, r1: Observation, site: BindingSite, tmp_path: Path) -> None:
    heavy = replica.atom_slice(replica.topology.select("element != H"))
    found = observe(open_trajectory(*save(heavy, tmp_path)), site)
    assert found.positions == pytest.approx(r1.positions, abs=0.002)
    assert found.hydrogen_bonds is None
    assert "no hydrogens" in found.notes[0]


def test_gromacs_gro_has_no_bonds(
    replica: mdtraj.Trajectory, r1: Observation, site: BindingSite, tmp_path: Path
) -> None:
    start = replica[0]
    inside = start.xyz[0] @ np.linalg.inv(start.unitcell_vectors[0])
    inside -= inside[start.topology.select("name N1")]  # an atom amid the ligand, which the box now cuts
    start.xyz[0] = (inside - np.floor(inside)) @ start.unitcell_vectors[0]
    assert np.ptp(start.xyz[0, start.topology.select("resname '0WC'")], axis=0).max() > 4.0
    start.save_gro(str(tmp_path / "a.gro"))
    found = observe(open_trajectory(get_bundled_path("r1_pocket.xtc"), tmp_path / "a.gro"), site)
    assert np.array_equal(found.positions, r1.positions)
    assert np.array_equal(found.hydrogen_bonds, r1.hydrogen_bonds)


def test_cut_molecules_without_a_box(replica: mdtraj.Trajectory, site: BindingSite, tmp_path: Path) -> None:
    cut = replica[:2]
    cut.xyz[:, cut.topology.select("resname '0WC'")[:10]] += 4.0
    cut.unitcell_vectors = None
    cut.save(str(tmp_path / "a.nc"))
    with pytest.raises(InputError, match="periodic box"):
        observe(open_trajectory(tmp_path / "a.nc", get_bundled_path("pocket.pdb")), site)


def test_ligand_in_another_image_without_a_box(replica: mdtraj.Trajectory, site: BindingSite, tmp_path: Path) -> None:
    away = replica[:2]
    away.xyz[:, away.topology.select("resname '0WC'")] += 4.0
    away.unitcell_vectors = None
    away.save(str(tmp_path / "a.nc"))
    with pytest.raises(InputError, match=r"no box.*another periodic image"):
        observe(open_trajectory(tmp_path / "a.nc", get_bundled_path("pocket.pdb")), site)


def test_ligand_that_jumps_without_a_box(replica: mdtraj.Trajectory, site: BindingSite, tmp_path: Path) -> None:
    jumping = replica[:6]
    jumping.xyz[4:, jumping.topology.select("resname '0WC'")] += [8.0, 0.0, 0.0]
    jumping.save(str(tmp_path / "box.nc"))
    jumping.unitcell_vectors = None
    jumping.save(str(tmp_path / "a.nc"))
    with pytest.raises(InputError, match=r"a.nc: frame 4: the ligand is 8\.\d nm from .* and the file holds no box"):
        observe(open_trajectory(tmp_path / "a.nc", get_bundled_path("pocket.pdb")), site)
    moved = np.diff(
        observe(open_trajectory(tmp_path / "box.nc", get_bundled_path("pocket.pdb")), site).positions, axis=0
    )
    assert np.linalg.norm(moved, axis=-1).max() < 4.0  # the box brings it back


def test_another_ligand(replica: mdtraj.Trajectory, site: BindingSite, tmp_path: Path) -> None:
    other = replica[:2].atom_slice(replica.topology.select("not name Cl1"))
    with pytest.raises(TopologyMismatchError, match="another molecule than 0WC"):
        observe(open_trajectory(*save(other, tmp_path)), site)


def test_protein_numbered_otherwise(holo: mdtraj.Trajectory, site: BindingSite) -> None:
    renumbered = holo.topology.copy()
    for residue in renumbered.residues:
        residue.resSeq += 1000
    notes: list[str] = []
    ligand = next(r for r in renumbered.residues if r.name == "0WC")
    partners = map_residues(site, list_residues(renumbered, ligand), notes, "a.pdb")
    assert [partners[k].resSeq - 1000 for k in site.pocket] == [site.keys[k][1] for k in site.pocket]
    assert "identity 100 %" in notes[0]


def test_another_protein_says_the_identity(holo: mdtraj.Trajectory, site: BindingSite) -> None:
    other = holo.topology.copy()
    for residue in other.residues:
        residue.resSeq += 1000
    residues = list_residues(other, next(r for r in other.residues if r.name == "0WC"))
    with pytest.raises(TopologyMismatchError, match=r"another protein.* \d+ %"):
        map_residues(site, residues[::-1], [], "a.pdb")


def test_a_ligand_far_from_the_protein(holo: mdtraj.Trajectory) -> None:
    xyz = holo.xyz[0].astype(np.float64)
    xyz[holo.topology.select("resname '0WC'")] += 20.0
    with pytest.raises(InputError, match="not in a pocket"):
        build_site(holo.topology, xyz)


def test_view_and_resampling(bundled_run: Path, site: BindingSite) -> None:
    run = observe(open_run(bundled_run), site)
    assert run.view.time.tolist() == run.times.tolist()
    half = run.resample(2)
    assert (half.interval, half.n_frames, half.times[0]) == (160.0, 18, 160.0)
    assert np.array_equal(half.positions[0], run.positions[1])


@pytest.mark.parametrize("stride", [1, 2])
def test_a_frame_at_time_zero_is_the_start(
    site: BindingSite, replica: mdtraj.Trajectory, tmp_path: Path, stride: int
) -> None:
    """GROMACS writes it; series are compared from their first interval on all the same."""
    without = observe(open_trajectory(*save(replica, tmp_path)), site)
    whole = mdtraj.join([replica[0], replica])
    whole.time = 80.0 * np.arange(len(whole))
    with_start = observe(open_trajectory(*save(whole, tmp_path)), site)
    assert with_start.times.tolist() == whole.time.tolist() == with_start.view.time.tolist()
    assert without.times.tolist() == whole.time[1:].tolist()
    told = observe(open_trajectory(*save(whole, tmp_path), interval=80.0), site)
    assert told.times.tolist() == whole.time.tolist()
    assert (told.n_intervals, told.length) == (36, 36 * 80.0)
    one, other = without.resample(stride), with_start.resample(stride)
    assert one.times.tolist() == other.times.tolist()
    assert one.positions == pytest.approx(other.positions, abs=1e-6)
