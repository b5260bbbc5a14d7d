"""MISATO's layout, written from our own MD of 4G3E and read back; wrong, huge and damaged files."""

from collections.abc import Callable
from importlib import resources
from pathlib import Path

import h5py
import mdtraj
import numpy as np
import pytest

from benchmarks import misato as benchmark
from openmm_neuralmd.data.misato import MisatoFile, iterate_records, read_split, write_misato
from openmm_neuralmd.data.trajectories import LigandTrajectory, load_ligand_trajectory
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.molecule.complex import Complex, load_complex
from openmm_neuralmd.training.loop import TrainingSettings
from openmm_neuralmd.training.train import train_model

ASSETS = Path(str(resources.files("openmm_neuralmd") / "assets" / "4g3e"))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two replicas of the pocket of 4G3E as two complexes, tumbling as the file's frames do."""
    target = tmp_path_factory.mktemp("misato") / "MD.hdf5"
    frames = {
        name: mdtraj.load(str(ASSETS / f"{name}_pocket.xtc"), top=str(ASSETS / "pocket.pdb")) for name in ("r1", "r2")
    }
    write_misato(target, frames, ligand="0WC")
    return target


@pytest.fixture(scope="module")
def from_topology() -> Complex:
    return load_complex(ASSETS / "pocket.pdb", "0WC", sdf=ASSETS / "ligand.sdf")


@pytest.fixture(scope="module")
def expected(from_topology: Complex) -> LigandTrajectory:
    return load_ligand_trajectory(ASSETS / "r1_pocket.xtc", ASSETS / "pocket.pdb", from_topology, superpose_on="all")


@pytest.fixture
def edit(path: Path, tmp_path: Path) -> Callable[..., MisatoFile]:
    """A copy of the file with complex r1 changed."""

    def change(modify: Callable[[h5py.Group], None]) -> MisatoFile:
        copy = tmp_path / "MD.hdf5"
        copy.write_bytes(path.read_bytes())
        with h5py.File(copy, "r+") as file:
            modify(file["r1"])
        return MisatoFile(copy)

    return change


