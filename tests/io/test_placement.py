"""Training and comparison accept the same files and place the same frame alike, whatever the format."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from openmm_neuralmd.analysis.bundled import get_bundled_path, load_bundled_site
from openmm_neuralmd.analysis.observation import observe, observe_start
from openmm_neuralmd.data.trajectories import load_ligand_trajectory
from openmm_neuralmd.errors import InputError, NeuralMDError
from openmm_neuralmd.io.placement import PlacedFrames
from openmm_neuralmd.io.structures import load_structure
from openmm_neuralmd.io.trajectories import open_trajectory
from openmm_neuralmd.molecule.complex import Complex, load_bundled_complex
from tests.helpers import SHARED, make_complex, save_trajectory

DATA = Path(__file__).parents[1] / "data"
INTERVAL_PS = 20.0
SINGLE_NM = 1e-4
DODECAHEDRON = np.array([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [2.0, 2.0, 2.0 * np.sqrt(2.0)]])
TOPOLOGIES = ["top.pdb", "top.gro", "top.h5", DATA / "tiny.prmtop", DATA / "tiny.tpr"]
TRAJECTORIES = [".dcd", ".xtc", ".trr", ".nc", ".h5"]


@pytest.fixture(scope="module")
def tiny() -> Complex:
    return make_complex()


@pytest.fixture(scope="module")
def folder(tiny: Complex, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames that drift and turn, every atom wrapped into the box by itself, in all formats."""
    folder = tmp_path_factory.mktemp("formats")
    noise = np.random.default_rng(5).normal(scale=0.01, size=(8, tiny.ligand.n_atoms, 3))
    xyz = np.repeat(tiny.positions[None], 8, axis=0)
    xyz[:, tiny.ligand.atom_indices] += noise
    turns = Rotation.random(8, random_state=3).as_matrix()
    xyz = np.einsum("fij,faj->fai", turns, xyz) + np.random.default_rng(4).uniform(-6, 6, size=(8, 1, 3))
    xyz -= np.floor(xyz @ np.linalg.inv(DODECAHEDRON)) @ DODECAHEDRON
    frames = mdtraj.Trajectory(xyz, mdtraj.Topology.from_openmm(tiny.topology))
    frames.time = INTERVAL_PS * np.arange(1, 9)
    frames.unitcell_vectors = np.repeat(DODECAHEDRON[None], 8, axis=0)
    for suffix in TRAJECTORIES:
        save_trajectory(frames, folder / f"md{suffix}")
    for suffix in (".pdb", ".gro", ".h5"):
        save_trajectory(frames[0], folder / f"top{suffix}")
    return folder


def place_both(path: Path, top: Path | None, complex_: Complex, superpose_on: str) -> tuple[np.ndarray, np.ndarray]:
    """The same frames as training and as comparison read them [nm], (n_frames, n_atoms, 3)."""
    given = INTERVAL_PS if path.suffix == ".dcd" and path.name == "md.dcd" else None
    learned = load_ligand_trajectory(path, top, complex_, frame_interval=given, superpose_on=superpose_on)
    compared = observe(open_trajectory(path, top, interval=given), complex_.site, superpose_on=superpose_on)
    assert learned.frame_interval == compared.interval
    assert learned.notes == tuple(
        note for note in compared.notes if "no side chains" not in note and "no hydrogens" not in note
    )
    return learned.snapshots, compared.positions


@pytest.mark.parametrize("suffix", TRAJECTORIES)
@pytest.mark.parametrize("top", TOPOLOGIES, ids=lambda top: Path(top).name)
def test_every_format(folder: Path, tiny: Complex, suffix: str, top: str | Path) -> None:
    if str(top).endswith(".tpr"):
        pytest.importorskip("MDAnalysis", reason="pip install 'openmm_neuralmd[gromacs]'")
    learned, compared = place_both(folder / f"md{suffix}", folder / top, tiny, "all")
    assert np.abs(learned - compared).max() < SINGLE_NM
    noise = np.random.default_rng(5).normal(scale=0.01, size=(8, tiny.ligand.n_atoms, 3))
    assert np.abs(learned - tiny.ligand.positions - noise).max() < 2e-3  # XTC keeps 0.001 nm


