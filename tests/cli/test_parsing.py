"""Messages of the library, told to a user of the command line: arguments become the options of the command."""

import re

import pytest

from openmm_neuralmd.cli import COMMANDS, build_parser
from openmm_neuralmd.cli.parsing import Parser, map_options, name_arguments, translate
from tests.helpers import ROOT


@pytest.fixture
def parser() -> Parser:
    parser = Parser()
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--force", dest="overwrite", action="store_true")
    parser.add_argument("--no-projection", dest="projection", action="store_false")
    parser.add_argument("--interval", dest="frame_interval")
    parser.add_argument("--threads")
    parser.add_argument("--format", dest="formats", action="append")
    parser.add_argument("-d", "--device")
    name_arguments(parser, interval="--interval")
    return parser


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("give `overwrite=True` to replace it", "give --force to replace it"),
        ("leave out `overwrite`", "leave out --force"),
        ("say `projection=False`", "say --no-projection"),
        ("(`frame_interval`), or `interval`", "(--interval), or --interval"),
        ("give `device=cpu`", "give --device cpu"),
        ('give `device="cpu"`', "give --device cpu"),
        ("`run`: no such file", "RUN: no such file"),
        ("threads is 0; give 1 or more", "--threads is 0; give 1 or more"),
        ("formats[1] is 5; give a text", "--format is 5; give a text"),
        ("threads is a file; so is it", "threads is a file; so is it"),
        ("made by `neuralmd prepare`", "made by `neuralmd prepare`"),
        ("give `unheard` or `unheard=True`", "give `unheard` or `unheard=True`"),
        ("", ""),
    ],
)
def test_arguments_become_options(parser: Parser, told: str, shown: str) -> None:
    assert translate(told, map_options(parser)) == shown


def test_every_argument_of_a_message_has_an_option_somewhere() -> None:
    names = {name for command in COMMANDS for name in map_options(_get_subparser(command))}
    found: dict[str, str] = {}
    for path in (ROOT / "openmm_neuralmd").rglob("*.py"):
        if "cli" not in path.parts:
            for name in re.findall(r"(?<!`)`([a-z_]+)(?:=[^`\s]+)?`(?!`)", path.read_text()):
                found.setdefault(name, path.name)
    assert len(found) > 30
    assert {name: path for name, path in found.items() if name not in names} == {}


def _get_subparser(command: str) -> Parser:
    actions = build_parser(command)._subparsers._group_actions  # type: ignore[union-attr]
    return actions[0].choices[command]  # type: ignore[index, return-value]
