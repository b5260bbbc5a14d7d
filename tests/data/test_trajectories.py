"""Files of each engine give the same snapshots, whatever the box did to the molecules; wrong ones are told apart."""

from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from openmm.app import Topology
from scipy.spatial.transform import Rotation

from openmm_neuralmd.data.trajectories import load_ligand_trajectory
from openmm_neuralmd.errors import InputError, TopologyMismatchError
from openmm_neuralmd.molecule.complex import Complex, load_complex
from tests.helpers import CHIRAL_ALKYNE, SHARED, make_complex, make_topology, save_trajectory

FOLDER = Path(__file__).parent
INTERVAL_PS = 20.0
N_FRAMES = 12
CUBE = np.diag([4.0, 4.0, 4.0])
DODECAHEDRON = np.array([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [2.0, 2.0, 2.0 * np.sqrt(2.0)]])
EXACT_NM = 2e-3  # XTC keeps 0.001 nm

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def tiny() -> Complex:
    return make_complex()


@pytest.fixture(scope="module")
def truth(tiny: Complex) -> np.ndarray:
    """Ligand snapshots in the protein's place [nm]."""
    noise = np.random.default_rng(5).normal(scale=0.01, size=(N_FRAMES, tiny.ligand.n_atoms, 3))
    return tiny.ligand.positions + noise


def tumble(complex_: Complex, snapshots: np.ndarray, cell: np.ndarray | None) -> mdtraj.Trajectory:
    """Frames of the whole complex that drifts and turns; with a cell, every atom is wrapped into it by itself."""
    xyz = np.repeat(complex_.positions[None], len(snapshots), axis=0)
    xyz[:, complex_.ligand.atom_indices] = snapshots
    turns = Rotation.random(len(snapshots), random_state=3).as_matrix()
    drift = np.random.default_rng(4).uniform(-6.0, 6.0, size=(len(snapshots), 1, 3))
    xyz = np.einsum("fij,faj->fai", turns, xyz) + drift
    if cell is not None:
        xyz -= np.floor(xyz @ np.linalg.inv(cell)) @ cell
    frames = mdtraj.Trajectory(xyz, mdtraj.Topology.from_openmm(complex_.topology))
    frames.time = INTERVAL_PS * np.arange(len(snapshots))
    if cell is not None:
        frames.unitcell_vectors = np.repeat(cell[None], len(snapshots), axis=0)
    return frames


@pytest.fixture
def write(tiny: Complex, truth: np.ndarray, tmp_path: Path) -> Write:
    """Writes the tumbling frames; the path of the trajectory, beside ``top.pdb`` and ``top.gro``."""

    def write_frames(suffix: str, cell: np.ndarray | None = CUBE, edit: Callable = lambda frames: frames) -> Path:
        frames = edit(tumble(tiny, truth, cell))
        for name in ("top.pdb", "top.gro", f"md{suffix}"):
            save_trajectory(frames if name.startswith("md") else frames[0], tmp_path / name)
        return tmp_path / f"md{suffix}"

    return write_frames


