"""A piece of the bundled complex: the ligand between two loops of its pocket, small enough for real MD in a test."""

from pathlib import Path

import pytest

from openmm_neuralmd.analysis.bundled import get_bundled_path
from openmm_neuralmd.reference.system import MolecularSystem, build_system
from tests.helpers import write_pocket

LIGAND = "0WC"


@pytest.fixture(scope="session")
def parameters() -> Path:
    """GAFF2 parameters of the bundled ligand."""
    return get_bundled_path("ligand_gaff2.xml")


@pytest.fixture(scope="session")
def pocket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PDB file of the piece."""
    return write_pocket(tmp_path_factory.mktemp("pocket") / "pocket.pdb")


@pytest.fixture(scope="session")
def vacuum(pocket: Path, parameters: Path) -> MolecularSystem:
    """The piece alone."""
    return build_system(pocket, ligand=LIGAND, ligand_parameters=parameters, solvent="none")


@pytest.fixture(scope="session")
def solvated(pocket: Path, parameters: Path) -> MolecularSystem:
    """The piece in water with salt."""
    return build_system(pocket, ligand=LIGAND, ligand_parameters=parameters, padding=0.15)
