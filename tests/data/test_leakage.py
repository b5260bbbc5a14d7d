"""A split by complexes is clean only if neither protein nor scaffold is known."""

from dataclasses import replace

import numpy as np
import pytest

from openmm_neuralmd.data.leakage import compute_scaffold, find_leaks, identify, name_complexes, read_identities
from openmm_neuralmd.models.applicability import describe_training_complex
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.molecule.residues import RESIDUE_TYPES
from tests.helpers import make_complex


def build(smiles: str, sequence: str) -> Complex:
    """A ligand in a protein of a given sequence."""
    letters = "ARNDCQEGHILKMFPSTWYV"
    types = np.array([letters.index(x) for x in sequence])
    assert len(RESIDUE_TYPES) == len(letters)
    complex_ = make_complex(smiles, n_residues=len(sequence))
    return replace(complex_, protein=replace(complex_.protein, residue_types=types))


KINASE, BROMODOMAIN = "MKVLAEGHWTRDNQSPYFIC" * 2, "GGSAVLPWRTEEKHDNQYFM" * 2


def test_new_protein_and_new_scaffold_are_clean() -> None:
    assert find_leaks({"a": build("Cc1ccccc1", KINASE)}, {"b": build("CC1CCC1", BROMODOMAIN)}) == []


def test_known_parts_are_named() -> None:
    training = {"a": build("Cc1ccccc1", KINASE), "c": build("CC1CCC1", BROMODOMAIN)}
    mutant = KINASE[:7] + "A" + KINASE[8:]
    leaks = find_leaks(training, {"b": build("Oc1ccccn1", mutant), "d": build("CCCC", BROMODOMAIN)})
    assert [(x.name, x.same_protein, x.same_scaffold) for x in leaks] == [("b", ("a",), ("a",)), ("d", ("c",), ())]
    assert str(leaks[0]) == "b: same protein as a; same scaffold as a"


def test_a_model_file_gives_away_the_same() -> None:
    """Identities read from metadata are those of the complexes that the metadata describes."""
    complexes = [build("Cc1ccc2ccccc2c1F", KINASE), build("CCCC", BROMODOMAIN)]
    metadata = {"training": {"complexes": [describe_training_complex(c) for c in complexes]}}
    assert list(read_identities(metadata).values()) == [identify(c) for c in complexes]
    assert read_identities({}) == {}


def test_a_fragment_of_a_longer_protein_is_not_the_same() -> None:
    assert find_leaks({"a": build("CCCC", KINASE)}, {"b": build("CCCC", KINASE[:12])}) == []


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ("Cc1ccccc1", "OC1CCCCN1", True),  # substituents, elements and bond orders do not count
        ("c1ccccc1CC1CC1", "Cc1ccccc1CC1CC1", True),
        ("c1ccccc1CC1CC1", "c1ccccc1CCC1CC1", False),  # the chain between rings does
        ("c1ccccc1", "C1CCCC1", False),
    ],
)
def test_scaffold(first: str, second: str, is_same: bool) -> None:
    scaffolds = [compute_scaffold(make_complex(s).ligand.bonds) for s in (first, second)]
    assert all(scaffolds)
    assert (scaffolds[0] == scaffolds[1]) is is_same


def test_chains_have_no_scaffold() -> None:
    assert compute_scaffold(make_complex("CCC(C)CO").ligand.bonds) == ""


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["/md/4g3e.pdb", "/md/runs/5i29.gro"], ["4g3e", "5i29"]),
        (["/md/4g3e/complex.pdb", "/md/5i29/complex.pdb"], ["4g3e", "5i29"]),
        (["/d/5i29/prepared/complex.pdb"], ["5i29"]),
        (["MD.hdf5/10GS", "MD.hdf5/11GS"], ["10GS", "11GS"]),
        (["bundled 4G3E", "ready/complex.pdb (prepared from 5i29.pdb)"], ["4G3E", "5i29"]),
        (["a/4g3e.pdb", "b/4g3e.pdb"], ["a/4g3e", "b/4g3e"]),
        (["complex.pdb", "top.gro"], ["complex", "top"]),
        (["a/x.pdb", "a/x.pdb"], ["x LIG", "x ABC"]),
        (["x.pdb", "x.pdb", "x.pdb"], ["x LIG", "x ABC", "x LIG (2)"]),
    ],
)
def test_names_are_short_and_unique(sources: list[str], names: list[str]) -> None:
    """Two ligands of one file are two complexes."""
    first = make_complex("CCO")
    second = replace(first, ligand=replace(first.ligand, name="ABC"))
    complexes = [replace((first, second, first)[k], source=source) for k, source in enumerate(sources)]
    if names[0] != "x LIG":
        complexes = [replace(c, ligand=first.ligand) for c in complexes]
    assert name_complexes(complexes) == names
