"""Folders that results go to."""

import os
from pathlib import Path

from openmm_neuralmd.errors import InputError


def check_writable(folder: str | Path) -> None:
    """Check, before anything is computed, that files can be written to a folder, which need not exist yet.

    Raises:
        InputError: If it or a folder above it is a file or must not be written to.
    """
    existing = next(
        path for path in (Path(folder).absolute(), *Path(folder).absolute().parents) if os.path.exists(path)
    )
    if not existing.is_dir():
        raise InputError(f"{existing} is a file; give a directory (--out)")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"{existing} cannot be written to; give another directory (--out)")