class TestFormats:
    @pytest.mark.parametrize("cell", [CUBE, DODECAHEDRON], ids=["cube", "dodecahedron"])
    @pytest.mark.parametrize(
        ("suffix", "top"),
        [
            (".xtc", "top.gro"),
            (".xtc", FOLDER / "tiny.tpr"),
            (".trr", FOLDER / "tiny.tpr"),
            (".nc", FOLDER / "tiny.prmtop"),
            (".h5", None),
            (".dcd", "top.pdb"),
        ],
    )
    def test_wrapped_and_tumbling_frames(
        self, write: Write, tiny: Complex, truth: np.ndarray, suffix: str, top: str | Path | None, cell: np.ndarray
    ) -> None:
        if str(top).endswith(".tpr"):
            pytest.importorskip("MDAnalysis")
        path = write(suffix, cell)
        given = INTERVAL_PS if suffix == ".dcd" else None  # mdtraj writes no interval into DCD files
        loaded = load_ligand_trajectory(path, top and path.parent / top, tiny, frame_interval=given, superpose_on="all")
        assert loaded.frame_interval == pytest.approx(INTERVAL_PS)
        assert loaded.snapshots.shape == truth.shape
        assert np.abs(loaded.snapshots - truth).max() < EXACT_NM
        assert loaded.superposed_on == "all, 8 CA atoms"

    def test_whole_frames_without_a_box(self, write: Write, tiny: Complex, truth: np.ndarray) -> None:
        path = write(".xtc", None)
        loaded = load_ligand_trajectory(path, path.parent / "top.pdb", tiny, superpose_on="all")
        assert np.abs(loaded.snapshots - truth).max() < EXACT_NM

    def test_dcd_that_openmm_wrote(self, tiny: Complex, truth: np.ndarray, tmp_path: Path) -> None:
        from openmm import unit
        from openmm.app import DCDFile

        frames = tumble(tiny, truth, None)
        frames[0].save(str(tmp_path / "top.pdb"))
        with open(tmp_path / "md.dcd", "wb") as file:
            dcd = DCDFile(file, tiny.topology, 0.004 * unit.picoseconds, 0, 5000)
            for xyz in frames.xyz:
                dcd.writeModel(xyz * unit.nanometer)
        loaded = load_ligand_trajectory(tmp_path / "md.dcd", tmp_path / "top.pdb", tiny, superpose_on="all")
        assert loaded.frame_interval == pytest.approx(INTERVAL_PS)
        assert np.abs(loaded.snapshots - truth).max() < EXACT_NM

    def test_trr_that_mdanalysis_wrote(self, write: Write, tiny: Complex, truth: np.ndarray, tmp_path: Path) -> None:
        mda = pytest.importorskip("MDAnalysis")
        source = write(".xtc")
        universe = mda.Universe(str(FOLDER / "tiny.tpr"), str(source))
        universe.atoms.write(str(tmp_path / "mda.trr"), frames="all")
        loaded = load_ligand_trajectory(tmp_path / "mda.trr", FOLDER / "tiny.tpr", tiny, superpose_on="all")
        assert np.abs(loaded.snapshots - truth).max() < EXACT_NM

    def test_ligand_atoms_in_another_order_are_found_by_name(
        self, write: Write, tiny: Complex, truth: np.ndarray
    ) -> None:
        def reverse(frames: mdtraj.Trajectory) -> mdtraj.Trajectory:
            ligand = [a.index for a in frames.topology.atoms if a.residue.name == "LIG"]
            kept = [a.index for a in frames.topology.atoms if a.residue.name != "LIG"]
            topology = frames.topology.subset(kept)
            residue = topology.add_residue("LIG", topology.add_chain())
            for k in reversed(ligand):
                topology.add_atom(frames.topology.atom(k).name, frames.topology.atom(k).element, residue)
            xyz = frames.xyz[:, kept + ligand[::-1]]
            return mdtraj.Trajectory(xyz, topology, frames.time, frames.unitcell_lengths, frames.unitcell_angles)

        path = write(".xtc", edit=reverse)
        loaded = load_ligand_trajectory(path, path.parent / "top.pdb", tiny, superpose_on="all")
        assert np.abs(loaded.snapshots - truth).max() < EXACT_NM


