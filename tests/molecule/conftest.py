"""The bundled complex as mdtraj reads it."""

import mdtraj
import pytest

from openmm_neuralmd.analysis.bundled import get_bundled_path


@pytest.fixture(scope="session")
def holo() -> mdtraj.Trajectory:
    """The bundled complex, one frame."""
    return mdtraj.load(str(get_bundled_path("complex.pdb")))
