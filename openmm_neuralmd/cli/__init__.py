"""The command line ``neuralmd``: one module for each command, each a conversion of arguments into calls of the library.

A command's module offers ``add_arguments(parser)`` and ``run(args)``; only the chosen one is imported.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from openmm_neuralmd.cli.parsing import Parser, map_options, translate
from openmm_neuralmd.errors import InputError, NeuralMDError, describe_error
from openmm_neuralmd.files import describe_storage_error
from openmm_neuralmd.signals import Terminated, end_in_order
from openmm_neuralmd.text import guard_terminal
from openmm_neuralmd.version import __version__

_BROKEN_PIPE = 141  # 128 and SIGPIPE, as of programs that it ends

COMMANDS = {
    "prepare": "make a complex from a deposited structure",
    "simulate": "move a ligand in its pocket, through OpenMM",
    "reference": "run real MD of a complex, to compare with",
    "train": "train a model on MD trajectories",
    "compare": "judge a run beside MD reference runs",
    "evaluate": "judge models on the test part of a trajectory",
    "info": "show a model file's metadata",
    "benchmark": "measure speed and memory on this machine",
}
"""What the help says of each; its module here has its name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0, or 2 after one line on stderr that says what was wrong.

    Ended by Ctrl-C it gives 130, by SIGTERM 143, by SIGHUP 129, and 141 where nobody reads its output any longer.
    """
    with guard_terminal():
        return _run(list(sys.argv[1:] if arguments is None else arguments))


def _run(words: list[str]) -> int:
    names: dict[str, str] = {}
    try:
        with end_in_order():
            _check_words(words)
            args = build_parser(next((w for w in words if w in COMMANDS), None)).parse_args(words)
            names = args.names
            args.run(args)
            print(end="", flush=True)  # here, where a full disk can still be told
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what Python flushes when it ends
        return _BROKEN_PIPE
    except (NeuralMDError, NotImplementedError, OSError) as error:
        told = describe_storage_error(error) if isinstance(error, OSError) else error
        line = translate(" ".join(str(told).split()), names) or describe_error(error)
        print(f"neuralmd: error: {line}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("neuralmd: interrupted; what was written is good up to the last snapshot", file=sys.stderr)
        return 130
    except Terminated as error:
        print(f"neuralmd: ended by {error.name}; what was written is good up to the last snapshot", file=sys.stderr)
        return int(error.code)
    return 0


def _check_words(words: Sequence[str]) -> None:
    """Arguments that no file name, label or number can be."""
    for word in words:
        if not word:
            raise InputError("one argument is empty (a shell variable that was never set?)")
        if "\0" in word:
            raise InputError(f"argument {word!r} holds a NUL character: leave it out")


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """The parser with all commands, and the options of the chosen one."""
    parser = Parser(prog="neuralmd", description="A learned force for OpenMM.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"neuralmd {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, told in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=told, description=told, allow_abbrev=False)
        if name == chosen:
            command = import_module(f"{__name__}.{name}")
            command.add_arguments(subparser)
            subparser.set_defaults(run=command.run, names=map_options(subparser))
    return parser
