"""The force field that a caller chose: files of parameters on a structure, or a System with the structure it is of."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from openmm_neuralmd.checks import (
    a_sequence,
    check_arguments,
    check_callable,
    check_flag,
    check_path,
    check_text,
    optional,
)
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.force_field.energies import (
    DIELECTRIC,
    MAX_STEPS,
    ForceFieldModel,
    load_force_field_model,
    load_system_model,
)


def _check_file(name: str, value: Any) -> str | Path:
    """The name of a file, as it was given: OpenMM's own are known by it."""
    check_path(name, value)
    return value


@check_arguments(
    forcefield=optional(a_sequence(_check_file, of="files", least=1)),
    ligand_parameters=a_sequence(_check_file, of="files"),
    system=optional(check_path),
    system_top=optional(check_path),
    allow_scripts=check_flag,
    ligand=optional(check_text),
    default_structure=optional(check_path),
    find_parameters=check_callable,
)
def choose_force_field(
    *,
    forcefield: Sequence[str | Path] | None = None,
    ligand_parameters: Sequence[str | Path] = (),
    system: str | Path | None = None,
    system_top: str | Path | None = None,
    allow_scripts: bool = False,
    ligand: str | None = None,
    default_structure: str | Path | None = None,
    find_parameters: Callable[[], Sequence[Path]] = tuple,
    dielectric: float = DIELECTRIC,
    max_steps: int = MAX_STEPS,
) -> ForceFieldModel | None:
    """The force field that the arguments name; None if they name none.

    Args:
        forcefield: Force-field files, OpenMM's own by name.
        ligand_parameters: The ligand's, beside them.
        system: A serialized System in place of both.
        system_top: The structure that the System was made from, or that ``forcefield`` is applied to.
        allow_scripts: Run the Python code that force-field files hold.
        ligand: Residue name, if known.
        default_structure: For ``forcefield`` without ``system_top``.
        find_parameters: Gives the ligand's, for ``forcefield`` without ``ligand_parameters``.
        dielectric, max_steps: As in ``ForceFieldModel``.

    Raises:
        InputError: If the arguments contradict each other, or a file cannot be used.
    """
    if system is None and forcefield is None:
        lonely = {"ligand_parameters": ligand_parameters, "system_top": system_top, "allow_scripts": allow_scripts}
        for name, value in lonely.items():
            if value:
                raise InputError(f"`{name}` needs a force field: give `forcefield` (or `system`)")
        return None
    if system is not None and (forcefield is not None or ligand_parameters):
        raise InputError("`system` holds all parameters; give it without `forcefield` and `ligand_parameters`")
    if system is not None and allow_scripts:
        raise InputError("`allow_scripts` is for force-field files; code in a `system` is never run: leave it out")
    if system is not None:
        if system_top is None:
            raise InputError(f"{system}: give the structure it was made from (`system_top`), a PDB or GRO file")
        return load_system_model(system, system_top, dielectric=dielectric, max_steps=max_steps)
    structure = system_top or default_structure
    if structure is None:
        raise InputError("`forcefield`: give a PDB file with hydrogens and the ligand's bonds (`system_top`)")
    return load_force_field_model(
        [*(forcefield or ()), *(ligand_parameters or find_parameters())],
        structure,
        ligand=ligand,
        dielectric=dielectric,
        max_steps=max_steps,
        allow_scripts=allow_scripts,
    )
