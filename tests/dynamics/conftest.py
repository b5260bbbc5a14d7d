"""Ligands that bond projections are tried on."""

import pytest

from openmm_neuralmd.molecule.complex import Ligand, load_bundled_complex
from tests.helpers import CHIRAL_ALKYNE, make_complex

LIGANDS = {
    "bundled": None,
    "chiral alkyne": CHIRAL_ALKYNE,
    "fused rings": "c1ccc2c(c1)[nH]c1ccccc12",
    "bridged": "C1C2CC3CC1CC(C2)C3",
    "diyne": "CC#CC#CC",
    "two atoms": "CO",
}


@pytest.fixture(scope="module", params=LIGANDS, name="ligand")
def projected_ligand(request: pytest.FixtureRequest) -> Ligand:
    smiles = LIGANDS[request.param]
    return (load_bundled_complex() if smiles is None else make_complex(smiles)).ligand
