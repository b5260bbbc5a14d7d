"""Tables of complexes and MISATO lists: what is grouped, what is skipped, what is refused and in which line."""

from importlib import resources
from pathlib import Path

import h5py
import mdtraj
import pytest

from openmm_neuralmd.data.entries import load_misato_entries, load_table
from openmm_neuralmd.data.misato import write_misato
from openmm_neuralmd.errors import InputError

ASSETS = Path(str(resources.files("openmm_neuralmd") / "assets" / "4g3e"))


@pytest.fixture
def table(tmp_path: Path):
    """Writes a table beside links to the bundled files."""
    for name in ("r1_pocket.xtc", "r2_pocket.xtc", "pocket.pdb", "ligand.sdf"):
        (tmp_path / name).symlink_to(ASSETS / name)

    def write(text: str) -> Path:
        (tmp_path / "list.csv").write_text(text)
        return tmp_path / "list.csv"

    return write


def test_trajectories_of_one_complex_are_together(table) -> None:
    path = table(
        "trajectory, top, ligand, sdf\n"
        "r1_pocket.xtc, pocket.pdb, 0WC, ligand.sdf\n"
        "\n"
        "r2_pocket.xtc, pocket.pdb, 0WC, ligand.sdf\n"
    )
    (entry,) = load_table(path)["training"]
    assert [t.source for t in entry.trajectories] == ["r1_pocket.xtc", "r2_pocket.xtc"]
    assert entry.complex.ligand.bond_orders is not None
    assert entry.trajectories[0].superposed_on.startswith("pocket")


def test_parts_and_intervals(table) -> None:
    path = table(
        "trajectory,top,ligand,sdf,part,interval\n"
        "r1_pocket.xtc,pocket.pdb,0WC,ligand.sdf,training,\n"
        "r2_pocket.xtc,pocket.pdb,0WC,ligand.sdf,test,80\n"
    )
    parts = load_table(path, superpose_on="all")
    assert {name: len(entries) for name, entries in parts.items()} == {"training": 1, "test": 1}
    assert parts["test"][0].trajectories[0].frame_interval == 80.0
    assert parts["test"][0].trajectories[0].superposed_on.startswith("all")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column trajectory, ligand"),
        ("trajectory,top\nr1_pocket.xtc,pocket.pdb\n", "no column ligand"),
        ("trajectory,ligand,tip\n", "unknown column tip"),
        ("trajectory,top,ligand\n", "holds no trajectory"),
        ("trajectory,top,ligand\nr1_pocket.xtc,pocket.pdb,\n", "line 2: ligand empty"),
        ("trajectory,top,ligand,part\nr1_pocket.xtc,pocket.pdb,0WC,exam\n", "line 2: part 'exam' is none of"),
        ("trajectory,top,ligand,interval\nr1_pocket.xtc,pocket.pdb,0WC,long\n", "line 2: interval 'long'"),
        ("trajectory,top,ligand,interval\nr1_pocket.xtc,pocket.pdb,0WC,0\n", "line 2: interval '0': give more than 0"),
        (
            "trajectory,top,ligand,interval\nr1_pocket.xtc,pocket.pdb,0WC,nan\n",
            "line 2: interval 'nan': give more than 0",
        ),
        ("trajectory,top,ligand\nr1_pocket.xtc,pocket.pdb,0WC,1,2\n", "line 2: more cells than the 3 columns"),
        ("trajectory,ligand\nr1_pocket.xtc,0WC\n", "line 2: give a topology"),
        ("trajectory,top,ligand\nr3.xtc,pocket.pdb,0WC\n", "line 2: .*r3.xtc: no such file"),
        ("trajectory,top,ligand\nr1_pocket.xtc,pocket.pdb,XYZ\n", "line 2: ligand 'XYZ' not found"),
    ],
)
def test_bad_tables(table, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_table(table(text))


def test_absent_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; give a table"):
        load_table(tmp_path / "list.csv")


class TestMisato:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        frames = mdtraj.load(str(ASSETS / "r1_pocket.xtc"), top=str(ASSETS / "pocket.pdb"))[:4]
        write_misato(tmp_path / "MD.hdf5", {"1ABC": frames, "2PEP": frames, "3ION": frames}, ligand="0WC")
        with h5py.File(tmp_path / "MD.hdf5", "r+") as file:
            begins = file["2PEP/molecules_begin_atom_index"][:]
            file["2PEP/atoms_residue"][begins[-1] :] = 2
            file["3ION/atoms_number"][begins[-1] :] = 1
            file["3ION/atoms_number"][begins[-1]] = 12
        return tmp_path / "MD.hdf5"

    def write(self, path: Path, *names: str) -> Path:
        (path.parent / "list.txt").write_text("\n".join(names))
        return path.parent / "list.txt"

    def test_what_cannot_be_used_is_listed_with_the_reason(self, path: Path) -> None:
        skipped: dict[str, str] = {}
        entries = load_misato_entries(path, self.write(path, "2PEP", "1ABC", "3ION"), skipped)
        assert [e.complex.source for e in entries] == ["MD.hdf5/1ABC"]
        assert "peptide" in skipped["2PEP"]
        assert "ion" in skipped["3ION"]

    def test_nothing_left_is_an_error(self, path: Path) -> None:
        with pytest.raises(InputError, match=r"none of 2 complexes can be used; the first: MD\.hdf5/3ION"):
            load_misato_entries(path, self.write(path, "3ION", "2PEP"), {})

    def test_names_that_are_not_there(self, path: Path) -> None:
        with pytest.raises(InputError, match="1 of 2 listed complexes are not there: 9XYZ"):
            load_misato_entries(path, self.write(path, "1ABC", "9XYZ"), {})