class TestReading:
    def test_ligand_and_protein_are_those_of_the_topology(self, path: Path, from_topology: Complex) -> None:
        with MisatoFile(path) as file:
            found = file.load("r1").complex
        assert found.ligand.atomic_numbers.tolist() == from_topology.ligand.atomic_numbers.tolist()
        assert {frozenset(b) for b in found.ligand.bonds.tolist()} == {
            frozenset(b) for b in from_topology.ligand.bonds.tolist()
        }
        assert np.allclose(found.ligand.masses, from_topology.ligand.masses, atol=0.02)
        assert found.protein.residue_types.tolist() == from_topology.protein.residue_types.tolist()
        assert found.protein.is_linked.tolist() == from_topology.protein.is_linked.tolist()

    def test_snapshots_are_superposed(self, path: Path, expected: LigandTrajectory) -> None:
        with MisatoFile(path) as file:
            found = file.load("r1").trajectory
        assert found.frame_interval == 80.0
        assert found.snapshots.shape == expected.snapshots.shape
        turned = mdtraj.Trajectory(found.snapshots, None).superpose(mdtraj.Trajectory(expected.snapshots, None))
        distances = np.linalg.norm(turned.xyz[0] - expected.snapshots[0], axis=-1)
        assert distances.max() < 1e-3
        # the two references differ by one rigid motion, so displacements have the same lengths
        path_lengths = [np.linalg.norm(np.diff(x.snapshots, axis=0), axis=-1).mean() for x in (found, expected)]
        assert path_lengths[0] == pytest.approx(path_lengths[1], rel=1e-3)

    def test_frames_as_they_are_in_the_file_move_more(self, path: Path, expected: LigandTrajectory) -> None:
        with h5py.File(path) as file:
            raw = 0.1 * file["r1/trajectory_coordinates"][:, file["r1/molecules_begin_atom_index"][-1] :]
        steps = [np.linalg.norm(np.diff(x, axis=0), axis=-1).mean() for x in (raw, expected.snapshots)]
        assert steps[0] > 1.2 * steps[1]

    def test_bond_orders_come_from_the_hydrogens(self, path: Path, from_topology: Complex) -> None:
        """So that amides, alkynes and double bonds do not turn; whether hydrogens are kept makes no difference."""
        expected = _map_orders(from_topology)
        assert set(expected.values()) == {1.0, 1.5, 3.0}
        for keep in (True, False):
            with MisatoFile(path, keep_hydrogens=keep) as file:
                record = file.load("r1")
            assert _map_orders(record.complex) == expected
            assert [n for n in record.notes if "bond orders" in n] == []
            assert len(record.complex.ligand.find_torsions()[0]) == len(from_topology.ligand.find_torsions()[0])

    def test_unknown_bond_orders_are_said(self, edit: Callable[..., MisatoFile]) -> None:
        """A ligand that lost its hydrogens."""

        def strip(group: h5py.Group) -> None:
            numbers = group["atoms_number"][:]
            begin = group["molecules_begin_atom_index"][-1]
            kept = np.flatnonzero((np.arange(len(numbers)) < begin) | (numbers > 1))
            for key in ("atoms_number", "atoms_residue"):
                _replace(group, key, group[key][:][kept])
            _replace(group, "trajectory_coordinates", group["trajectory_coordinates"][:][:, kept])

        with edit(strip) as file:
            record = file.load("r1")
        assert record.complex.ligand.bond_orders is None
        assert "bond orders are unknown" in record.notes[-1]

    def test_hydrogens_are_kept_or_stripped(self, path: Path) -> None:
        for keep, n_hydrogens in ((True, 16), (False, 0)):
            with MisatoFile(path, keep_hydrogens=keep) as file:
                ligand = file.load("r1").complex.ligand
            assert len(ligand.hydrogen_indices) == len(ligand.hydrogen_parents) == n_hydrogens
            assert ligand.n_atoms == 27

    def test_training_on_it(self, path: Path, tmp_path: Path) -> None:
        with MisatoFile(path) as file:
            record = file.load("r1")
        settings = TrainingSettings(iterations=4, batch_size=4, validate_every=2)
        config = {"hidden": 8, "n_layers": 1, "n_radial": 4}
        result = train_model(
            [(record.complex, [record.trajectory])],
            tmp_path / "m.pt",
            kind="ode",
            snapshot_interval=80.0,
            config=config,
            settings=settings,
        )
        assert np.isfinite(result.best_loss)
        assert (tmp_path / "m.pt").is_file()

    def test_list_of_molecules_may_end_with_the_number_of_atoms(self, edit: Callable[..., MisatoFile]) -> None:
        def close_list(group: h5py.Group) -> None:
            begins = [*group["molecules_begin_atom_index"][:], len(group["atoms_number"])]
            _replace(group, "molecules_begin_atom_index", begins)

        with edit(close_list) as file:
            assert file.load("r1").complex.ligand.n_atoms == 27


