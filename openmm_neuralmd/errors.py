"""Errors that openmm_neuralmd raises; every message says what was found, what was expected and what to do."""

import re

_WORDS = {
    "MemoryError": "more memory would be needed than there is",
    "IndexError": "it holds fewer values than expected",
    "StopIteration": "empty or cut short",
    "AssertionError": "it contradicts itself",
}
"""For errors without a message."""
_NO_NUMBER = re.compile(r"(?:invalid literal for int\(\) with base 10|could not convert string to float): (.*)")


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
    """The line of a library's message that says what is wrong; never empty."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, IndexError) and "out of" in str(error):  # of a list, which tells nobody anything
        return _WORDS["IndexError"]
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)  # its own is in quotes
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip(" \t.:;'\"()")]
    if not lines:
        return _WORDS.get(type(error).__name__, f"not of the expected form ({type(error).__name__})")
    if isinstance(error, KeyError) and " " not in lines[0]:
        return f"{lines[0]} is missing"
    told = lines[-1 if lines[0].startswith("HDF5 error") else 0].rstrip(":;, ")  # HDF5 says what is wrong last
    number = _NO_NUMBER.match(told)
    return f"{number[1]} is no number" if number else told
