"""HDF5 files: what mdtraj wrote is read as it stands, what leads out of a file or claims too much is refused."""

import json
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import h5py
import mdtraj
import numpy as np
import pytest

from openmm_neuralmd.data.misato import MisatoFile
from openmm_neuralmd.errors import InputError, NeuralMDError
from openmm_neuralmd.io.hdf5 import MAX_BLOCK_BYTES, create_hdf5
from openmm_neuralmd.io.hdf5_trajectories import HDF5Reader, HDF5Writer, load_hdf5
from openmm_neuralmd.io.topologies import load_structure_file
from openmm_neuralmd.io.trajectories import open_trajectory
from tests.data.make_hdf5 import N_FRAMES, PATH, build_trajectory

ARRAYS = ("coordinates", "time", "cell_lengths", "cell_angles", "topology")
Change = Callable[[h5py.File], object]


@pytest.fixture
def expected() -> mdtraj.Trajectory:
    return build_trajectory()


@pytest.fixture
def edit(tmp_path: Path) -> Callable[[Change], Path]:
    """A copy of mdtraj's file with something changed."""

    def change(modify: Change) -> Path:
        path = tmp_path / "a.h5"
        path.write_bytes(PATH.read_bytes())
        with h5py.File(path, "r+") as file:
            modify(file)
        return path

    return change


def replace(file: h5py.Group, name: str, **settings: object) -> h5py.Dataset:
    """Another dataset under the same name, with the same attributes."""
    attributes = dict(file[name].attrs)
    if not settings.keys() & {"shape", "data"}:
        settings["data"] = file[name][:]
    del file[name]
    dataset = file.create_dataset(name, **settings)
    for key, value in attributes.items():
        dataset.attrs[key] = value
    return dataset


def replace_json(file: h5py.File, change: Callable[[dict], object]) -> None:
    content = json.loads(file["topology"][0])
    changed = change(content)
    replace(file, "topology", data=np.array([json.dumps(content if changed is None else changed).encode()]))


def require_equal_topologies(found: mdtraj.Topology, expected: mdtraj.Topology) -> None:
    assert found == expected
    for a, b in zip(found.atoms, expected.atoms, strict=True):
        assert (a.name, a.element, a.formal_charge) == (b.name, b.element, b.formal_charge)
    for a, b in zip(found.residues, expected.residues, strict=True):
        assert (a.name, a.resSeq, a.segment_id) == (b.name, b.resSeq, b.segment_id)
    assert [c.chain_id for c in found.chains] == [c.chain_id for c in expected.chains]
    for a, b in zip(found.bonds, expected.bonds, strict=True):
        assert (a.atom1.index, a.atom2.index, a.type, a.order) == (b.atom1.index, b.atom2.index, b.type, b.order)


def require_one_line(error: BaseException) -> None:
    assert isinstance(error, NeuralMDError)
    assert "\n" not in str(error)
    assert len(str(error)) < 600


