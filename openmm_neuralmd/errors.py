"""Errors that openmm_neuralmd raises; every message says what was found, what was expected and what to do."""

import re


class NeuralMDError(Exception):
    """Base of all errors of this package; the command line prints it as one line and exits with status 2."""


class InputError(NeuralMDError, ValueError):
    """A file, argument or setting that cannot be used."""


class TopologyMismatchError(NeuralMDError, ValueError):
    """Atoms, elements, bonds or their order differ between two things that must agree."""


class ModelContractError(NeuralMDError, ValueError):
    """A model file that is damaged, too new, or not made for this ligand or use."""


class NonFiniteStateError(NeuralMDError, RuntimeError):
    """NaN or infinity in positions, velocities or forces; the message names the step."""


class ProjectionError(NeuralMDError, RuntimeError):
    """Bond lengths that could not be brought back; the message names the step and the worst distance."""


class StorageError(NeuralMDError, OSError):
    """A file that cannot be written, as on a full disk; the message names it and what to do."""


def describe_error(error: BaseException) -> str:
    """What an exception of a library says, on one line and never empty, to stand in a message of ours."""
    if isinstance(error, KeyError) and error.args:
        return f"there is no {error.args[0]!r}"
    told = " ".join(str(error).split()).strip().rstrip(":;., ")
    if number := re.match(
        r"(?:invalid literal for int\(\) with base 10|could not convert string to float): (.*)", told
    ):
        return f"{number[1]} is no number"
    return told if told and told != "<NULL>" else "it is damaged, or of another kind"