@pytest.mark.parametrize("top", ["top.gro", "top.h5", DATA / "tiny.prmtop"], ids=lambda top: Path(top).name)
def test_a_complex_read_from_the_same_file(folder: Path, top: str | Path) -> None:
    """What its users have: no other structure than the topology."""
    complex_ = load_structure(folder / top, "LIG", trajectory=folder / "md.nc")
    learned, compared = place_both(folder / "md.nc", folder / top, complex_, "all")
    assert np.abs(learned - compared).max() < SINGLE_NM


@pytest.mark.parametrize("superpose_on", ["pocket", "all"])
def test_real_frames(superpose_on: str) -> None:
    """MD of 4G3E: the pocket alone, with hydrogens, in its box."""
    learned, compared = place_both(
        get_bundled_path("r1_pocket.xtc"), get_bundled_path("pocket.pdb"), load_bundled_complex(), superpose_on
    )
    assert len(learned) == 36
    assert np.abs(learned - compared).max() < SINGLE_NM


REAL = [
    ("4g3e", "r1_complex_80ps.dcd", "complex.pdb"),
    ("4g3e", "r1b_complex_80ps.xtc", "complex.pdb"),
    ("4g3e", "r1b_heavy_8ps.xtc", "heavy.pdb"),
    ("4g3e", "r2_ligand_backbone_8ps.dcd", "ligand_backbone.pdb"),
]


@pytest.mark.parametrize(("name", "trajectory", "top"), REAL)
def test_deposited_trajectories(name: str, trajectory: str, top: str) -> None:
    folder = SHARED / "data" / name
    if not (folder / trajectory).is_file():
        pytest.skip(f"{folder / trajectory} is absent")
    learned, compared = place_both(folder / trajectory, folder / top, load_bundled_complex(), "pocket")
    assert np.abs(learned - compared).max() < SINGLE_NM


def test_site_of_the_complex_is_that_of_the_comparison() -> None:
    mine, theirs = load_bundled_complex().site, load_bundled_site()
    assert mine.sequence == theirs.sequence
    assert mine.labels == theirs.labels
    assert mine.keys == theirs.keys
    assert np.array_equal(mine.pocket, theirs.pocket)
    assert np.abs(mine.ca - theirs.ca).max() < 1e-6
    assert np.abs(mine.pose - theirs.pose).max() < 1e-6
    assert mine.ligand.atom_names == theirs.ligand.atom_names


def break_times(frames: mdtraj.Trajectory) -> None:
    frames.time[5:] += 100.0


def jump(frames: mdtraj.Trajectory) -> None:
    frames.xyz[5:, frames.topology.select("resname '0WC'")] += [0.0, 8.0, 0.0]
    frames.unitcell_vectors = None


def move_a_chain(frames: mdtraj.Trajectory) -> None:
    frames.xyz[3:, frames.topology.select("resid 0 to 30")] += [0.0, 0.0, 7.0]
    frames.unitcell_vectors = None


def cut(frames: mdtraj.Trajectory) -> None:
    frames.xyz[3:, frames.topology.select("resname '0WC'")[:10]] += 4.0
    frames.unitcell_vectors = None


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (break_times, "frames 4 and the next are 180 ps apart"),
        (jump, r"frame 5: the ligand is 8\.\d nm from where it was one frame before"),
        (move_a_chain, "no box|periodic box"),
        (cut, r"bond is \d\.\d\d nm long in a frame: molecules are cut by a periodic box"),
    ],
)
def test_both_refuse_the_same(spoil: Callable[[mdtraj.Trajectory], None], expected: str, tmp_path: Path) -> None:
    frames = mdtraj.load(str(get_bundled_path("r1_pocket.xtc")), top=str(get_bundled_path("pocket.pdb")))
    spoil(frames)
    path, top = save_trajectory(frames, tmp_path / "a.nc"), get_bundled_path("pocket.pdb")
    complex_ = load_bundled_complex()
    with pytest.raises(InputError, match=expected):
        load_ligand_trajectory(path, top, complex_)
    with pytest.raises(InputError, match=expected):
        observe(open_trajectory(path, top), complex_.site)


