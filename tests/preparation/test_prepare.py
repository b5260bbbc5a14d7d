"""Deposited structures in, runnable complexes out; the protocol names every change."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import gemmi
import mdtraj
import numpy as np
import pytest
from rdkit import Chem
from scipy.spatial import cKDTree

from openmm_neuralmd.errors import InputError, TopologyMismatchError
from openmm_neuralmd.models.export import load_bundled_model
from openmm_neuralmd.molecule.complex import load_prepared_complex
from openmm_neuralmd.preparation.download import download_component, download_entry
from openmm_neuralmd.preparation.prepare import Preparation, prepare_complex
from openmm_neuralmd.simulation.run import simulate
from tests.helpers import SHARED
from tests.preparation.conftest import N_RESIDUES, SMILES, Edit

WriteEntry = Callable[..., Path]


def prepare(path: Path, ligand: str = "0WC", **options: object) -> Preparation:
    return prepare_complex(path, ligand, path.parent / "out", **{"smiles": SMILES, **options})


def drop_residues(*numbers: int) -> Edit:
    return lambda lines: [x for x in lines if not (x.startswith("ATOM") and int(x[22:26]) in numbers)]


def move_atom(lines: list[str], distance: float) -> list[str]:
    """Atom C13 of the ligand beside the sulphur of the methionine."""
    sulfur = next(x for x in lines if x[12:16] == " SD ")
    place = [float(sulfur[k : k + 8]) for k in (30, 38, 46)]
    new = f"{place[0] + distance:8.3f}{place[1]:8.3f}{place[2]:8.3f}"
    return [f"{x[:30]}{new}{x[54:]}" if x[12:20] == " C13 0WC" else x for x in lines]


def add_conect(lines: list[str], turned: bool) -> list[str]:
    """A CONECT record between the two."""
    pair = [next(x[6:11] for x in lines if x[12:20] == name) for name in (" C13 0WC", " SD  MET")]
    return [*lines[:-1], f"CONECT{''.join(pair[::-1] if turned else pair)}\n", lines[-1]]


def expect_nothing_written(path: Path) -> None:
    assert not (path.parent / "out").exists()


@pytest.fixture(scope="module")
def prepared(entry_lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> Preparation:
    path = tmp_path_factory.mktemp("entry") / "entry.pdb"
    path.write_text("".join(entry_lines))
    return prepare(path)


class TestResult:
    def test_heavy_atoms_stay_and_hydrogens_come(self, prepared: Preparation, entry_lines: list[str]) -> None:
        complex_ = prepared.complex
        deposited = np.array([[float(x[k : k + 8]) for k in (30, 38, 46)] for x in entry_lines if x[17:20] == "0WC"])
        assert np.allclose(10.0 * complex_.ligand.positions, deposited, atol=1e-3)
        assert complex_.protein.n_residues == N_RESIDUES
        assert len(complex_.ligand.hydrogen_indices) == 16
        protein = [a for a in complex_.topology.atoms() if a.residue.name == "LEU"]
        assert sum(a.element.symbol == "H" for a in protein) / sum(a.element.symbol == "C" for a in protein) > 1.5

    def test_hydrogens_are_bonded_in_length(self, prepared: Preparation) -> None:
        complex_ = prepared.complex
        lengths = [
            np.linalg.norm(complex_.positions[a.index] - complex_.positions[b.index])
            for a, b in complex_.topology.bonds()
            if "H" in (a.element.symbol, b.element.symbol)
        ]
        assert min(lengths) > 0.095
        assert max(lengths) < 0.112

    def test_the_folder_loads_again_with_bond_orders(self, prepared: Preparation) -> None:
        loaded = load_prepared_complex(prepared.folder / "complex.pdb")
        assert loaded.ligand.bond_orders is not None
        assert sorted(set(loaded.ligand.bond_orders)) == [1.0, 1.5, 3.0]
        molecule = Chem.MolFromMolFile(str(prepared.folder / "ligand.sdf"))
        assert Chem.MolToSmiles(molecule) == Chem.CanonSmiles(SMILES)

    def test_nothing_is_dropped_in_silence(self, prepared: Preparation) -> None:
        protocol = json.loads((prepared.folder / "prepare.json").read_text())
        assert protocol["waters_removed"] == 1
        assert protocol["molecules_kept_rigid"] == ["ZN:B:902"]
        assert [a.residue.name for a in prepared.complex.topology.atoms() if a.element.symbol == "Zn"] == ["ZN"]
        assert protocol["ligand"]["stereo_in_coordinates"] == {"C14": "R"}
        assert protocol["source"]["file"] == "entry.pdb"

    def test_same_input_gives_the_same_files(self, prepared: Preparation, write_entry: WriteEntry) -> None:
        again = prepare(write_entry())
        difference = np.abs(again.complex.positions - prepared.complex.positions)
        assert difference.max() == 0.0


class TestProtein:
    def test_short_gap_is_built_and_said(self, write_entry: WriteEntry) -> None:
        prepared = prepare(write_entry(drop_residues(468, 469)))
        assert (
            prepared.protocol["gaps_built"] == ["B: between 467 and 470: PHE ILE"]
            or len(prepared.protocol["gaps_built"][0].split(": ")[2].split()) == 2
        )
        assert prepared.complex.protein.n_residues == N_RESIDUES
        assert prepared.complex.protein.is_linked[:-1].all()
        assert any("was built" in w for w in prepared.warnings)

    def test_built_residues_are_sound(self, write_entry: WriteEntry) -> None:
        """L amino acids, trans peptides and no overlap; what was deposited has not moved."""
        path = write_entry(drop_residues(468, 469))
        prepared = prepare(path)
        frame = mdtraj.load(str(prepared.folder / "complex.pdb"))
        xyz = frame.xyz[0]
        for residue in frame.topology.residues:
            atoms = {a.name: xyz[a.index] for a in residue.atoms}
            if {"N", "CA", "C", "CB"} <= atoms.keys():
                n, c, cb = (atoms[name] - atoms["CA"] for name in ("N", "C", "CB"))
                assert np.cross(n, c) @ cb > 0, residue
        assert (np.abs(mdtraj.compute_omega(frame)[1]) > np.radians(150)).all()
        protein = frame.topology.select("protein and element != H")
        pairs = cKDTree(xyz[protein]).query_pairs(0.2, output_type="ndarray")
        bonds = {frozenset((a.index, b.index)) for a, b in frame.topology.bonds}
        assert all(frozenset(protein[pair].tolist()) in bonds for pair in pairs)
        deposited = [x for x in path.read_text().splitlines() if x.startswith("ATOM")]
        places = {
            (int(x[22:26]), x[12:16].strip()): [float(x[k : k + 8]) / 10 for k in (30, 38, 46)] for x in deposited
        }
        found = {(a.residue.resSeq, a.name): xyz[a.index] for a in frame.topology.atoms}
        assert all(np.allclose(found[key], place, atol=1e-4) for key, place in places.items())

    def test_long_gap_is_capped_never_built(self, write_entry: WriteEntry) -> None:
        prepared = prepare(write_entry(drop_residues(468, 469)), max_gap=1)
        names = [r.name for r in prepared.complex.topology.residues()]
        assert prepared.protocol["gaps_built"] == []
        assert prepared.protocol["gaps_capped"] == ["B: between 467 and 470: 2 residues"]
        assert names.count("NME") == names.count("ACE") == 1
        assert prepared.complex.protein.n_residues == N_RESIDUES - 2
        assert (~prepared.complex.protein.is_linked).sum() == 2  # the gap and the end

    def test_gap_without_sequence_is_capped(self, write_entry: WriteEntry) -> None:
        prepared = prepare(write_entry(lambda x: drop_residues(468)([y for y in x if not y.startswith("SEQRES")])))
        assert prepared.protocol["gaps_capped"] == ["B: between 467 and 469: a break of the chain"]

    def test_missing_side_chain_is_built(self, write_entry: WriteEntry) -> None:
        def edit(lines: list[str]) -> list[str]:
            return [x for x in lines if not (x[22:26] == " 471" and x[12:16].strip() in ("CG", "SD", "CE"))]

        prepared = prepare(write_entry(edit))
        assert prepared.protocol["atoms_built"] == ["MET:B:471: CG SD CE"]
        atoms = [a.name for r in prepared.complex.topology.residues() if r.id == "471" for a in r.atoms()]
        assert {"CG", "SD", "CE"} <= set(atoms)

    def test_selenomethionine_becomes_methionine(self, write_entry: WriteEntry) -> None:
        def edit(lines: list[str]) -> list[str]:
            lines = [x.replace(" MET ", " MSE ") for x in lines]
            return [x.replace(" SD  MSE", "SE   MSE").replace(" S\n", "SE\n") if "MSE" in x else x for x in lines]

        prepared = prepare(write_entry(edit))
        assert prepared.protocol["residues_replaced"] == ["MSE:B:471 by MET"]
        assert not [a for a in prepared.complex.topology.atoms() if a.element.symbol == "Se"]

    def test_location_of_highest_occupancy_wins(self, write_entry: WriteEntry) -> None:
        def edit(lines: list[str]) -> list[str]:
            k = next(i for i, x in enumerate(lines) if x[12:16] == " SD " and x[22:26] == " 471")
            low = f"{lines[k][:16]}A{lines[k][17:54]}  0.30{lines[k][60:]}"
            x = float(lines[k][30:38]) + 0.5
            high = f"{lines[k][:16]}B{lines[k][17:30]}{x:8.3f}{lines[k][38:54]}  0.70{lines[k][60:]}"
            return [*lines[:k], low, high, *lines[k + 1 :]]

        prepared = prepare(write_entry(edit))
        assert prepared.protocol["alternate_locations"] == ["MET:B:471 location B (A 0.30, B 0.70)"]

    def test_protonation_in_the_input_is_kept(self, write_entry: WriteEntry) -> None:
        prepared = prepare(write_entry(lambda x: [y.replace("GLU B 472", "GLH B 472") for y in x]))
        assert prepared.protocol["protonation_states"]["GLU:B:472"] == "GLH"

    def test_states_that_the_ph_changes_are_said(self, write_entry: WriteEntry) -> None:
        prepared = prepare(write_entry(), ph=2.0)
        assert prepared.protocol["protonation_states"]["GLU:B:472"] == "GLH"

    def test_only_the_first_model_is_used(self, write_entry: WriteEntry) -> None:
        def edit(lines: list[str]) -> list[str]:
            atoms = [x for x in lines if x[:6] in ("ATOM  ", "HETATM", "TER\n")]
            return [lines[0], "MODEL        1\n", *atoms, "ENDMDL\n", "MODEL        2\n", *atoms, "ENDMDL\n", "END\n"]

        prepared = prepare(write_entry(edit))
        assert prepared.protocol["models_in_file"] == 2
        assert prepared.complex.protein.n_residues == N_RESIDUES

    def test_mmcif_gives_the_same(self, write_entry: WriteEntry, tmp_path: Path) -> None:
        path = write_entry()
        structure = gemmi.read_structure(str(path))
        structure.setup_entities()
        structure[0][0].name = "Blong"
        structure.make_mmcif_document().write_file(str(tmp_path / "entry.cif"))
        prepared = prepare(tmp_path / "entry.cif")
        assert prepared.protocol["renamed"] == ["chain Blong to A"]
        assert prepared.complex.protein.n_residues == N_RESIDUES


class TestBadInput:
    """One clear line each, and nothing written."""

    @pytest.mark.parametrize(
        ("content", "expected"), [("", "no atoms"), ("HEADER\nEND\n", "no atoms"), ("hello\n", "no atoms")]
    )
    def test_empty_or_truncated(self, tmp_path: Path, content: str, expected: str) -> None:
        path = tmp_path / "entry.pdb"
        path.write_text(content)
        with pytest.raises(InputError, match=expected):
            prepare(path)
        expect_nothing_written(path)

    @pytest.mark.parametrize("content", ["", "data_\n"])
    def test_empty_mmcif(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "entry.cif").write_text(content)
        with pytest.raises(InputError, match=r"entry.cif: .*(\(empty\)|holds no atoms)"):
            prepare(tmp_path / "entry.cif")

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such file"):
            prepare(tmp_path / "entry.pdb")

    @pytest.mark.parametrize("name", ["LEU", "HOH", "HIE", "ACE", "NA"])
    def test_ligand_named_like_protein_or_water(self, write_entry: WriteEntry, name: str) -> None:
        path = write_entry(lambda x: [y.replace(" 0WC ", f" {name:>3} ") for y in x])
        with pytest.raises(InputError, match="rename the ligand"):
            prepare(path, name)
        expect_nothing_written(path)

    def test_absent_ligand_lists_what_is_there(self, write_entry: WriteEntry) -> None:
        with pytest.raises(InputError, match=r"'ABC' not found; the structure holds 0WC:B:702"):
            prepare(write_entry(), "ABC")

    def test_ligand_found_twice(self, write_entry: WriteEntry) -> None:
        def edit(lines: list[str]) -> list[str]:
            copy = [x.replace("B 702", "B 703") for x in lines if "0WC" in x]
            return [*lines[:-1], *[f"{x[:30]}{float(x[30:38]) + 20:8.3f}{x[38:]}" for x in copy], "END\n"]

        path = write_entry(edit)
        with pytest.raises(InputError, match=r"found 2 times \(0WC:B:702, 0WC:B:703\)"):
            prepare(path)
        assert prepare(path, "0WC:B:702").protocol["molecules_kept_rigid"] == ["ZN:B:902", "0WC:B:703"]

    @pytest.mark.parametrize("smiles", ["CCO", SMILES.replace("Cl", "F")])
    def test_other_formula_shows_both(self, write_entry: WriteEntry, smiles: str) -> None:
        path = write_entry()
        with pytest.raises(TopologyMismatchError, match=r"C19 Cl1 N5 O1 S1 in the structure.* has C"):
            prepare(path, smiles=smiles)
        expect_nothing_written(path)

    def test_isomer_is_refused(self, write_entry: WriteEntry) -> None:
        isomer = "OC(C)(C#Cc1ccc2c(c1)N(c1nc(N)ncc1Cl)CC2)c1cscn1"  # 4-thiazolyl for 2-thiazolyl
        with pytest.raises(TopologyMismatchError, match="other bonds"):
            prepare(write_entry(), smiles=isomer)

    def test_other_enantiomer_is_said_and_coordinates_win(self, write_entry: WriteEntry) -> None:
        prepared = prepare(write_entry(), smiles=SMILES.replace("@@", "@"))
        assert any("C14 is R in the coordinates, S in SMILES" in w for w in prepared.warnings)
        assert prepared.protocol["ligand"]["smiles"] == Chem.CanonSmiles(SMILES)

    def test_missing_ligand_atom(self, write_entry: WriteEntry) -> None:
        path = write_entry(lambda x: [y for y in x if not (y[17:20] == "0WC" and y[76:78] == "CL")])
        with pytest.raises(TopologyMismatchError, match="complete its coordinates"):
            prepare(path)

    @pytest.mark.parametrize("smiles", ["C1CC", "", "c1ccccc"])
    def test_invalid_smiles(self, write_entry: WriteEntry, smiles: str) -> None:
        with pytest.raises(InputError, match="no valid SMILES"):
            prepare(write_entry(), smiles=smiles)

    def test_salt(self, write_entry: WriteEntry) -> None:
        with pytest.raises(InputError, match="several molecules"):
            prepare(write_entry(), smiles=f"{SMILES}.Cl")

    def test_ligand_bonded_to_the_protein(self, write_entry: WriteEntry) -> None:
        def edit(lines: list[str]) -> list[str]:
            sulfur = next(x for x in lines if x[12:16] == " SD ")
            place = [float(sulfur[k : k + 8]) for k in (30, 38, 46)]
            new = f"{place[0] + 1.8:8.3f}{place[1]:8.3f}{place[2]:8.3f}"
            return [f"{x[:30]}{new}{x[54:]}" if x[17:20] == "0WC" and x[76:78] == "CL" else x for x in lines]

        with pytest.raises(InputError, match=r"bonded to MET:B:471 \(.*-SD, 1.80 Å\)"):
            prepare(write_entry(edit))

    @pytest.mark.parametrize("turned", [False, True])
    def test_conect_record_of_a_bond(self, write_entry: WriteEntry, turned: bool) -> None:
        """The carbon of a thioether beside the sulphur, as covalent inhibitors are deposited."""
        path = write_entry(lambda x: add_conect(move_atom(x, 1.85), turned))
        with pytest.raises(InputError, match=r"0WC:B:702 is bonded to MET:B:471 \(C13-SD, 1.85 Å\): covalent"):
            prepare(path)
        expect_nothing_written(path)

    def test_conect_record_of_no_bond_is_said(self, write_entry: WriteEntry) -> None:
        prepared = prepare(write_entry(lambda x: add_conect(x, False)))
        found = [w for w in prepared.warnings if "CONECT" in w]
        assert len(found) == 1
        assert re.fullmatch(
            r"ligand 0WC:B:702: its CONECT record with MET:B:471 \(C13-SD\) was not followed: the atoms are "
            r"\d+\.\d\d Å apart, which no bond is",
            found[0],
        )

    def test_link_record(self, write_entry: WriteEntry) -> None:
        link = "LINK         C1  0WC B 702                 SG  CYS B 471     1555   1555  1.80\n"
        path = write_entry(lambda x: [x[0], link.replace("SG  CYS", "SD  MET"), *x[1:]])
        with pytest.raises(InputError, match=r"bonded to MET:B:471 \(C1-SD, LINK record\)"):
            prepare(path)

    def test_coordinate_that_is_no_number(self, write_entry: WriteEntry) -> None:
        path = write_entry(lambda x: [f"{y[:30]}     nan{y[38:]}" if y[12:20] == " C1  0WC" else y for y in x])
        with pytest.raises(InputError, match="atom C1 of 0WC:B:702 has no coordinates"):
            prepare(path)
        expect_nothing_written(path)

    def test_cut_in_the_middle_of_a_line(self, write_entry: WriteEntry) -> None:
        path = write_entry(lambda x: [*x[:60], x[60][:40]])
        with pytest.raises(InputError, match=r"line 61: [^:]*\); give a whole file"):
            prepare(path)
        expect_nothing_written(path)

    def test_metal_in_the_ligand(self, write_entry: WriteEntry) -> None:
        path = write_entry(lambda x: [f"{y[:76]}FE\n" if y[17:20] == "0WC" and y[76:78] == "CL" else y for y in x])
        with pytest.raises(InputError, match="metals are not supported"):
            prepare(path)

    def test_no_protein(self, write_entry: WriteEntry) -> None:
        with pytest.raises(InputError, match="no protein within"):
            prepare(write_entry(lambda x: [y for y in x if not y.startswith(("ATOM", "SEQRES"))]))

    def test_ca_trace(self, write_entry: WriteEntry) -> None:
        with pytest.raises(InputError, match="CA trace"):
            prepare(write_entry(lambda x: [y for y in x if not y.startswith("ATOM") or y[12:16] == " CA "]))

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"chains": ["X"]}, "no chain X"),
            ({"remove": ["GOL"]}, r"no such ion or molecule \(those kept: ZN\)"),
            ({"ph": 20.0}, "pH 20"),
            ({"sdf": "x.sdf"}, "both"),
        ],
    )
    def test_bad_options(self, write_entry: WriteEntry, options: dict[str, object], expected: str) -> None:
        path = write_entry()
        with pytest.raises(InputError, match=expected):
            prepare(path, **options)
        expect_nothing_written(path)

    def test_existing_output_is_not_replaced(self, write_entry: WriteEntry) -> None:
        path = write_entry()
        before = prepare(path).folder / "complex.pdb"
        content = before.read_bytes()
        with pytest.raises(InputError, match="overwrite=True"):
            prepare(path, remove=["ZN"])
        assert before.read_bytes() == content
        assert prepare(path, remove=["ZN"], overwrite=True).protocol["molecules_removed"] == ["ZN:B:902"]


@pytest.mark.parametrize(
    ("structure", "ligand", "sdf", "chain", "n_residues"),
    [
        pytest.param("4g3e/rcsb_4g3e.pdb", "0WC:A", "4g3e/ligand_0WC.sdf", "A", 315, marks=pytest.mark.slow),
        pytest.param("4g3e/rcsb_4g3e.pdb", "0WC:B", "4g3e/ligand_0WC.sdf", "B", 328, marks=pytest.mark.slow),
        pytest.param(
            "complexes/4g3f/4g3f.pdb", "0WB", "complexes/4g3f/4g3f_A_0WB.sdf", "A", 312, marks=pytest.mark.slow
        ),
        pytest.param("complexes/5i29/5i29.pdb", "67B", "complexes/5i29/5i29_ligand.sdf", "A", 139),
        pytest.param(
            "complexes/2iwx/2iwx.pdb", "M1S", "complexes/2iwx/2iwx_ligand.sdf", "A", 214, marks=pytest.mark.slow
        ),
    ],
)
def test_real_entries(tmp_path: Path, structure: str, ligand: str, sdf: str, chain: str, n_residues: int) -> None:
    folder = SHARED / "data"
    if not (folder / structure).is_file():
        pytest.skip(f"{folder / structure} is absent")
    prepared = prepare_complex(folder / structure, ligand, tmp_path, sdf=folder / sdf)
    assert prepared.protocol["chains_kept"] == [chain]
    assert prepared.complex.protein.n_residues == n_residues
    assert all("left out" in w or "built peptide" in w for w in prepared.warnings)
    heavy = np.array([a.element.atomic_number > 1 for a in prepared.complex.topology.atoms()])
    heavy[prepared.complex.ligand.atom_indices] = False
    gaps = prepared.complex.positions[heavy][:, None] - prepared.complex.ligand.positions[None]
    assert np.linalg.norm(gaps, axis=-1).min() > 0.22
    _check_run(tmp_path, is_seen=structure.startswith("4g3e"))


def _check_run(folder: Path, *, is_seen: bool) -> None:
    """The bundled model runs what was prepared for 20 snapshots, whole and finite, and says whether it knows it.

    Of complexes that it never saw some paths break: of 2IWX with M1S 5 in 48 within 20 snapshots, seed 0 among them.
    """
    files = simulate(load_prepared_complex(folder), load_bundled_model("sde"), folder / "run", n_snapshots=20, seed=1)
    record = json.loads(files.record.read_text())
    rows = list(csv.DictReader(files.log.open()))
    assert record["status"] == "finished"
    assert len(rows) == 20
    assert all(np.isfinite(float(row["ligand_rmsd_nm"])) for row in rows)
    assert max(float(row["max_bond_deviation_nm"]) for row in rows) < 0.02  # they vibrate, by 0.003 nm
    assert record["applicability"]["is_seen"] is is_seen
    assert ("never saw" in record["applicability"]["statement"]) is not is_seen


class TestDownload:
    def test_is_kept(self, tmp_path: Path) -> None:
        calls: list[str] = []

        def fetch(url: str) -> str:
            calls.append(url)
            return "data_4G3E\n_atom_site.id 1\n"

        assert download_entry("4g3e", cache=tmp_path, fetch=fetch) == download_entry(
            "4G3E", cache=tmp_path, fetch=fetch
        )
        assert calls == ["https://files.rcsb.org/download/4G3E.cif"]

    @pytest.mark.parametrize("name", ["", "xxxx", "../a", "12345"])
    def test_bad_identifier(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(InputError, match="no PDB identifier"):
            download_entry(name, cache=tmp_path)

    def test_offline_says_what_to_do(self, write_entry: WriteEntry, tmp_path: Path, monkeypatch) -> None:
        def refuse(url: str, timeout: float) -> None:
            raise OSError("Network is unreachable")

        monkeypatch.setattr("openmm_neuralmd.preparation.download.urlopen", refuse)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        with pytest.raises(InputError, match=r"give `smiles` or `sdf` .*Network is unreachable"):
            prepare(write_entry(), smiles=None)

    def test_component_gives_bond_orders(self, write_entry: WriteEntry, tmp_path: Path, monkeypatch) -> None:
        path = write_entry()
        names = [x[12:16].strip() for x in path.read_text().splitlines() if x[17:20] == "0WC"]
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        prepared = prepare(path, smiles=None, fetch=lambda url: write_component(names, url))
        assert prepared.protocol["ligand"]["smiles"] == Chem.CanonSmiles(SMILES)
        assert prepared.protocol["ligand"]["bond_orders_from"] == "Chemical Component Dictionary 0WC"
        assert download_component("0WC").is_file()


def write_component(names: list[str], url: str) -> str:
    """A component file of the ligand in the dictionary's layout."""
    assert url.endswith("/0WC.cif")
    molecule = Chem.AddHs(Chem.MolFromSmiles(SMILES))
    Chem.Kekulize(molecule, clearAromaticFlags=True)
    ids = [f"{a.GetSymbol()}{a.GetIdx()}" for a in molecule.GetAtoms()]
    orders = {1.0: "SING", 2.0: "DOUB", 3.0: "TRIP"}
    atoms = "\n".join(f"0WC {i} {a.GetSymbol().upper()} 0" for i, a in zip(ids, molecule.GetAtoms(), strict=True))
    bonds = "\n".join(
        f"0WC {ids[b.GetBeginAtomIdx()]} {ids[b.GetEndAtomIdx()]} {orders[b.GetBondTypeAsDouble()]} N"
        for b in molecule.GetBonds()
    )
    return (
        "data_0WC\n_chem_comp.id 0WC\n_chem_comp.type NON-POLYMER\nloop_\n_chem_comp_atom.comp_id\n"
        f"_chem_comp_atom.atom_id\n_chem_comp_atom.type_symbol\n_chem_comp_atom.charge\n{atoms}\nloop_\n"
        "_chem_comp_bond.comp_id\n_chem_comp_bond.atom_id_1\n_chem_comp_bond.atom_id_2\n_chem_comp_bond.value_order\n"
        f"_chem_comp_bond.pdbx_aromatic_flag\n{bonds}\n"
    )
