"""What a model knows of a complex: its own, a mirror image, another one."""

from dataclasses import replace

import numpy as np
import pytest
from rdkit import Chem

from openmm_neuralmd.models.applicability import (
    assess_applicability,
    build_molecule,
    compute_sequence_identity,
    compute_word_overlaps,
    describe_training_complex,
    index_words,
)
from openmm_neuralmd.molecule.complex import Complex, load_bundled_complex
from tests.helpers import make_complex


@pytest.fixture(scope="module")
def bundled() -> Complex:
    return load_bundled_complex()


def train_on(*complexes: Complex) -> dict[str, object]:
    return {"training": {"complexes": [describe_training_complex(c) for c in complexes]}}


def test_description_holds_ligand_and_sequence(bundled: Complex) -> None:
    described = describe_training_complex(bundled)
    assert described["ligand_smiles"] == "C[C@@](O)(C#Cc1ccc2c(c1)N(c1nc(N)ncc1Cl)CC2)c1nccs1"
    assert len(described["sequence"]) == bundled.protein.n_residues
    assert described["sequence"].startswith("PVEEYLVHALQ")


def test_its_own_complex_is_seen(bundled: Complex) -> None:
    found = assess_applicability(bundled, train_on(bundled))
    assert (found.is_seen, found.ligand_similarity, found.sequence_identity) == (True, 1.0, 1.0)
    assert "was trained on this ligand" in found.statement


def test_bundled_models_are_known_by_their_source(bundled: Complex) -> None:
    assert assess_applicability(bundled, {"training": {"complex": "bundled 4G3E"}}).is_seen


def test_another_complex_is_not(bundled: Complex) -> None:
    found = assess_applicability(make_complex("CC(C)(C)CO"), train_on(bundled))
    assert found.is_seen is False
    assert found.ligand_similarity < 0.3
    assert "never saw this complex" in found.statement


def test_the_nearest_of_several_counts(bundled: Complex) -> None:
    own = make_complex()
    found = assess_applicability(own, train_on(bundled, own))
    assert found.is_seen
    assert "never saw" in assess_applicability(own, train_on(bundled)).statement


def test_similar_sequences_share_words() -> None:
    """Every tenth residue changed and a stretch cut out leave more than chance gives: the shortcut loses none."""
    generator = np.random.default_rng(0)

    def draw(n: int) -> str:
        return "".join(generator.choice(list("ARNDCQEGHILKMFPSTWYV"), n))

    own = draw(300)
    mutant = "".join("G" if k % 10 == 0 else letter for k, letter in enumerate(own))
    overlaps = compute_word_overlaps(own, index_words([own, mutant, own[:120] + own[150:], draw(300), draw(300), "AX"]))
    assert compute_sequence_identity(own, mutant) < 0.93
    assert overlaps[0] == 1.0
    assert overlaps[1:3].min() > 0.6
    assert overlaps[3:].max() < 0.1


def test_the_nearest_of_thousands(bundled: Complex) -> None:
    """Only a few are aligned, the right one among them."""
    generator = np.random.default_rng(0)
    known = [
        {"ligand_smiles": "CCO", "sequence": "".join(generator.choice(list("ARNDCQEGHILKMFPSTWYV"), 100))}
        for _ in range(1000)
    ]
    known[700] = describe_training_complex(bundled)
    found = assess_applicability(bundled, {"training": {"complexes": known}})
    assert (found.is_seen, found.ligand_similarity, found.sequence_identity) == (True, 1.0, 1.0)


def test_ligand_without_bond_orders_is_known_by_its_skeleton() -> None:
    """As from MISATO: a model trained on it knows the same ligand with bond orders, and no other."""
    own = make_complex("C/C=C/[C@H](O)C(=O)NC1CC1")
    bare = replace(own, ligand=replace(own.ligand, bond_orders=None))
    assert own.ligand.bond_orders is not None
    described = describe_training_complex(bare)
    assert described["bond_orders"] == "unknown"
    for first, second in ((own, bare), (bare, own), (bare, bare)):
        found = assess_applicability(first, train_on(second))
        assert (found.is_seen, found.ligand_similarity) == (True, 1.0)
    assert assess_applicability(make_complex("C/C=C/[C@H](S)C(=O)NC1CC1"), train_on(bare)).is_seen is False


def test_enantiomer_is_another_ligand() -> None:
    first, mirror = make_complex("C[C@@H](O)c1ccccc1"), make_complex("C[C@H](O)c1ccccc1")
    found = assess_applicability(mirror, train_on(first))
    assert found.is_seen is False
    assert found.ligand_similarity == 1.0
    assert "never saw this ligand" in found.statement


def test_elements_read_as_others_are_said() -> None:
    own = make_complex("Cc1ccc(F)cc1Br")
    metadata = {**train_on(make_complex("Cc1ccccc1Cl")), "elements": [6, 17]}
    found = assess_applicability(own, metadata)
    assert found.stand_ins == {9: 17, 35: 17}
    assert found.statement.endswith("it never saw some elements and reads F as Cl, Br as Cl")
    assert assess_applicability(own, {**metadata, "elements": [6, 9, 35]}).stand_ins == {}


def test_silent_model_file_is_said() -> None:
    found = assess_applicability(make_complex(), {"training": {}})
    assert found.is_seen is None
    assert "does not say" in found.statement


@pytest.mark.parametrize("smiles", ["C[NH2+]CC(=O)[O-]", "CC#N", "C/C=C/C", "C=C[C@@H](O)C#N"])
def test_molecule_has_charges_hydrogens_and_stereo(smiles: str) -> None:
    assert Chem.MolToSmiles(build_molecule(make_complex(smiles))) == Chem.CanonSmiles(smiles)