class TestSplits:
    def test_official_lists_are_one_name_a_line(self, path: Path, tmp_path: Path) -> None:
        (tmp_path / "train.txt").write_text("r1\n\nr2\n")
        skipped: dict[str, str] = {}
        with MisatoFile(path) as file:
            records = list(iterate_records(file, read_split(tmp_path / "train.txt"), skipped))
        assert [r.trajectory.source for r in records] == ["MD.hdf5/r1", "MD.hdf5/r2"]
        assert not skipped
        assert records[0].trajectory.sha256 != records[1].trajectory.sha256

    def test_unusable_complexes_are_skipped_with_a_reason(self, edit: Callable[..., MisatoFile]) -> None:
        skipped: dict[str, str] = {}
        with edit(lambda group: group.__delitem__("atoms_residue")) as file:
            records = list(iterate_records(file, ["r1", "r2"], skipped))
        assert len(records) == 1
        assert list(skipped) == ["r1"]
        assert "no atoms_residue" in skipped["r1"]

    def test_broken_trajectories_are_skipped_with_a_reason(self, edit: Callable[..., MisatoFile]) -> None:
        def tear(group: h5py.Group) -> None:
            xyz = group["trajectory_coordinates"][:]
            xyz[5:, _get_ligand(group).start] += 9.0
            _replace(group, "trajectory_coordinates", xyz)

        skipped: dict[str, str] = {}
        with edit(tear) as file:
            assert len(list(iterate_records(file, ["r1", "r2"], skipped))) == 1
        assert "a ligand bond" in skipped["r1"]

    def test_lower_case_names_and_windows_line_ends(self, path: Path, tmp_path: Path) -> None:
        """MISATO's own lists are in capitals with and without a last line end, its list of peptides is not."""
        with h5py.File(path) as source, h5py.File(tmp_path / "MD.hdf5", "w") as target:
            source.copy("r1", target, name="1ABC")
        (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbf1abc\r\n\r\n")
        with MisatoFile(tmp_path / "MD.hdf5") as file:
            assert "1abc" in file
            assert [r.complex.source for r in iterate_records(file, read_split(tmp_path / "train.txt"), {})] == [
                "MD.hdf5/1ABC"
            ]
            with pytest.raises(InputError, match="1ABC named twice"):
                list(iterate_records(file, ["1abc", "1ABC"], {}))

    def test_absent_names(self, path: Path) -> None:
        with MisatoFile(path) as file, pytest.raises(InputError, match=r"1 of 2 listed complexes are not there: 1ABC"):
            list(iterate_records(file, ["r1", "1ABC"], {}))

    @pytest.mark.parametrize(
        ("content", "expected"), [(b"", "empty"), (b"r1\nr1\n", "named twice"), (b"\x89HDF\xff\n", "is no text")]
    )
    def test_bad_lists(self, tmp_path: Path, content: bytes, expected: str) -> None:
        (tmp_path / "train.txt").write_bytes(content)
        with pytest.raises(InputError, match=expected):
            read_split(tmp_path / "train.txt")


class TestBadInput:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such file"):
            MisatoFile(tmp_path / "MD.hdf5")

    @pytest.mark.parametrize("share", [0.0, 0.5])
    def test_truncated(self, path: Path, tmp_path: Path, share: float) -> None:
        content = path.read_bytes()
        (tmp_path / "MD.hdf5").write_bytes(content[: int(share * len(content))])
        with pytest.raises(InputError, match="not a readable HDF5 file"):
            MisatoFile(tmp_path / "MD.hdf5")

    def test_absent_complex(self, path: Path) -> None:
        with MisatoFile(path) as file, pytest.raises(InputError, match="no such complex"):
            file.load("1ABC")

    @pytest.mark.parametrize("key", ["atoms_number", "trajectory_coordinates"])
    def test_without_a_key(self, edit: Callable[..., MisatoFile], key: str) -> None:
        with edit(lambda group: group.__delitem__(key)) as file, pytest.raises(InputError, match=f"no {key}"):
            file.load("r1")

    def test_shapes_that_do_not_fit(self, edit: Callable[..., MisatoFile]) -> None:
        with (
            edit(lambda group: _replace(group, "atoms_residue", group["atoms_residue"][:-1])) as file,
            pytest.raises(InputError, match="do not fit together"),
        ):
            file.load("r1")

    def test_peptide(self, edit: Callable[..., MisatoFile]) -> None:
        with (
            edit(lambda group: _set_codes(group, _get_ligand(group), 2)) as file,
            pytest.raises(InputError, match="peptide"),
        ):
            file.load("r1")

    def test_ion(self, edit: Callable[..., MisatoFile]) -> None:
        def cut(group: h5py.Group) -> None:
            last = len(group["atoms_number"]) - 1
            _replace(group, "molecules_begin_atom_index", [*group["molecules_begin_atom_index"][:], last])

        with edit(cut) as file, pytest.raises(InputError, match="ion"):
            file.load("r1")

    def test_several_molecules(self, edit: Callable[..., MisatoFile]) -> None:
        def move(group: h5py.Group) -> None:
            xyz = group["trajectory_coordinates"][:]
            xyz[:, -20:] += 30.0
            _replace(group, "trajectory_coordinates", xyz)

        with edit(move) as file, pytest.raises(InputError, match=r"is \d molecules"):
            file.load("r1")

    def test_other_molecules_are_noted(self, edit: Callable[..., MisatoFile]) -> None:
        def add_zinc(group: h5py.Group) -> None:
            begin = group["molecules_begin_atom_index"][-1]
            _replace(group, "atoms_number", np.insert(group["atoms_number"][:], begin, 30))
            _replace(group, "atoms_residue", np.insert(group["atoms_residue"][:], begin, 0))
            begins = [*group["molecules_begin_atom_index"][:], begin + 1]
            _replace(group, "molecules_begin_atom_index", begins)
            xyz = group["trajectory_coordinates"][:]
            _replace(group, "trajectory_coordinates", np.insert(xyz, begin, xyz[:, 0] + 5.0, axis=1))

        with edit(add_zinc) as file:
            record = file.load("r1")
        assert record.notes == ("ion Zn1 beside the ligand acts on nothing",)
        assert record.complex.ligand.n_atoms == 27

    def test_another_table_of_codes(self, edit: Callable[..., MisatoFile]) -> None:
        def shift(group: h5py.Group) -> None:
            codes = group["atoms_residue"][:]
            _replace(group, "atoms_residue", np.where(codes > 0, codes % 22 + 1, 0))

        with edit(shift) as file, pytest.raises(InputError, match="another table of codes"):
            file.load("r1")

    def test_nan(self, edit: Callable[..., MisatoFile]) -> None:
        def break_frame(group: h5py.Group) -> None:
            xyz = group["trajectory_coordinates"][:]
            xyz[7] = np.nan
            _replace(group, "trajectory_coordinates", xyz)

        with edit(break_frame) as file, pytest.raises(InputError, match="NaN or infinity"):
            file.load("r1")


class TestWriting:
    def test_names_types_and_shapes_are_those_of_the_published_file(self, path: Path) -> None:
        """As `h5ls` shows them of MD.hdf5, but for what needs a force field."""
        with h5py.File(path) as file:
            found = {key: (data.dtype.str, data.shape[1:]) for key, data in file["r1"].items()}
        n_atoms = found["trajectory_coordinates"][1][0]
        assert found == {
            "atoms_number": ("<i8", ()),
            "atoms_residue": ("<i8", ()),
            "frames_distance": ("<f8", ()),
            "frames_rmsd_ligand": ("<f8", ()),
            "molecules_begin_atom_index": ("<i8", ()),
            "trajectory_coordinates": ("<f8", (n_atoms, 3)),
        }

    def test_rmsd_and_distance_do_not_tumble(self, path: Path, expected: LigandTrajectory) -> None:
        with h5py.File(path) as file:
            rmsd, distance = (file[f"r1/frames_{key}"][:] for key in ("rmsd_ligand", "distance"))
            xyz, numbers = file["r1/trajectory_coordinates"][3], file["r1/atoms_number"][:]
            begin = file["r1/molecules_begin_atom_index"][-1]
        moved = 10.0 * (expected.snapshots - expected.snapshots[0])
        assert rmsd[0] == 0.0
        assert np.allclose(rmsd, np.sqrt((moved**2).sum(axis=-1).mean(axis=1)), atol=1e-3)
        masses = np.array([mdtraj.element.Element.getByAtomicNumber(int(z)).mass for z in numbers])
        centres = [np.average(xyz[s], axis=0, weights=masses[s]) for s in (slice(begin), slice(begin, None))]
        assert distance[3] == pytest.approx(np.linalg.norm(centres[0] - centres[1]), abs=1e-3)


def test_writing_without_the_ligand_leaves_the_file_alone(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "MD.hdf5"
    target.write_bytes(path.read_bytes())
    frames = mdtraj.load(str(ASSETS / "pocket.pdb"))
    with pytest.raises(InputError, match="ligand ABC found 0 times"):
        write_misato(target, {"r1": frames}, ligand="ABC")
    assert target.read_bytes() == path.read_bytes()


def test_interrupted_writing_leaves_nothing_behind(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("openmm_neuralmd.data.misato._describe_frames", stop)
    with pytest.raises(KeyboardInterrupt):
        write_misato(tmp_path / "MD.hdf5", {"r1": mdtraj.load(str(ASSETS / "pocket.pdb"))}, ligand="0WC")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux' /proc")
def test_memory_does_not_depend_on_the_size_of_the_file(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """132 GB of another complex, not one byte of it on disk; `benchmarks/misato.py` prints the times."""
    large = tmp_path / "MD.hdf5"
    request.addfinalizer(large.unlink)
    benchmark.write_large_file(large, 5_166, n_frames=12)
    reading = benchmark.measure(large, "1ABC")
    assert reading.n_frames == 12
    assert reading.file_gb > 130
    assert 0 < reading.memory_mb < 200
    assert "132 GB" in benchmark.format_table([reading])


def _replace(group: h5py.Group, key: str, values: object) -> None:
    del group[key]
    group[key] = np.asarray(values)


def _map_orders(complex_: Complex) -> dict[frozenset[int], float]:
    orders = complex_.ligand.bond_orders
    assert orders is not None
    return dict(zip(map(frozenset, complex_.ligand.bonds.tolist()), orders, strict=True))


def _get_ligand(group: h5py.Group) -> slice:
    return slice(int(group["molecules_begin_atom_index"][-1]), None)


def _set_codes(group: h5py.Group, atoms: slice, code: int) -> None:
    codes = group["atoms_residue"][:]
    codes[atoms] = code
    _replace(group, "atoms_residue", codes)
