"""Options that name a force field, the same for ``neuralmd compare`` and ``neuralmd train``."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.options import number, refuse_unused

if TYPE_CHECKING:  # importing it takes a second that no other option needs
    from openmm_neuralmd.force_field.energies import ForceFieldModel


FORCE_FIELD_NUMBERS = ("--dielectric", "--minimise-steps", "--energy-frames", "--allow-scripts")
"""Options that do nothing where no force field is named."""


def add_force_field_options(group: argparse._ArgumentGroup, default_structure: str) -> None:
    """Which force field, on which structure, screened how."""
    group.add_argument("--forcefield", nargs="+", metavar="XML", help="OpenMM force-field files, e.g. amber14-all.xml")
    group.add_argument(
        "--ligand-parameters",
        action="append",
        default=[],
        type=Path,
        metavar="XML",
        help="the ligand's, for --forcefield (default: the bundled ones, for bundled 4G3E)",
    )
    add_scripts_option(group)
    group.add_argument("--system", type=Path, metavar="XML", help="serialized System, .gz welcome, in place of those")
    group.add_argument(
        "--system-top",
        type=Path,
        metavar="TOP",
        help=f"structure of --system or for --forcefield (default for the latter: {default_structure})",
    )
    group.add_argument(
        "--dielectric",
        **number(least=1.0, advice="a relative permittivity of at least 1"),
        default=4.0,
        help="relative permittivity of Coulomb energies (default: %(default)s)",
    )


def add_scripts_option(group: argparse._ActionsContainer) -> None:
    """The option that lets force-field files run what they hold, the same for every command that takes such files."""
    group.add_argument(
        "--allow-scripts", action="store_true", help="run the Python code that force-field files hold (default: refuse)"
    )


def load_force_field(
    args: argparse.Namespace,
    *,
    ligand: str | None,
    structure: Path | None,
    find_parameters: Callable[[], list[Path]],
    max_steps: int = 1,
) -> "ForceFieldModel | None":
    """The force field that the options name; None if they name none.

    Args:
        args: Parsed options.
        ligand: Residue name, if known.
        structure: For ``--forcefield`` without ``--system-top``.
        find_parameters: The ligand's, for ``--forcefield`` without ``--ligand-parameters``.
        max_steps: Of minimisation.

    Raises:
        InputError: If they contradict each other, or a file cannot be used.
    """
    if args.system is None and args.forcefield is None:
        for option in ("--ligand-parameters", "--system-top", "--allow-scripts"):
            if getattr(args, option[2:].replace("-", "_")):
                raise InputError(f"{option} needs a force field: give --forcefield (or --system)")
        refuse_unused(args, FORCE_FIELD_NUMBERS, "without a force field (--forcefield or --system)")
        return None
    if args.system is not None and (args.forcefield is not None or args.ligand_parameters):
        raise InputError("--system holds all parameters; give it without --forcefield and --ligand-parameters")
    if args.system is not None and args.allow_scripts:
        raise InputError("--allow-scripts is for force-field files; code in a --system is never run: leave it out")
    from openmm_neuralmd.force_field.energies import load_force_field_model, load_system_model

    if args.system is not None:
        if args.system_top is None:
            raise InputError(f"{args.system}: give the structure it was made from (--system-top), a PDB or GRO file")
        return load_system_model(args.system, args.system_top, dielectric=args.dielectric, max_steps=max_steps)
    chosen = args.system_top or structure
    if chosen is None:
        raise InputError("--forcefield: give a PDB file with hydrogens and the ligand's bonds (--system-top)")
    return load_force_field_model(
        [*args.forcefield, *(args.ligand_parameters or find_parameters())],
        chosen,
        ligand=ligand,
        dielectric=args.dielectric,
        max_steps=max_steps,
        allow_scripts=args.allow_scripts,
    )
