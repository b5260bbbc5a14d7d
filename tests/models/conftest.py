"""The bundled complex as networks take it, in double precision."""

import pytest
import torch
from torch import Tensor

from openmm_neuralmd.models.networks.interface import (
    LigandGraph,
    ProteinStructure,
    build_ligand_graph,
    build_protein_structure,
)
from openmm_neuralmd.molecule.complex import Complex, load_bundled_complex


@pytest.fixture(scope="session")
def bundled() -> Complex:
    return load_bundled_complex()


@pytest.fixture(scope="session")
def graph(bundled: Complex) -> LigandGraph:
    return build_ligand_graph(bundled, torch.float64)


@pytest.fixture(scope="session")
def structure(bundled: Complex) -> ProteinStructure:
    return build_protein_structure(bundled, pocket_cutoff=10.0, dtype=torch.float64)


@pytest.fixture(scope="session")
def pose(bundled: Complex) -> Tensor:
    """[A], (1, N, 3)."""
    return torch.from_numpy(bundled.ligand.positions * 10.0)[None]
