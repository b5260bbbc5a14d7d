"""Systems that somebody serialized."""

import re
from pathlib import Path

import openmm as mm

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.files import read_text


def read_system(path: str | Path) -> mm.System:
    """A System from XML, perhaps gzipped.

    Raises:
        InputError: If the file is missing or holds something else, or a PythonForce: reading one runs what is pickled
            in it.
    """
    text = read_text(path)
    if re.search(r"Python\w*Force", text):
        raise InputError(f"{path}: holds a PythonForce; give the System without it (--system)")
    try:
        system = mm.XmlSerializer.deserialize(text)
    except Exception as error:
        raise InputError(f"{path}: not a serialized System: {str(error).splitlines()[0]}") from error
    if not isinstance(system, mm.System):
        raise InputError(f"{path}: holds a {type(system).__name__}, not a System (--system)")
    return system
