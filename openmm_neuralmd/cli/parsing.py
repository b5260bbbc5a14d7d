"""How words become arguments, and how messages about arguments speak of what the user typed.

The library's messages name arguments: in backquotes (`interval`, `overwrite=True`), or first in the line, as the
checkers of ``checks`` do ("threads is 0; give 1 or more"). A command keeps each option under the name of the library's
argument that it becomes (``dest``), so the parser knows what each argument is called on the command line.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from openmm_neuralmd.errors import InputError

_NAMED = re.compile(r"`(\w+)(?:=([^`]*))?`")
_CHECKED = re.compile(r"(\w+)(?:\[\d+\])?(?= is .*; (?:give|choose|this machine|a name may) )")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage, and keeps in ``args.given`` which options were typed."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())} (see {self.prog} --help)\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        words = list(sys.argv[1:] if args is None else args)
        found, rest = super().parse_known_args(words, namespace)
        note_given(self, words, found)
        return found, rest


def note_given(parser: argparse.ArgumentParser, words: Sequence[str], args: argparse.Namespace) -> None:
    """Keep in ``args.given`` which options were typed, to tell them from their defaults."""
    typed = {word.partition("=")[0] for word in words if word.startswith("-")}
    args.given = frozenset(getattr(args, "given", ())) | (typed & set(parser._option_string_actions))


def list_given(args: argparse.Namespace, *options: str) -> list[str]:
    """Those of some options that were typed."""
    return [option for option in options if option in getattr(args, "given", ())]


def refuse_unused(args: argparse.Namespace, options: Sequence[str], where: str) -> None:
    """Refuse options that would be ignored, though what they are by default may do no harm.

    Args:
        args: Parsed arguments.
        options: What has no effect in this call.
        where: Why, such as "without --reference".

    Raises:
        InputError: If one of them was typed.
    """
    given = list_given(args, *options)
    if given:
        raise InputError(f"{', '.join(given)}: no effect {where}; leave {'it' if len(given) == 1 else 'them'} out")


def name_arguments(parser: argparse.ArgumentParser, **names: str) -> None:
    """Say what arguments are called that no option of the command is kept under.

    Args:
        parser: Of the command.
        names: By argument, what stands for it on the command line.
    """
    parser.set_defaults(names={**(parser.get_default("names") or {}), **names})


def map_options(parser: argparse.ArgumentParser) -> dict[str, str]:
    """What each argument is called on the command line, by name, and by "name=value" where an option says just that."""
    names: dict[str, str] = {}
    for action in parser._actions:
        shown = action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest)
        names[action.dest] = shown
        if action.nargs == 0:
            names[f"{action.dest}={action.const}"] = shown
    return {**names, **(parser.get_default("names") or {})}


def translate(text: str, names: Mapping[str, str]) -> str:
    """A message of the library with options in place of arguments; what ``names`` does not know stays.

    Args:
        text: The message.
        names: Of ``map_options``.
    """

    def replace(match: re.Match[str]) -> str:
        name, value = match.groups()
        whole = match[0].strip("`")
        if whole in names:
            return names[whole]
        return match[0] if name not in names else f"{names[name]} {value.strip(chr(34))}"

    first = _CHECKED.match(text)
    if first is not None:
        text = names.get(first[1], first[1]) + text[first.end() :]
    return _NAMED.sub(replace, text)
