"""How far a complex is from what a model was trained on: has it seen the ligand, has it seen the protein?

The measure is coarse on purpose: ligand fingerprints and sequence identity say where a model extrapolates, not how
wrong it is there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import rdFingerprintGenerator
from scipy.sparse import csr_matrix

from openmm_neuralmd.checks import a_mapping, check_arguments
from openmm_neuralmd.models.elements import find_stand_ins, format_stand_ins
from openmm_neuralmd.molecule.complex import A_COMPLEX, Complex, load_bundled_complex
from openmm_neuralmd.molecule.matching import compute_sequence_identity
from openmm_neuralmd.molecule.residues import RESIDUE_LETTERS
from openmm_neuralmd.units import ANGSTROM_PER_NM

_SAME_PROTEIN = 0.95  # sequence identity: variants and other crystal structures of one protein
_FINGERPRINT = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
_MOST_ALIGNED = 200  # complexes; an alignment takes a millisecond
_BUNDLED_SOURCE = "bundled 4G3E"


@dataclass(frozen=True)
class Applicability:
    """What a model knows of a complex.

    Attributes:
        is_seen: Whether ligand and protein are those of a training complex; None where the model does not say.
        ligand_similarity: Tanimoto similarity of Morgan fingerprints (radius 2), to the nearest training complex.
        sequence_identity: Of the protein, over the shorter sequence, to the same training complex; about 0.2 to 0.3
            for unrelated proteins, as ligand similarity is about 0.1 for unrelated molecules.
        statement: The same in words, for the user.
        stand_ins: Elements that it never saw and those it reads them as, by atomic number.
    """

    is_seen: bool | None
    ligand_similarity: float | None
    sequence_identity: float | None
    statement: str
    stand_ins: dict[int, int] = field(default_factory=dict)


def describe_training_complex(complex_: Complex) -> dict[str, str]:
    """What a model file keeps of a complex it was trained on: ligand SMILES and protein sequence.

    Where bond orders are unknown (MISATO), all bonds of the SMILES are single.
    """
    return {
        "ligand_smiles": Chem.MolToSmiles(build_molecule(complex_)),
        "bond_orders": "unknown" if complex_.ligand.bond_orders is None else "known",
        "sequence": get_sequence(complex_),
    }


@check_arguments(complex_=A_COMPLEX, metadata=a_mapping(of="a model's metadata"))
def assess_applicability(complex_: Complex, metadata: Mapping[str, Any]) -> Applicability:
    """Compare a complex with those in a model's metadata (``training.complexes``, of ``describe_training_complex``)."""
    elements = complex_.ligand.atomic_numbers.tolist()
    stand_ins = find_stand_ins(elements, metadata.get("elements", elements))
    read_as = f"; it never saw some elements and reads {format_stand_ins(stand_ins)}" if stand_ins else ""
    training = metadata.get("training", {})
    known: list[Mapping[str, str]] = list(training.get("complexes", []))
    if not known and training.get("complex") == _BUNDLED_SOURCE:
        known = [describe_training_complex(load_bundled_complex())]
    if not known:
        statement = "the model file does not say which complexes it was trained on"
        return Applicability(None, None, None, statement + read_as, stand_ins)
    own = describe_training_complex(complex_)
    best, similarity, identity = _find_nearest(own, known)
    is_comparable = _has_orders(own) == _has_orders(known[best])
    is_same_ligand = len({_read_smiles(entry, as_is=is_comparable) for entry in (own, known[best])}) == 1
    is_seen = is_same_ligand and identity >= _SAME_PROTEIN
    measured = f"ligand similarity {similarity:.2f}, protein sequence identity {identity:.2f} to its training data"
    if is_seen:
        statement = f"the model was trained on this ligand in this protein ({measured})"
    else:
        what = "this ligand" if identity >= _SAME_PROTEIN else "this protein" if is_same_ligand else "this complex"
        statement = (
            f"the model never saw {what} ({measured}; it was trained on {len(known)} "
            f"{'complex' if len(known) == 1 else 'complexes'}): the run extrapolates, its poses and contacts are no "
            "prediction; train on MD of this complex for results"
        )
    return Applicability(is_seen, similarity, identity, statement + read_as, stand_ins)


def build_molecule(complex_: Complex) -> Chem.Mol:
    """The ligand as an RDKit molecule; bond orders, hydrogens and charges as far as the complex has them."""
    ligand = complex_.ligand
    orders = ligand.bond_orders or (1.0,) * len(ligand.bonds)
    valence = np.zeros(ligand.n_atoms)
    np.add.at(valence, ligand.bonds.ravel(), np.repeat(orders, 2))
    n_hydrogens = np.bincount(ligand.hydrogen_parents, minlength=ligand.n_atoms)
    aromatic = set(ligand.bonds[np.array(orders) == 1.5].ravel().tolist())
    editable = Chem.RWMol()
    for k, number in enumerate(ligand.atomic_numbers.tolist()):
        atom = Chem.Atom(number)
        atom.SetIsAromatic(k in aromatic)
        if ligand.bond_orders and len(ligand.hydrogen_parents):
            atom.SetNumExplicitHs(int(n_hydrogens[k]))
            atom.SetNoImplicit(True)
            if k not in aromatic:
                atom.SetFormalCharge(_guess_charge(number, round(valence[k] + n_hydrogens[k])))
        editable.AddAtom(atom)
    for (a, b), order in zip(ligand.bonds.tolist(), orders, strict=True):
        editable.AddBond(a, b, _BOND_TYPES.get(order, Chem.BondType.SINGLE))
    molecule = editable.GetMol()
    with rdBase.BlockLogs():
        if Chem.SanitizeMol(molecule, catchErrors=True) != Chem.SanitizeFlags.SANITIZE_NONE:
            molecule.UpdatePropertyCache(strict=False)
            Chem.FastFindRings(molecule)
            return molecule
    conformer = Chem.Conformer(ligand.n_atoms)
    for k, position in enumerate(ANGSTROM_PER_NM * ligand.positions):
        conformer.SetAtomPosition(k, position.tolist())
    molecule.AddConformer(conformer)
    Chem.AssignStereochemistryFrom3D(molecule)
    return molecule