def test_own_runs_may_leave_the_pocket(tmp_path: Path) -> None:
    """Where the ligand of a run goes is the model's doing, and is what a comparison is to show."""
    frames = mdtraj.load(str(get_bundled_path("r1_pocket.xtc")), top=str(get_bundled_path("pocket.pdb")))
    jump(frames)
    file = open_trajectory(save_trajectory(frames, tmp_path / "a.nc"), get_bundled_path("pocket.pdb"))
    seen = observe(replace(file, info={"ligand": "0WC"}), load_bundled_site())
    assert np.linalg.norm(np.diff(seen.positions.mean(axis=1), axis=0), axis=1).max() > 7.0


def test_other_molecules_come_to_the_pocket(tmp_path: Path) -> None:
    """An ion-like cofactor that the box has put elsewhere, and a chain that the site does not have."""
    frames = mdtraj.load(str(get_bundled_path("r1_pocket.xtc")), top=str(get_bundled_path("pocket.pdb")))
    topology = frames.topology.copy()
    residue = topology.add_residue("SO4", topology.add_chain())
    for k, symbol in enumerate("SOOOO"):
        topology.add_atom(f"{symbol}{k}", mdtraj.element.get_by_symbol(symbol), residue)
    shape = 0.15 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [-0.6, -0.6, -0.6]])
    near = frames.xyz[:, frames.topology.select("resname '0WC'")].mean(axis=1, keepdims=True) + [0.9, 0.0, 0.0]
    turns = np.random.default_rng(0).integers(-2, 3, size=(len(frames), 1, 3))
    away = near + shape + np.einsum("fai,fij->faj", turns, frames.unitcell_vectors)
    joined = mdtraj.Trajectory(
        np.concatenate([frames.xyz, away], axis=1), topology, frames.time, frames.unitcell_lengths,
        frames.unitcell_angles,
    )  # fmt: skip
    save_trajectory(joined[0], tmp_path / "top.pdb")
    file = open_trajectory(save_trajectory(joined, tmp_path / "a.xtc"), tmp_path / "top.pdb")
    placed = PlacedFrames(file, load_bundled_site(), whole_protein=True)
    for chunk in placed:
        centre = chunk[:, placed.order].mean(axis=1)
        assert np.linalg.norm(chunk[:, -5] - centre, axis=1).max() < 1.2


@pytest.mark.parametrize("has_box", [True, False])
def test_a_copy_elsewhere_with_the_ligands_chain_and_number(tmp_path: Path, has_box: bool) -> None:
    """Names do not say which copy is meant where the one in the pocket is called otherwise."""
    frames = mdtraj.load(str(get_bundled_path("r1_pocket.xtc")), top=str(get_bundled_path("pocket.pdb")))
    complex_ = load_bundled_complex()
    copy = frames.atom_slice(frames.topology.select("resname '0WC'"))
    copy.xyz += np.float32([1.0, 1.0, 1.0])
    both = frames.stack(copy)
    first, second = [r for r in both.topology.residues if r.name == "0WC"]
    first.chain.chain_id, first.resSeq = "X", 900
    second.chain.chain_id, second.resSeq = complex_.site.key
    if not has_box:
        both.unitcell_vectors = None
    save_trajectory(both[0], tmp_path / "top.pdb")
    path = save_trajectory(both, tmp_path / "a.nc")
    learned, compared = place_both(path, tmp_path / "top.pdb", complex_, "pocket")
    expected = load_ligand_trajectory(get_bundled_path("r1_pocket.xtc"), get_bundled_path("pocket.pdb"), complex_)
    assert np.abs(learned - compared).max() < SINGLE_NM
    assert np.abs(learned - expected.snapshots).max() < SINGLE_NM


def test_no_order_before_the_first_frame(folder: Path, tiny: Complex) -> None:
    file = open_trajectory(folder / "md.xtc", folder / "top.pdb")
    with pytest.raises(NeuralMDError, match="no frame was read yet"):
        _ = PlacedFrames(file, tiny.site, superpose_on="all").order


def test_the_start_is_the_structure_of_the_topology() -> None:
    file = open_trajectory(get_bundled_path("r1_pocket.xtc"), get_bundled_path("pocket.pdb"))
    site = load_bundled_site()
    frozen = observe_start(file, site, 3)
    assert frozen.positions.shape == (3, site.ligand.n_atoms, 3)
    assert np.abs(frozen.positions[0] - frozen.positions[2]).max() == 0.0