class TestReading:
    @pytest.mark.parametrize("size", [1, 4, 50])
    @pytest.mark.parametrize("atoms", [None, [0, 3, 6]])
    def test_what_mdtraj_wrote(self, expected: mdtraj.Trajectory, size: int, atoms: list[int] | None) -> None:
        with HDF5Reader(PATH) as file:
            topology = file.read_topology()
            require_equal_topologies(topology, expected.topology)
            kept = None if atoms is None else np.array(atoms)
            parts = [file.read_as_traj(topology, size, kept) for _ in range(0, N_FRAMES, size)]
            assert len(file.read_as_traj(topology, size, kept)) == 0
            assert len(file) == N_FRAMES
        found = mdtraj.join(parts)
        chosen = expected if atoms is None else expected.atom_slice(atoms)
        assert np.array_equal(found.xyz, chosen.xyz)
        assert np.array_equal(found.time, chosen.time)
        assert np.array_equal(found.unitcell_vectors, chosen.unitcell_vectors)
        require_equal_topologies(found.topology, chosen.topology)

    def test_seek(self, expected: mdtraj.Trajectory) -> None:
        with HDF5Reader(PATH) as file:
            file.seek(5)
            assert np.array_equal(file.read_as_traj(expected.topology, 2).xyz, expected.xyz[5:7])

    @pytest.mark.parametrize("chunks", [(1, 1, 1), (2, 3, 2), (9, 7, 3), (4, 7, 3)])
    @pytest.mark.parametrize("packed", [{}, {"compression": "gzip"}, {"compression": "gzip", "shuffle": True}])
    def test_any_chunks(self, expected: mdtraj.Trajectory, edit: Callable, chunks: tuple, packed: dict) -> None:
        path = edit(lambda file: replace(file, "coordinates", chunks=chunks, **packed))
        with HDF5Reader(path) as file:
            found = [file.read_as_traj(expected.topology, 3).xyz for _ in range(3)]
        assert np.array_equal(np.concatenate(found), expected.xyz)

    @pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", ">f8"])
    def test_numbers_of_other_machines(self, expected: mdtraj.Trajectory, edit: Callable, kind: str) -> None:
        path = edit(lambda file: replace(file, "coordinates", data=file["coordinates"][:].astype(kind)))
        assert load_hdf5(path)[1] == pytest.approx(expected.xyz[0])

    @pytest.mark.parametrize(
        ("name", "unit", "factor"),
        [
            ("coordinates", "angstroms", 0.1),
            ("coordinates", "Angstrom", 0.1),
            ("coordinates", "nanometer", 1.0),
            ("time", "femtoseconds", 1e-3),
            ("time", "ns", 1e3),
            ("cell_lengths", "angstroms", 0.1),
            ("cell_angles", "radians", 180.0 / np.pi),
        ],
    )
    def test_units_count(
        self, expected: mdtraj.Trajectory, edit: Callable, name: str, unit: str, factor: float
    ) -> None:
        def change(file: h5py.File) -> None:
            file[name][...] /= factor
            file[name].attrs["units"] = unit

        with HDF5Reader(edit(change)) as file:
            found = file.read_as_traj(expected.topology, 50)
        assert found.xyz == pytest.approx(expected.xyz, abs=1e-5)
        assert found.time == pytest.approx(expected.time, rel=1e-6)
        assert found.unitcell_vectors == pytest.approx(expected.unitcell_vectors, abs=1e-5)

    @pytest.mark.parametrize("suffix", [".h5", ".H5", ".hdf5", ".HDF5"])
    def test_by_any_name(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"a{suffix}"
        path.write_bytes(PATH.read_bytes())
        assert open_trajectory(path).interval == 80.0
        structure = load_structure_file(path)
        assert structure.cell is not None
        assert structure.topology.n_atoms == 7

    def test_a_topology_of_its_own_is_not_needed(self, expected: mdtraj.Trajectory, edit: Callable) -> None:
        path = edit(lambda file: file.pop("topology"))
        assert open_trajectory(path, PATH).topology.n_atoms == 7
        with pytest.raises(InputError, match="topology is missing"):
            open_trajectory(path)


class TestWriting:
    def test_what_is_written_is_read(self, expected: mdtraj.Trajectory, tmp_path: Path) -> None:
        with closing(HDF5Writer(tmp_path / "a.h5", expected.topology)) as file:
            file.write(expected.xyz[:4], expected.time[:4])
            file.write(expected.xyz[4:], expected.time[4:])
        with HDF5Reader(tmp_path / "a.h5") as reader:
            topology = reader.read_topology()
            found = reader.read_as_traj(topology, 50)
        require_equal_topologies(topology, expected.topology)
        assert np.array_equal(found.xyz, expected.xyz)
        assert np.array_equal(found.time, expected.time)
        assert found.unitcell_vectors is None

    def test_mdtraj_reads_it(self, expected: mdtraj.Trajectory, tmp_path: Path) -> None:
        pytest.importorskip("tables", reason="mdtraj reads HDF5 with PyTables, which is not a dependency")
        with closing(HDF5Writer(tmp_path / "a.h5", expected.topology)) as file:
            file.write(expected.xyz, expected.time)
        found = mdtraj.load(str(tmp_path / "a.h5"))
        require_equal_topologies(found.topology, expected.topology)
        assert np.array_equal(found.xyz, expected.xyz)
        assert np.array_equal(found.time, expected.time)
        with mdtraj.formats.HDF5TrajectoryFile(str(tmp_path / "a.h5")) as trajectory:
            assert trajectory.application == "openmm_neuralmd"


def link_out(file: h5py.Group, name: str) -> None:
    other = Path(file.file.filename).with_name("other.h5")
    other.write_bytes(PATH.read_bytes())
    del file[name]
    file[name] = h5py.ExternalLink(str(other), name)


def link_within(file: h5py.Group, name: str) -> None:
    file.move(name, "elsewhere")
    file[name] = h5py.SoftLink("elsewhere")


def borrow(file: h5py.Group, name: str) -> None:
    """A virtual dataset of another file."""
    other = Path(file.file.filename).with_name("other.h5")
    other.write_bytes(PATH.read_bytes())
    layout = h5py.VirtualLayout(file[name].shape, dtype=file[name].dtype)
    layout[...] = h5py.VirtualSource(str(other), name, shape=file[name].shape)
    attributes = dict(file[name].attrs)
    del file[name]
    file.create_virtual_dataset(name, layout).attrs.update(attributes)


def keep_outside(file: h5py.Group, name: str) -> None:
    """Data in a raw file: /etc/passwd would do."""
    data = file[name][:]
    raw = Path(file.file.filename).with_name("raw")
    raw.write_bytes(data.tobytes())
    replace(file, name, shape=data.shape, dtype=data.dtype, external=[(str(raw), 0, data.nbytes)])


class TestLeadingOut:
    @pytest.mark.parametrize("name", ARRAYS)
    @pytest.mark.parametrize("lead", [link_out, link_within, borrow, keep_outside])
    def test_of_a_trajectory(self, edit: Callable, lead: Callable, name: str) -> None:
        path = edit(lambda file: lead(file, name))
        for read in (open_trajectory, load_structure_file):
            with pytest.raises(InputError, match=rf"a\.h5: {name} is (a .*link|kept in other files)") as caught:
                read(path)
            require_one_line(caught.value)

    @pytest.mark.parametrize("name", ["atoms_number", "molecules_begin_atom_index", "trajectory_coordinates"])
    @pytest.mark.parametrize("lead", [link_out, link_within, borrow, keep_outside])
    def test_of_misato(self, tmp_path: Path, lead: Callable, name: str) -> None:
        path = write_misato_like(tmp_path)
        with h5py.File(path, "r+") as file:
            lead(file["1ABC"], name)
        with MisatoFile(path) as misato, pytest.raises(InputError, match=rf"{name} is (a .*link|kept in other files)"):
            misato.load("1ABC")

    @pytest.mark.parametrize("link", [h5py.ExternalLink(str(PATH), "/"), h5py.SoftLink("/1ABC")])
    def test_a_complex_of_misato(self, tmp_path: Path, link: object) -> None:
        path = write_misato_like(tmp_path)
        with h5py.File(path, "r+") as file:
            file["2XYZ"] = link
        with MisatoFile(path) as misato:
            assert "2XYZ/coordinates" not in misato
            with pytest.raises(InputError, match=r"2XYZ is a .*link"):
                misato.load("2XYZ")


def write_misato_like(folder: Path) -> Path:
    path = folder / "MD.hdf5"
    with h5py.File(path, "w") as file:
        group = file.create_group("1ABC")
        for name, values in (
            ("atoms_number", np.array([6, 6, 6])),
            ("atoms_residue", np.array([2, 2, 0])),
            ("molecules_begin_atom_index", np.array([0, 2])),
            ("trajectory_coordinates", np.zeros((4, 3, 3))),
        ):
            group[name] = values
    return path


def claim(name: str, shape: tuple[int, ...], **settings: object) -> Change:
    return lambda file: replace(file, name, shape=shape, dtype="f4", **settings)


def plant_bomb(file: h5py.File) -> None:
    """A chunk that unpacks to a thousand times its size, as HDF5's own filter would do."""
    dataset = replace(file, "coordinates", shape=(9, 7, 3), dtype="f4", chunks=(9, 7, 3), compression="gzip")
    packer = zlib.compressobj(9)
    bomb = packer.compress(bytes(2**20)) + packer.flush()
    dataset.id.write_direct_chunk((0, 0, 0), bomb)


def pack_twice(file: h5py.File) -> None:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((9, 7, 3))
    plan.set_deflate(1)
    plan.set_deflate(1)
    attributes = dict(file["coordinates"].attrs)
    del file["coordinates"]
    h5py.h5d.create(file.id, b"coordinates", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((9, 7, 3)), plan)
    file["coordinates"].attrs.update(attributes)


def nest(_: dict) -> list:
    content: list = []
    for _k in range(900):
        content = [content]
    return content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop("coordinates"), "coordinates is missing"),
        (lambda f: (f.pop("coordinates"), f.create_group("coordinates")), "coordinates is no array"),
        (claim("coordinates", (10**15, 7, 3), chunks=(100, 7, 3)), "time has shape"),
        (claim("coordinates", (10**15, 7, 3), chunks=(100, 7, 3), compression="gzip"), "time has shape"),
        (claim("coordinates", (10**9, 7, 3)), "does not hold these data"),
        (claim("coordinates", (9, 10**12, 3), chunks=(1, 100, 3)), "claims shape"),
        (claim("coordinates", (10**9, 7, 3), chunks=(10**8, 7, 3)), "chunks of shape"),
        (claim("coordinates", (9, 7), chunks=True), "shape .*expected"),
        (claim("coordinates", (9, 7, 4), chunks=True), "shape .*expected"),
        (claim("coordinates", (9, 0, 3), chunks=None), "shape .*expected"),
        (claim("coordinates", ()), "single value"),
        (plant_bomb, "first frame cannot be read: damaged chunk"),
        (pack_twice, "packed in another way than gzip"),
        (lambda f: replace(f, "coordinates", compression="lzf"), "packed in another way than gzip"),
        (lambda f: replace(f, "coordinates", fletcher32=True), "packed in another way than gzip"),
        (lambda f: replace(f, "coordinates", scaleoffset=3), "packed in another way than gzip"),
        (lambda f: replace(f, "coordinates", data=np.zeros((9, 7, 3), np.int32)), "whole numbers; expected floating"),
        (lambda f: replace(f, "coordinates", data=np.zeros((9, 7, 3), "S4")), "holds text"),
        (lambda f: replace(f, "coordinates", data=np.zeros((9, 7, 3), "c8")), "another kind"),
        (lambda f: replace(f, "time", data=np.zeros(9, [("a", "f4")])), "another kind"),
        (lambda f: replace(f, "time", shape=(9,), dtype=h5py.ref_dtype), "another kind"),
        (lambda f: replace(f, "time", shape=(9,), dtype=h5py.vlen_dtype("f4")), "another kind"),
        (lambda f: replace(f, "time", data=np.zeros(8, "f4")), "time has shape"),
        (lambda f: replace(f, "cell_lengths", data=np.zeros((9, 6), "f4")), "cell_lengths has shape"),
        (lambda f: f.pop("cell_angles"), "only one is there"),
        (lambda f: f["cell_lengths"].__setitem__(0, np.nan), "box of a frame"),
        (lambda f: f["cell_lengths"].__setitem__(0, -1.0), "box of a frame"),
        (lambda f: f["cell_angles"].__setitem__(0, [90.0, 0.0, 90.0]), "box of a frame"),
        (lambda f: f["coordinates"].attrs.__delitem__("units"), "has no units"),
        (lambda f: f["coordinates"].attrs.__setitem__("units", "feet"), "in 'feet'; expected nanometers"),
        (lambda f: f["coordinates"].attrs.__setitem__("units", 3), "has no units"),
        (lambda f: f["time"].attrs.__setitem__("units", "__import__('os')"), "expected picoseconds"),
        (lambda f: f["cell_angles"].attrs.__setitem__("units", "gradians"), "expected degrees"),
        (lambda f: replace(f, "topology", shape=(1,), dtype=h5py.string_dtype()), "expected text of fixed length"),
        (lambda f: replace(f, "topology", data=np.zeros(3, "S3")), "shape .*expected one text"),
        (lambda f: replace(f, "topology", data=np.array([b"no JSON"])), "topology is not what mdtraj writes"),
        (lambda f: replace(f, "topology", data=np.array([b"\xff\xfe{}"])), "topology is not what mdtraj writes"),
        (lambda f: replace(f, "topology", data=np.array([b"[" * 100_000])), "nested too deeply"),
        (lambda f: replace(f, "topology", data=np.array([b"{}"])), "chains is missing"),
        (lambda f: replace(f, "topology", data=np.array([b"null"])), "another kind than expected"),
        (lambda f: replace_json(f, nest), "another kind than expected"),
        (lambda f: replace_json(f, lambda t: t.pop("bonds") and None), "bonds is missing"),
        (
            lambda f: replace_json(f, lambda t: t["bonds"].append([0, -1]) or t.update(bond_metadata=[])),
            "a bond between atoms 0 and -1 of 7",
        ),
        (lambda f: replace_json(f, lambda t: t.update(bonds=[[0, 7]], bond_metadata=[])), "a bond between atoms 0 and"),
        (lambda f: replace_json(f, lambda t: t["bonds"].pop() and None), "bond orders of"),
        (lambda f: replace_json(f, lambda t: t["chains"].pop() and t.update(bonds=[], bond_metadata=[])), "7"),
        (lambda f: replace_json(f, lambda t: t["chains"][0].update(residues=3)), "another kind than expected"),
        (lambda f: replace_json(f, lambda t: t["chains"][0]["residues"][0].update(name=["x"])), "a name is"),
        (lambda f: replace_json(f, lambda t: t["chains"][0]["residues"][0].update(resSeq=1e999)), "infinity"),
    ],
)
def test_what_is_no_trajectory(edit: Callable, change: Change, message: str) -> None:
    path = edit(change)
    with pytest.raises(NeuralMDError, match=rf"a\.h5.*({message})") as caught:
        open_trajectory(path, interval=80.0)
    require_one_line(caught.value)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 100, 2000, 10_000])
