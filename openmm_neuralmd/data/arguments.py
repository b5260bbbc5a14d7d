"""Checkers of complexes with their trajectories."""

from typing import Any

from openmm_neuralmd.checks import a_sequence, an_instance, describe
from openmm_neuralmd.data.trajectories import LigandTrajectory
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.molecule.complex import Complex

A_TRAJECTORY = an_instance(LigandTrajectory, of="a LigandTrajectory, load_ligand_trajectory(...)")


def check_entry(name: str, value: Any) -> Any:
    """A complex and its trajectories, an ``Entry``."""
    if not isinstance(value, tuple) or len(value) != 2 or not isinstance(value[0], Complex):
        raise InputError(f"{name} is {describe(value)}; give an Entry(complex, trajectories)")
    a_sequence(A_TRAJECTORY, of="trajectories", least=1)(f"{name}.trajectories", value[1])
    return value
