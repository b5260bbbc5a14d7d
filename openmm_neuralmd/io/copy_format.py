"""What a format is that a run's trajectory can be copied to, and where formats are found.

The package's own are the modules of ``io.copies``; other packages name theirs in the entry point group
``openmm_neuralmd.copy_formats``.
"""

import pkgutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import mdtraj
import numpy as np

from openmm_neuralmd.io import copies
from openmm_neuralmd.plugins import Plugins

Write = Callable[[np.ndarray, np.ndarray, np.ndarray], None]
"""Appends frames: positions [A], float32, (n_frames, n_atoms, 3), times [ps] and numbers, (n_frames,)."""


@dataclass(frozen=True)
class CopyFormat:
    """A format of trajectories.

    Attributes:
        name: In options, and the suffix of its files.
        open: Opens a new file, by its name, for frames of a topology. Equal frames must give equal files.
        read: Reads a file again, some frames at a time, as positions [nm], (n_frames, n_atoms, 3): a copy is compared
            with what was written before it takes its place.
    """

    name: str
    open: Callable[[str, mdtraj.Topology], AbstractContextManager[Write]]
    read: Callable[[Path, mdtraj.Topology], Iterator[np.ndarray]]


def list_copy_formats() -> tuple[str, ...]:
    """Names of all formats: those of this package, then others in alphabetical order."""
    return (*_OWN, *OTHER_FORMATS.list_names())


def get_copy_format(name: str) -> CopyFormat:
    """One of ``list_copy_formats``.

    Raises:
        InputError: If the package that offers it is broken.
    """
    if name in _OWN:
        return import_module(f"{copies.__name__}.{name}").FORMAT
    return OTHER_FORMATS.get(name)


_OWN = tuple(found.name for found in pkgutil.iter_modules(copies.__path__) if not found.name.startswith("_"))
OTHER_FORMATS = Plugins("openmm_neuralmd.copy_formats", "format", CopyFormat, lambda: _OWN)
"""Formats of other packages."""