class TestTwoCopies:
    """Of a homodimer's ligands one is meant."""

    @pytest.fixture
    def dimer(self, tmp_path: Path) -> tuple[Topology, np.ndarray, Path]:
        """Topology, positions, and a trajectory in which the copies move differently."""
        topology, positions = make_topology(CHIRAL_ALKYNE, n_copies=2)
        noise = np.random.default_rng(5).normal(scale=0.01, size=(4, *positions.shape))
        noise[:, : 3 * 8] = 0.0
        frames = mdtraj.Trajectory(positions + noise, mdtraj.Topology.from_openmm(topology))
        frames.time = INTERVAL_PS * np.arange(4)
        frames.save(str(tmp_path / "md.xtc"))
        frames[0].save(str(tmp_path / "top.pdb"))
        return topology, positions + noise, tmp_path / "md.xtc"

    @pytest.mark.parametrize("chain", ["B", "C"])
    def test_the_chosen_one_is_read(self, dimer: tuple[Topology, np.ndarray, Path], chain: str) -> None:
        topology, xyz, path = dimer
        complex_ = Complex.from_topology(topology, xyz[0], f"LIG:{chain}")
        found = load_ligand_trajectory(path, path.parent / "top.pdb", complex_, superpose_on="all")
        assert np.abs(found.snapshots - xyz[:, complex_.ligand.atom_indices]).max() < EXACT_NM

    @pytest.mark.parametrize(("chain", "first"), [("B", 24), ("Z", 24)])
    def test_a_complex_with_one_reads_the_one_in_its_pocket(
        self, dimer: tuple[Topology, np.ndarray, Path], tiny: Complex, chain: str, first: int
    ) -> None:
        """By chain and number where these are there and in the pocket, else by place."""
        topology, positions = make_topology(CHIRAL_ALKYNE)
        list(topology.chains())[1].id = chain
        complex_ = Complex.from_topology(topology, positions, "LIG")
        assert complex_.site.key[0] == chain
        _, xyz, path = dimer
        found = load_ligand_trajectory(path, path.parent / "top.pdb", complex_, superpose_on="all")
        assert np.abs(found.snapshots - xyz[:, first + np.arange(tiny.ligand.n_atoms)]).max() < EXACT_NM


@pytest.fixture(scope="module")
def assets() -> Path:
    return Path(str(resources.files("openmm_neuralmd") / "assets" / "4g3e"))


class TestRealFrames:
    """Our own MD of 4G3E: 82 residues of its pocket, in pieces of chain, with the ligand."""

    @pytest.mark.parametrize("superpose_on", ["all", "pocket"])
    def test_wrapping_changes_nothing(self, assets: Path, tmp_path: Path, superpose_on: str) -> None:
        complex_ = load_complex(assets / "pocket.pdb", "0WC", sdf=assets / "ligand.sdf")
        expected = load_ligand_trajectory(
            assets / "r1_pocket.xtc", assets / "pocket.pdb", complex_, superpose_on=superpose_on
        )
        frames = mdtraj.load(str(assets / "r1_pocket.xtc"), top=str(assets / "pocket.pdb"))
        cells = frames.unitcell_vectors
        shifted = frames.xyz + np.random.default_rng(1).uniform(0, 8, size=(len(frames), 1, 3))
        frames.xyz = shifted - np.floor(shifted @ np.linalg.inv(cells)) @ cells
        frames.save(str(tmp_path / "wrapped.trr"))
        found = load_ligand_trajectory(
            tmp_path / "wrapped.trr", assets / "pocket.pdb", complex_, superpose_on=superpose_on
        )
        assert np.abs(found.snapshots - expected.snapshots).max() < 1e-4
        assert found.frame_interval == expected.frame_interval == 80.0
        n_anchors = len(complex_.site.choose_anchors(superpose_on))
        assert found.superposed_on == f"{superpose_on}, {n_anchors} CA atoms"
        assert (n_anchors < complex_.protein.n_residues) == (superpose_on == "pocket")

    def test_deposited_runs_agree_with_the_bundled_snapshots(self, assets: Path) -> None:
        folder = SHARED / "data" / "4g3e"
        if not folder.is_dir():
            pytest.skip(f"{folder} is absent")
        from openmm_neuralmd.molecule.complex import load_bundled_complex

        reference = np.load(assets / "reference.npz")
        loaded = load_ligand_trajectory(
            folder / "r1_ligand_backbone_8ps.dcd",
            folder / "ligand_backbone.pdb",
            load_bundled_complex(),
            superpose_on="all",
        )
        assert loaded.frame_interval == 8.0
        assert np.abs(loaded.snapshots - reference["r1"][:, reference["is_heavy"]]).max() < 1e-4