_BOND_TYPES = {
    1.0: Chem.BondType.SINGLE,
    1.5: Chem.BondType.AROMATIC,
    2.0: Chem.BondType.DOUBLE,
    3.0: Chem.BondType.TRIPLE,
}


def _guess_charge(number: int, valence: int) -> int:
    """Formal charge of nitrogen with four bonds and of oxygen or sulfur with one."""
    return {(7, 4): 1, (8, 1): -1, (16, 1): -1}.get((number, valence), 0)


def get_sequence(complex_: Complex) -> str:
    """One letter for each residue, X for unknown ones."""
    return "".join(RESIDUE_LETTERS[k] for k in complex_.protein.residue_types.tolist())


def _find_nearest(own: Mapping[str, str], known: Sequence[Mapping[str, str]]) -> tuple[int, float, float]:
    """Index, ligand similarity and sequence identity of the complex where the two add up to most.

    Of more than ``_MOST_ALIGNED`` complexes those with the most similar ligands and words are aligned.
    """
    similarities = _compare_ligands(own, known)
    overlaps = compute_word_overlaps(own["sequence"], index_words([k["sequence"] for k in known]))
    chosen = np.argsort(-similarities - overlaps, kind="stable")[:_MOST_ALIGNED].tolist()
    identities = {k: compute_sequence_identity(own["sequence"], known[k]["sequence"]) for k in chosen}
    best = max(chosen, key=lambda k: similarities[k] + identities[k])
    return best, float(similarities[best]), identities[best]


def _has_orders(entry: Mapping[str, str]) -> bool:
    return entry.get("bond_orders", "known") == "known"


def _read_smiles(entry: Mapping[str, str], *, as_is: bool) -> str:
    """A ligand's SMILES, or that of its skeleton: all bonds single, no charge, no stereo."""
    if as_is:
        return entry["ligand_smiles"]
    skeleton = Chem.RWMol()
    molecule = _parse(entry["ligand_smiles"])
    for atom in molecule.GetAtoms():
        skeleton.AddAtom(Chem.Atom(atom.GetAtomicNum()))
    for bond in molecule.GetBonds():
        skeleton.AddBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), Chem.BondType.SINGLE)
    skeleton.UpdatePropertyCache(strict=False)
    return str(Chem.MolToSmiles(skeleton))


def _compare_ligands(own: Mapping[str, str], known: Sequence[Mapping[str, str]]) -> np.ndarray:
    """Tanimoto similarities, (n_known,); by skeletons where only one of two has bond orders."""

    def compute(entry: Mapping[str, str], as_is: bool) -> Any:
        return _FINGERPRINT.GetFingerprint(_parse(_read_smiles(entry, as_is=as_is)))

    mine = {as_is: compute(own, as_is) for as_is in (True, False)}
    comparable = [_has_orders(entry) == _has_orders(own) for entry in known]
    return np.array(
        [DataStructs.TanimotoSimilarity(mine[c], compute(e, c)) for e, c in zip(known, comparable, strict=True)]
    )


def _parse(smiles: str) -> Chem.Mol:
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles, sanitize=False)
        molecule.UpdatePropertyCache(strict=False)
        Chem.FastFindRings(molecule)
    return molecule


def index_words(sequences: Sequence[str]) -> csr_matrix:
    """Which words of three letters each sequence has, (n_sequences, 26^3): similar sequences share most of theirs."""
    rows, columns = [], []
    for k, sequence in enumerate(sequences):
        letters = np.frombuffer(sequence.encode(), dtype=np.uint8).astype(np.int64) - ord("A")
        words = np.unique(676 * letters[:-2] + 26 * letters[1:-1] + letters[2:])
        rows.append(np.full(len(words), k))
        columns.append(words)
    places = np.concatenate(rows), np.concatenate(columns)
    return csr_matrix((np.ones(len(places[0])), places), shape=(len(sequences), 26**3))


def compute_word_overlaps(sequence: str, index: csr_matrix) -> np.ndarray:
    """Words that a sequence shares with each one of an index, over those of the one with fewer, (n_sequences,)."""
    own = index_words([sequence])
    fewer = np.minimum(np.diff(index.indptr), own.nnz)
    return np.asarray((index @ own.T).todense()).ravel() / np.maximum(fewer, 1)
