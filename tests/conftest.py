"""Fixtures that several test folders share."""

import pytest
from openmm import Platform

from openmm_neuralmd.complex import Complex
from tests.helpers import make_complex


@pytest.fixture(scope="session")
def tiny_complex() -> Complex:
    """A chiral ligand with hydrogens, a ring and a line of atoms, in a ring of glycines."""
    return make_complex()


@pytest.fixture(params=["Reference", "CPU"])
def platform(request: pytest.FixtureRequest) -> Platform:
    """Each OpenMM platform that computes in double precision."""
    return Platform.getPlatformByName(request.param)