class TestBadInput:
    def test_broken_molecules_without_a_box(self, write: Write, tiny: Complex) -> None:
        def drop_box(frames: mdtraj.Trajectory) -> mdtraj.Trajectory:
            frames.unitcell_vectors = None
            return frames

        path = write(".xtc", edit=drop_box)
        with pytest.raises(InputError, match=r"periodic box that the file does not hold.*make the molecules whole"):
            load_ligand_trajectory(path, path.parent / "top.pdb", tiny)

    @pytest.mark.parametrize("first", [0, 5])
    def test_a_ligand_that_jumps_without_a_box(self, write: Write, tiny: Complex, first: int) -> None:
        """Whole molecules, as trjconv -pbc whole leaves them, but the ligand in another image from some frame on."""

        def jump(frames: mdtraj.Trajectory) -> mdtraj.Trajectory:
            frames.xyz[first:, tiny.ligand.atom_indices[0] :] += [0.0, 4.0, 0.0]
            return frames

        path = write(".xtc", None, edit=jump)
        expected = rf"frame {first}: the ligand is 4.0 nm from .*, and the file holds no box: it is in another"
        with pytest.raises(InputError, match=expected):
            load_ligand_trajectory(path, path.parent / "top.pdb", tiny, superpose_on="all")

    def test_a_ligand_that_drifts_off_is_no_jump(self, write: Write, tiny: Complex) -> None:
        def drift(frames: mdtraj.Trajectory) -> mdtraj.Trajectory:
            frames.xyz[:, tiny.ligand.atom_indices[0] :] += 0.05 * np.arange(N_FRAMES)[:, None, None]
            return frames

        path = write(".xtc", None, edit=drift)
        loaded = load_ligand_trajectory(path, path.parent / "top.pdb", tiny, superpose_on="all")
        assert len(loaded.snapshots) == N_FRAMES

    def test_a_chain_that_jumps_without_a_box(self, write: Write, tiny: Complex) -> None:
        def jump(frames: mdtraj.Trajectory) -> mdtraj.Trajectory:
            frames.xyz[3:, :12] += [0.0, 0.0, 5.0]
            return frames

        path = write(".xtc", None, edit=jump)
        with pytest.raises(InputError, match=r"frame 3: the protein's CA atoms are \d\.\d nm from .* no box"):
            load_ligand_trajectory(path, path.parent / "top.pdb", tiny, superpose_on="all")

    def test_atoms_ordered_otherwise(self, write: Write, tiny: Complex) -> None:
        def shuffle(frames: mdtraj.Trajectory) -> mdtraj.Trajectory:
            frames.xyz = frames.xyz[:, np.random.default_rng(2).permutation(frames.n_atoms)]
            return frames

        path = write(".xtc", edit=shuffle)
        with pytest.raises(TopologyMismatchError, match="ordered otherwise"):
            load_ligand_trajectory(path, path.parent / "top.pdb", tiny)

    def test_two_neighbours_swapped(self, write: Write, tiny: Complex) -> None:
        """Bonds that are no longer than bonds can be, but not between these atoms."""
        bonds = tiny.ligand.bonds
        ends = np.bincount(bonds.ravel())
        a, b = next(pair for pair in tiny.ligand.atom_indices[bonds[ends[bonds].max(axis=1) > 1]].tolist())

        def swap(frames: mdtraj.Trajectory) -> mdtraj.Trajectory:
            frames.xyz[:, [a, b]] = frames.xyz[:, [b, a]]
            return frames

        path = write(".xtc", edit=swap)
        with pytest.raises(TopologyMismatchError, match=r"nm long on average.*ordered otherwise"):
            load_ligand_trajectory(path, path.parent / "top.pdb", tiny, superpose_on="all")

    def test_another_number_of_atoms(self, write: Write, tiny: Complex) -> None:
        path = write(".xtc", edit=lambda frames: frames.atom_slice(range(frames.n_atoms - 3)))
        with pytest.raises(TopologyMismatchError, match="does not fit its topology"):
            load_ligand_trajectory(path, FOLDER / "tiny.prmtop", tiny)

    def test_another_ligand(self, write: Write) -> None:
        path = write(".xtc")
        with pytest.raises(TopologyMismatchError, match=r"LIG .* is another molecule than LIG"):
            load_ligand_trajectory(path, path.parent / "top.pdb", make_complex("CCCCO"))

    def test_absent_ligand_lists_what_is_there(self, write: Write, tiny: Complex) -> None:
        path = write(".xtc", edit=lambda frames: frames.atom_slice(range(24)))
        with pytest.raises(TopologyMismatchError, match=r"could be the ligand LIG; it holds no molecule but protein"):
            load_ligand_trajectory(path, path.parent / "top.pdb", tiny)

    def test_the_ligand_may_have_another_name(self, write: Write, tiny: Complex, truth: np.ndarray) -> None:
        path = write(".xtc")
        other = replace(tiny, ligand=replace(tiny.ligand, name="ABC"))
        loaded = load_ligand_trajectory(path, path.parent / "top.pdb", other, superpose_on="all")
        assert np.abs(loaded.snapshots - truth).max() < EXACT_NM

    @pytest.mark.parametrize(("n_mutated", "is_same"), [(1, True), (2, True), (3, False), (8, False)])
    def test_a_mutant_and_another_protein(
        self, write: Write, tiny: Complex, truth: np.ndarray, n_mutated: int, is_same: bool
    ) -> None:
        """As in ``compare``: a mutant's pocket is the same place, and is noted; below 70 % it is another protein."""

        def mutate(frames: mdtraj.Trajectory) -> mdtraj.Trajectory:
            for k in range(n_mutated):
                frames.topology.residue((3 * k + 2) % 8).name = "ALA"
            return frames

        path = write(".xtc", edit=mutate)
        if is_same:
            loaded = load_ligand_trajectory(path, path.parent / "top.pdb", tiny, superpose_on="all")
            assert np.abs(loaded.snapshots - truth).max() < EXACT_NM
            assert "residues matched by sequence, identity" in loaded.notes[0]
            return
        with pytest.raises(TopologyMismatchError, match=r"another protein: its sequence agrees .* are needed"):
            load_ligand_trajectory(path, path.parent / "top.pdb", tiny, superpose_on="all")

    def test_residues_that_the_complex_lacks(self, write: Write) -> None:
        """What both have is superposed on."""
        path = write(".xtc", None)
        part = make_complex(n_residues=6)
        loaded = load_ligand_trajectory(path, path.parent / "top.pdb", part, superpose_on="all")
        assert loaded.superposed_on == "all, 6 CA atoms"

    @pytest.mark.parametrize("suffix", [".xtc", ".nc", ".h5"])
    def test_uneven_times(self, write: Write, tiny: Complex, suffix: str) -> None:
        def skip(frames: mdtraj.Trajectory) -> mdtraj.Trajectory:
            frames.time[7:] += 100.0
            return frames

        path = write(suffix, edit=skip)
        with pytest.raises(InputError, match="frames 6 and the next are 120 ps apart"):
            load_ligand_trajectory(path, path.parent / "top.pdb", tiny)

    def test_interval_that_the_file_contradicts(self, write: Write, tiny: Complex) -> None:
        path = write(".xtc")
        with pytest.raises(InputError, match="20 ps apart, 10 ps were expected"):
            load_ligand_trajectory(path, path.parent / "top.pdb", tiny, frame_interval=10.0)

    def test_unknown_interval(self, write: Write, tiny: Complex) -> None:
        path = write(".dcd")
        with pytest.raises(InputError, match="`interval`"):
            load_ligand_trajectory(path, path.parent / "top.pdb", tiny)

    @pytest.mark.parametrize("content", [b"", b"not a trajectory"])
    def test_damaged_file(self, write: Write, tiny: Complex, content: bytes) -> None:
        path = write(".xtc")
        path.write_bytes(content)
        with pytest.raises(InputError):
            load_ligand_trajectory(path, path.parent / "top.pdb", tiny)

    def test_cut_file_gives_its_whole_frames_and_a_note(self, write: Write, tiny: Complex, truth: np.ndarray) -> None:
        path = write(".xtc")
        content = path.read_bytes()
        path.write_bytes(content[: int(0.7 * len(content))])
        loaded = load_ligand_trajectory(path, path.parent / "top.pdb", tiny)
        assert 0 < len(loaded.snapshots) < N_FRAMES
        assert np.abs(loaded.snapshots - truth[: len(loaded.snapshots)]).max() < EXACT_NM
        assert "damaged or cut" in loaded.notes[0]

    def test_unknown_superposition(self, write: Write, tiny: Complex) -> None:
        path = write(".xtc")
        with pytest.raises(InputError, match="choose pocket or all"):
            load_ligand_trajectory(path, path.parent / "top.pdb", tiny, superpose_on="CB")
