"""Forms of entries in metadata: what is expected, in words, whether a value is that, and who complains how."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from openmm_neuralmd.checks import describe, is_count, is_number

_LONGEST_PLACE = 80  # characters of an entry's name in a message


@dataclass(frozen=True)
class Value:
    """An entry: what is expected, in words, and whether a value is that."""

    expected: str
    accepts: Callable[[Any], bool]


@dataclass(frozen=True)
class ListOf:
    """A list of entries of one form."""

    form: "Form"


@dataclass(frozen=True)
class Record:
    """Named entries; others than the named ones are free unless ``is_closed``.

    Attributes:
        required, optional: Form of each entry by name.
        is_closed: Whether no other entry is known.
    """

    required: Mapping[str, "Form"] = field(default_factory=dict)
    optional: Mapping[str, "Form"] = field(default_factory=dict)
    is_closed: bool = False

    @property
    def entries(self) -> dict[str, "Form"]:
        """All named ones."""
        return {**self.required, **self.optional}


Form = Value | ListOf | Record


class EntryError(Exception):
    """What is wrong with an entry; the message says what was found and what was expected."""


def integer(least: int, most: int) -> Value:
    """A whole number from ``least`` to ``most``."""
    return Value(f"an integer from {least} to {most}", lambda v: is_count(v) and least <= v <= most)


def number(least: float, most: float, unit: str = "") -> Value:
    """A finite number from ``least`` to ``most``; ``unit`` such as " ps", for the message."""
    return Value(f"a number from {least:g} to {most:g}{unit}", lambda v: is_number(v) and least <= v <= most)


def one_of(names: Sequence[str]) -> Value:
    """One of some texts."""
    return Value(f"one of {', '.join(names)}", lambda v: isinstance(v, str) and v in names)


FLAG = Value("true or false", lambda v: isinstance(v, bool))
TEXT = Value("a text", lambda v: isinstance(v, str))
FREE = Record()
"""Entries of any name."""


def check_form(value: Any, form: Form, place: str) -> None:
    """Raise EntryError where a value has another form; ``place`` is the entry's name, with dots."""
    if isinstance(form, Value):
        if not form.accepts(value):
            complain(place, value, form.expected)
    elif isinstance(form, ListOf):
        if not isinstance(value, list | tuple):
            complain(place, value, "a list")
        for k, entry in enumerate(value):
            check_form(entry, form.form, f"{place}[{k}]")
    else:
        _check_record(value, form, place)


def complain(place: str, found: Any, expected: str) -> NoReturn:
    """Raise EntryError for an entry."""
    place = "".join(character if character.isprintable() else "?" for character in place)
    raise EntryError(f"entry {place or 'as a whole'} is {describe(found)}; expected {expected}")


def join_place(place: str, name: str) -> str:
    """The name of an entry in another one."""
    return f"{place}.{name}"[:_LONGEST_PLACE] if place else name[:_LONGEST_PLACE]


def _check_record(value: Any, form: Record, place: str) -> None:
    if not isinstance(value, Mapping):
        complain(place, value, "entries by name")
    missing = [name for name in form.required if name not in value]
    if missing:
        raise EntryError(f"{f'entry {place} ' if place else ''}lack{'s' if place else ''} {', '.join(missing)}")
    known = form.entries
    if form.is_closed and (unknown := [name for name in value if name not in known]):
        complain(join_place(place, unknown[0]), value[unknown[0]], f"only {', '.join(known)}")
    for name, entry in value.items():
        if name in known:
            check_form(entry, known[name], join_place(place, name))