def test_cut_files(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(PATH.read_bytes()[:size])
    with pytest.raises(InputError, match=r"a\.h5: ") as caught:
        open_trajectory(path)
    require_one_line(caught.value)


def test_a_damaged_chunk_ends_the_trajectory(edit: Callable, expected: mdtraj.Trajectory) -> None:
    def change(file: h5py.File) -> None:
        dataset = replace(file, "coordinates", chunks=(2, 7, 3), compression="gzip")
        dataset.id.write_direct_chunk((4, 0, 0), b"damage")

    notes: list[str] = []
    chunks = list(open_trajectory(edit(change)).iterate(np.arange(7), notes))
    assert sum(len(c) for c in chunks) == 4
    assert "damaged or cut after frame 4" in notes[0]


def test_nan_ends_the_trajectory(edit: Callable) -> None:
    for name in ("coordinates", "cell_lengths"):
        notes: list[str] = []
        path = edit(lambda file, name=name: file[name].__setitem__(5, np.nan))
        assert sum(len(c) for c in open_trajectory(path).iterate(np.arange(7), notes)) == 5
        assert len(notes) == 1


def test_without_frames(edit: Callable) -> None:
    def change(file: h5py.File) -> None:
        for name in ARRAYS[:4]:
            replace(file, name, data=file[name][:0])

    path = edit(change)
    with pytest.raises(InputError, match="holds no complete frame"):
        open_trajectory(path)
    assert load_structure_file(path).positions is None


def test_of_many_atoms_misato_is_refused_before_room_is_made(tmp_path: Path) -> None:
    path = write_misato_like(tmp_path)
    with h5py.File(path, "r+") as file:
        del file["1ABC/trajectory_coordinates"]
        n_atoms = MAX_BLOCK_BYTES
        file["1ABC"].create_dataset("trajectory_coordinates", shape=(4, n_atoms, 3), dtype="f8", chunks=(1, 100, 3))
    with MisatoFile(path) as misato, pytest.raises(InputError, match="claims shape"):
        misato.load("1ABC")


def test_a_full_disk_ends_in_an_error_and_not_in_the_interpreter(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"), create_hdf5(tmp_path / "a.h5") as file:  # noqa: PT012
            file["a"] = np.zeros(4000)
            file["b"] = np.zeros(4000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
