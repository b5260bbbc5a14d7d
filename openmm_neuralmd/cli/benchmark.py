"""``neuralmd benchmark``: speed and memory on this machine."""

import argparse
import json
import os
from pathlib import Path

from openmm_neuralmd.cli.options import add_threads_option
from openmm_neuralmd.cli.values import whole
from openmm_neuralmd.files import check_output_file, write_atomically


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``neuralmd benchmark``."""
    add_threads_option(parser, os.cpu_count())
    parser.add_argument("--repeats", **whole(), default=100, help="timed calls of each kind (default: %(default)s)")
    parser.add_argument("--json", metavar="F", help="write the numbers to this file too")


def run(args: argparse.Namespace) -> None:
    """Measure, print a table, write JSON where asked."""
    if args.json:
        check_output_file(args.json, "--json")
    from openmm_neuralmd.simulation.benchmark import format_table, measure

    result = measure(threads=args.threads, repeats=args.repeats)
    print(format_table(result))
    if args.json:
        write_atomically(Path(args.json), json.dumps(result, indent=1) + "\n")
