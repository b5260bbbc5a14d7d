"""The complex that a run starts from, whatever it is given as."""

from collections.abc import Callable
from pathlib import Path

from openmm_neuralmd.checks import check_arguments, check_callable, check_path, check_text, optional
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.io.structures import load_structure
from openmm_neuralmd.molecule.complex import (
    Complex,
    check_source,
    is_prepared,
    load_bundled_complex,
    load_prepared_complex,
)


@check_arguments(
    complex_file=optional(check_path), ligand=optional(check_text), sdf=optional(check_path), load=check_callable
)
def choose_complex(
    complex_file: str | Path | None = None,
    *,
    ligand: str | None = None,
    sdf: str | Path | None = None,
    load: Callable[..., Complex] = load_structure,
) -> Complex:
    """The bundled 4G3E, a folder of ``neuralmd prepare``, or the complex in a structure file.

    Args:
        complex_file: Folder or file; the bundled complex if None.
        ligand: NAME, NAME:CHAIN or NAME:CHAIN:NUMBER, in a structure file.
        sdf: The ligand's bonds, their orders and ideal geometry, likewise.
        load: Reads a structure file, given that and ``ligand`` and ``sdf``; by default any that is known.

    Raises:
        InputError: If the ligand is not said where it must be, or a file cannot be used.
    """
    if complex_file is None:
        if ligand or sdf:
            raise InputError("`ligand` and `sdf` belong to a `complex_file`; give one, or neither for the bundled 4G3E")
        return load_bundled_complex()
    check_source(complex_file)
    if ligand is None and sdf is None and is_prepared(complex_file):
        return load_prepared_complex(complex_file)
    if ligand is None:
        raise InputError(f"{complex_file}: which residue is the ligand? say `ligand=NAME` or NAME:CHAIN:NUMBER")
    return load(complex_file, ligand, sdf=sdf)
