"""The command line ``neuralmd``: thin, one entry in ``COMMANDS`` for each command.

A command's module offers ``add_<name>_arguments(parser)`` and ``run_<name>(args)``; only the chosen one is imported.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

from openmm_neuralmd.errors import InputError, NeuralMDError, describe_error
from openmm_neuralmd.files import describe_storage_error
from openmm_neuralmd.options import note_given
from openmm_neuralmd.signals import Terminated, end_in_order
from openmm_neuralmd.text import guard_terminal
from openmm_neuralmd.version import __version__

_BROKEN_PIPE = 141  # 128 and SIGPIPE, as of programs that it ends
_SHOWN_ENTRIES = 3  # of a list, in `neuralmd info`; all are in its --json


class Command(NamedTuple):
    """A command's module and what the help says about it."""

    module: str
    help: str


COMMANDS = {
    "prepare": Command("openmm_neuralmd.preparation.command", "make a complex from a deposited structure"),
    "simulate": Command("openmm_neuralmd.simulation.command", "move a ligand in its pocket, through OpenMM"),
    "reference": Command("openmm_neuralmd.reference.command", "run real MD of a complex, to compare with"),
    "train": Command("openmm_neuralmd.training.command", "train a model on MD trajectories"),
    "compare": Command("openmm_neuralmd.simulation.compare_command", "judge a run beside MD reference runs"),
    "evaluate": Command("openmm_neuralmd.evaluation.command", "judge models on the test part of a trajectory"),
    "info": Command("openmm_neuralmd.cli", "show a model file's metadata"),
    "benchmark": Command("openmm_neuralmd.simulation.benchmark", "measure speed and memory on this machine"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0, or 2 after one line on stderr that says what was wrong.

    Ended by Ctrl-C it gives 130, by SIGTERM 143, by SIGHUP 129, and 141 where nobody reads its output any longer.
    """
    with guard_terminal():
        return _run(list(sys.argv[1:] if arguments is None else arguments))


def _run(words: list[str]) -> int:
    try:
        with end_in_order():
            _check_words(words)
            args = build_parser(next((w for w in words if w in COMMANDS), None)).parse_args(words)
            args.run(args)
            print(end="", flush=True)  # here, where a full disk can still be told
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what Python flushes when it ends
        return _BROKEN_PIPE
    except (NeuralMDError, NotImplementedError, OSError) as error:
        told = describe_storage_error(error) if isinstance(error, OSError) else error
        print(f"neuralmd: error: {' '.join(str(told).split()) or describe_error(error)}", file=sys.stderr)
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


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())} (see {self.prog} --help)\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        words = list(sys.argv[1:] if args is None else args)
        found, rest = super().parse_known_args(words, namespace)
        note_given(self, words, found)
        return found, rest


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """The parser with all commands, and the options of the chosen one."""
    parser = _Parser(prog="neuralmd", description="A learned force for OpenMM.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"neuralmd {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=command.help, description=command.help, allow_abbrev=False)
        if name == chosen:
            _find(name, "add_{}_arguments")(subparser)
            subparser.set_defaults(run=_find(name, "run_{}"))
    return parser


def add_info_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``neuralmd info``."""
    parser.add_argument("model", metavar="M.pt", help="model file, or bundled sde or ode")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run_info(args: argparse.Namespace) -> None:
    """Print a model file's metadata."""
    from openmm_neuralmd.models.export import BUNDLED, load_bundled_model, load_model

    model = load_bundled_model(args.model) if args.model in BUNDLED else load_model(args.model)
    content = {"path": str(model.path), "sha256": model.sha256, **model.metadata}
    if args.json:
        print(json.dumps(content, indent=2))
    else:
        print("\n".join(_format_entries(content)))


def _format_entries(content: dict[str, Any], indent: int = 0) -> list[str]:
    lines = []
    for name, value in content.items():
        key = _show(name)
        if isinstance(value, dict):
            lines += [f"{' ' * indent}{key}", *_format_entries(value, indent + 2)]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for k, entry in enumerate(value[:_SHOWN_ENTRIES]):
                lines += [f"{' ' * indent}{key} {k + 1} of {len(value)}", *_format_entries(entry, indent + 2)]
        else:
            lines.append(f"{' ' * indent}{key:{max(26 - indent, 1)}} {_show(value)}")
    return lines


def _show(value: Any) -> str:
    """As text, on one line and without what a terminal would obey: a file may say anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))


def _find(name: str, pattern: str) -> Callable[..., Any]:
    return getattr(import_module(COMMANDS[name].module), pattern.format(name))


if __name__ == "__main__":
    sys.exit(main())
