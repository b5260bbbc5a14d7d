"""Options of complexes and their trajectories, the same for ``neuralmd train`` and ``neuralmd evaluate``."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from openmm_neuralmd.data.entries import TABLE_COLUMNS as COLUMNS
from openmm_neuralmd.data.entries import Entry, load_misato_entries, load_table
from openmm_neuralmd.data.trajectories import LigandTrajectory, load_ligand_trajectory
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.io.structures import find_structure_file, load_structure
from openmm_neuralmd.molecule.complex import is_prepared, load_bundled_complex, load_prepared_complex
from openmm_neuralmd.molecule.residues import select_residue
from openmm_neuralmd.molecule.site import SUPERPOSITIONS
from openmm_neuralmd.options import interval, number, refuse_twice, refuse_unused

ReadTrajectory = Callable[..., LigandTrajectory]
"""What takes the arguments of ``load_ligand_trajectory``."""
_SHOWN_SKIPPED = 10
_SHOWN_NOTES = 20
_ONE_COMPLEX = (("top", "--top"), ("complex_file", "--complex"), ("ligand", "--ligand"), ("sdf", "--sdf"))
_MISATO = (("split_file", "--split-file"), ("validation_file", "--validation-file"))


@dataclass(frozen=True)
class Data:
    """Complexes by part, and why others of the list cannot be used, by name."""

    parts: dict[str, list[Entry]]
    skipped: dict[str, str] = field(default_factory=dict)


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Where the complexes are, and how their trajectories are read."""
    parser.add_argument("--top", help="PDB or other topology of the trajectories")
    parser.add_argument(
        "--complex",
        dest="complex_file",
        metavar="FILE",
        help="rigid protein and ligand pose to superpose on: PDB, GRO, TPR, a folder of neuralmd prepare, or 'bundled' "
        "(4G3E; default: TOP itself)",
    )
    parser.add_argument("--ligand", metavar="RES", help="residue name, NAME:CHAIN or NAME:CHAIN:NUMBER")
    parser.add_argument("--sdf", help="the ligand's bonds, their orders and ideal geometry")
    parser.add_argument("--interval", **interval(), metavar="PS", help="frame interval, where the file does not say it")
    parser.add_argument(
        "--superpose", choices=SUPERPOSITIONS, help="CA atoms to lay frames on (default: pocket; all for MISATO)"
    )
    parser.add_argument(
        "--split", **number(above=0.0, most=1.0), default=0.8, help="training part in time (default: %(default)s)"
    )
    parser.add_argument(
        "--complexes", metavar="LIST.csv", help=f"several complexes: a table with the columns {', '.join(COLUMNS)}"
    )
    parser.add_argument("--misato", metavar="MD.hdf5", help="several complexes: MISATO's file, with --split-file")
    parser.add_argument("--split-file", metavar="LIST.txt", help="names of complexes in MISATO's file, one a line")


def load_data(
    args: argparse.Namespace, paths: Sequence[str], *, part: str, read: ReadTrajectory = load_ligand_trajectory
) -> Data:
    """The complexes that the options name; what was mended or skipped on reading goes to stderr.

    Args:
        args: Parsed options.
        paths: Trajectories of one complex, if that is what was given.
        part: Which part of a split MISATO's list is: "training" or "test".
        read: Reads a trajectory of one complex.

    Raises:
        InputError: If not exactly one source is given, options are missing, or files cannot be read.
    """
    given = {"a trajectory": bool(paths), "--complexes": bool(args.complexes), "--misato": bool(args.misato)}
    sources = [name for name, is_given in given.items() if is_given]
    if len(sources) != 1:
        raise InputError(
            f"{' and '.join(sources) or 'nothing'} given: give trajectories with --top and --ligand, or --complexes, "
            "or --misato with --split-file"
        )
    unused = [*(() if paths else _ONE_COMPLEX), *(() if args.misato else _MISATO)]
    wrong = [option for name, option in unused if getattr(args, name, None)]
    if wrong:
        raise InputError(f"{', '.join(wrong)} cannot be used with {sources[0]}: leave it out")
    refuse_twice("trajectory", paths, "and would count as two")
    if args.complex_file == "bundled":
        refuse_unused(args, ("--sdf",), "with --complex bundled, which has its own")
    if paths:
        data = Data({part: [_load_entry(args, paths, read)]})
    elif args.complexes:
        data = Data(load_table(args.complexes, frame_interval=args.interval, superpose_on=args.superpose or "pocket"))
    else:
        data = _load_misato(args, part)
    everything = [entry for entries in data.parts.values() for entry in entries]
    notes = [n for e in everything for n in (*e.complex.notes, *(n for t in e.trajectories for n in t.notes))]
    for note in notes[:_SHOWN_NOTES]:
        print(f"note: {note}", file=sys.stderr)
    if len(notes) > _SHOWN_NOTES:
        print(f"note: and {len(notes) - _SHOWN_NOTES} more such notes", file=sys.stderr)
    _print_skipped(data.skipped)
    return data


def _load_entry(args: argparse.Namespace, paths: Sequence[str], read: ReadTrajectory) -> Entry:
    if args.complex_file == "bundled":
        complex_ = load_bundled_complex()
        if args.ligand is not None:
            select_residue(complex_.topology, args.ligand)
    elif args.complex_file and args.ligand is None and args.sdf is None and is_prepared(args.complex_file):
        complex_ = load_prepared_complex(args.complex_file)
    else:
        source = find_structure_file(args.complex_file, args.top, paths)
        if source is None or args.ligand is None:
            raise InputError("give --ligand, and --top or --complex: which residue is the ligand, and in which protein")
        complex_ = load_structure(
            source,
            args.ligand,
            sdf=args.sdf,
            trajectory=None if args.complex_file else paths[0],
            frame_interval=args.interval,
        )
    superpose = args.superpose or "pocket"
    trajectories = [
        read(path, args.top, complex_, frame_interval=args.interval, superpose_on=superpose) for path in paths
    ]
    return Entry(complex_, trajectories)


def _load_misato(args: argparse.Namespace, part: str) -> Data:
    if args.split_file is None:
        raise InputError("--misato needs --split-file: a list of complexes, one name a line")
    lists = {part: args.split_file}
    if getattr(args, "validation_file", None):
        lists["validation"] = args.validation_file
    skipped: dict[str, str] = {}
    parts = {
        name: load_misato_entries(
            args.misato,
            path,
            skipped,
            frame_interval=args.interval,
            superpose_on=args.superpose or "all",
        )
        for name, path in lists.items()
    }
    return Data(parts, skipped)


def _print_skipped(skipped: dict[str, str]) -> None:
    if skipped:
        print(f"complexes left out, with the reason ({len(skipped)}):", file=sys.stderr)
        for reason in list(skipped.values())[:_SHOWN_SKIPPED]:
            print(f"  {reason}", file=sys.stderr)
        if len(skipped) > _SHOWN_SKIPPED:
            print(f"  and {len(skipped) - _SHOWN_SKIPPED} more", file=sys.stderr)
