"""Options that several commands share, and what becomes of them."""

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from openmm_neuralmd.cli.parsing import name_arguments, refuse_unused, translate
from openmm_neuralmd.cli.progress import ProgressBar
from openmm_neuralmd.cli.values import interval, real, threads

if TYPE_CHECKING:  # what takes long to import is imported where it is needed, so that help is quick
    from openmm_neuralmd.data.sources import Data
    from openmm_neuralmd.data.trajectories import ReadTrajectory
    from openmm_neuralmd.force_field.energies import ForceFieldModel
    from openmm_neuralmd.models.export import Model

_FORCE_FIELD_NUMBERS = ("--dielectric", "--minimise-steps", "--energy-frames")
"""Options that do nothing where no force field is named."""
_SHOWN_SKIPPED, _SHOWN_NOTES = 10, 20  # lines at most: a list of thousands of complexes may have one for each


def add_complex_argument(parser: argparse.ArgumentParser, formats: str) -> None:
    """The complex itself, of which ``formats`` says what it may be."""
    parser.add_argument(
        "complex_file",
        nargs="?",
        metavar="COMPLEX",
        help=f"folder of `neuralmd prepare`, or {formats} (default: 4G3E)",
    )


def add_ligand_option(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Which residue is the ligand."""
    parser.add_argument(
        "--ligand", required=required, metavar="RES", help="residue name, NAME:CHAIN or NAME:CHAIN:NUMBER"
    )


def add_superpose_option(parser: argparse.ArgumentParser, shown: str, default: str | None = None) -> None:
    """What frames are laid on; ``shown`` is the default in words."""
    from openmm_neuralmd.molecule.site import SUPERPOSITIONS

    parser.add_argument(
        "--superpose",
        dest="superpose_on",
        choices=SUPERPOSITIONS,
        default=default,
        help=f"CA atoms to lay frames on (default: {shown})",
    )


def add_threads_option(parser: argparse.ArgumentParser, default: int | None = None) -> None:
    """CPU threads; the libraries' own choice by default."""
    told = "CPU threads" if default is None else "CPU threads (default: %(default)s)"
    parser.add_argument("--threads", **threads(), default=default, metavar="N", help=told)


def add_quiet_option(parser: argparse.ArgumentParser) -> None:
    """No bar."""
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Of commands that write a run directory, which may hold a run already."""
    parser.add_argument("--resume", action="store_true", help="go on with the run in DIR")
    parser.add_argument("--force", dest="overwrite", action="store_true", help="replace the run in DIR")
    add_quiet_option(parser)
    parser.add_argument("--json", action="store_true", help="print run.json instead of the summary")
    parser.add_argument("--out", required=True, metavar="DIR", help="run directory")


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Where complexes are, and how their trajectories are read."""
    from openmm_neuralmd.data.entries import TABLE_COLUMNS

    parser.add_argument("--top", help="PDB or other topology of the trajectories")
    parser.add_argument(
        "--complex",
        dest="complex_file",
        metavar="FILE",
        help="rigid protein and ligand pose to superpose on: PDB, GRO, TPR, a folder of neuralmd prepare, or 'bundled' "
        "(4G3E; default: TOP itself)",
    )
    add_ligand_option(parser)
    parser.add_argument("--sdf", help="the ligand's bonds, their orders and ideal geometry")
    parser.add_argument(
        "--interval",
        dest="frame_interval",
        **interval(),
        metavar="PS",
        help="frame interval, where the file does not say it",
    )
    add_superpose_option(parser, "pocket; all for MISATO")
    parser.add_argument(
        "--split", **real(above=0.0, most=1.0), default=0.8, help="training part in time (default: %(default)s)"
    )
    parser.add_argument(
        "--complexes",
        metavar="LIST.csv",
        help=f"several complexes: a table with the columns {', '.join(TABLE_COLUMNS)}",
    )
    parser.add_argument("--misato", metavar="MD.hdf5", help="several complexes: MISATO's file, with --split-file")
    parser.add_argument("--split-file", metavar="LIST.txt", help="names of complexes in MISATO's file, one a line")
    name_arguments(parser, interval="--interval")


def read_data(
    args: argparse.Namespace, trajectories: Sequence[str], *, part: str, read: "ReadTrajectory | None" = None
) -> "Data":
    """The complexes that the options name; what was mended or skipped on reading goes to stderr.

    Args:
        args: Parsed options.
        trajectories: Of one complex, if that is what was given.
        part, read: As in ``load_data``.

    Raises:
        InputError: As ``load_data``.
    """
    from openmm_neuralmd.data.sources import load_data

    with closing(ProgressBar("complex", is_quiet=args.quiet, is_passing=True)) as bar:
        data = load_data(
            trajectories,
            part=part,
            top=args.top,
            complex_file=args.complex_file,
            ligand=args.ligand,
            sdf=args.sdf,
            complexes=args.complexes,
            misato=args.misato,
            split_file=args.split_file,
            validation_file=getattr(args, "validation_file", None),
            frame_interval=args.frame_interval,
            superpose_on=args.superpose_on,
            progress=bar.show,
            **({} if read is None else {"read": read}),
        )
    notes = [f"note: {note}" for note in data.notes]
    lines = _shorten(notes, _SHOWN_NOTES, "note: and {} more such notes")
    if data.skipped:
        reasons = [f"  {reason}" for reason in data.skipped.values()]
        lines.append(f"complexes left out, with the reason ({len(reasons)}):")
        lines += _shorten(reasons, _SHOWN_SKIPPED, "  and {} more")
    for line in lines:
        print(translate(line, args.names), file=sys.stderr)
    return data


def _shorten(lines: Sequence[str], most: int, rest: str) -> list[str]:
    """The first lines, and ``rest`` with the number of those left out, where there are more than ``most``."""
    return [*lines[:most], *([rest.format(len(lines) - most)] if len(lines) > most else [])]


def add_force_field_options(group: argparse._ArgumentGroup, default_structure: str) -> None:
    """Which force field, on which structure, screened how."""
    group.add_argument("--forcefield", nargs="+", metavar="XML", help="OpenMM force-field files, e.g. amber14-all.xml")
    group.add_argument(
        "--ligand-parameters",
        action="append",
        default=[],
        metavar="XML",
        help="the ligand's, for --forcefield (default: the bundled ones, for bundled 4G3E)",
    )
    add_scripts_option(group)
    group.add_argument("--system", metavar="XML", help="serialized System, .gz welcome, in place of those")
    group.add_argument(
        "--system-top",
        metavar="TOP",
        help=f"structure of --system or for --forcefield (default for the latter: {default_structure})",
    )
    group.add_argument(
        "--dielectric",
        **real(least=1.0, advice="a relative permittivity of at least 1"),
        default=4.0,
        help="relative permittivity of Coulomb energies (default: %(default)s)",
    )


def is_force_field_named(args: argparse.Namespace) -> bool:
    """Whether an option asks for a force field."""
    return any((args.system, args.forcefield, args.ligand_parameters, args.system_top, args.allow_scripts))


def read_force_field(
    args: argparse.Namespace,
    *,
    ligand: str | None,
    default_structure: str | Path | None,
    find_parameters: Callable[[], list[Path]],
    max_steps: int,
) -> "ForceFieldModel | None":
    """The force field that the options name; None if they name none.

    Args:
        args: Parsed options.
        ligand, default_structure, find_parameters, max_steps: As in ``choose_force_field``.

    Raises:
        InputError: As ``choose_force_field``, or if an option would have no effect.
    """
    if is_force_field_named(args):
        from openmm_neuralmd.force_field.choice import choose_force_field

        return choose_force_field(
            forcefield=args.forcefield,
            ligand_parameters=args.ligand_parameters,
            system=args.system,
            system_top=args.system_top,
            allow_scripts=args.allow_scripts,
            ligand=ligand,
            default_structure=default_structure,
            find_parameters=find_parameters,
            dielectric=args.dielectric,
            max_steps=max_steps,
        )
    refuse_force_field_numbers(args)
    return None


def refuse_force_field_numbers(args: argparse.Namespace) -> None:
    """Refuse options that do nothing where no force field is named.

    Raises:
        InputError: If one of them was typed.
    """
    refuse_unused(args, _FORCE_FIELD_NUMBERS, "without a force field (--forcefield or --system)")


def add_scripts_option(group: argparse._ActionsContainer) -> None:
    """The option that lets force-field files run what they hold, the same for every command that takes such files."""
    group.add_argument(
        "--allow-scripts", action="store_true", help="run the Python code that force-field files hold (default: refuse)"
    )


def open_model(name: str) -> "Model":
    """A bundled model by its name, or that of a file."""
    from openmm_neuralmd.models.export import BUNDLED, load_bundled_model, load_model

    return load_bundled_model(name) if name in BUNDLED else load_model(name)
