"""Texts of users, labels and names of files, atoms and residues among them: where they are shown they are only text."""

import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from openmm_neuralmd.errors import InputError

_SPACES = re.compile("[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]")
_HIDDEN = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]")
"""Control characters, those that turn the direction of what follows, and halves of characters, which stand for bytes
of names that are not UTF-8."""
_ANGSTROM = re.compile(r"(?<=\[)A(?=[\]/^])")  # as a unit in brackets
_MARKUP = re.compile(r"[\\`*\[\]<>|&$~]|(?<![^\W_])_|_(?![^\W_])")  # an underscore inside a word is one in markdown too


def clean_text(text: str) -> str:
    """The text on one line, with replacement characters (U+FFFD) for what cannot be shown or steers a terminal."""
    return _HIDDEN.sub("\ufffd", _SPACES.sub(" ", text))


def clean_texts(value: Any) -> Any:
    """Plain data of lists, tuples and dictionaries with every text in it, keys too, as ``clean_text`` gives it."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_texts(k): clean_texts(v) for k, v in value.items()}
    return type(value)(clean_texts(v) for v in value) if type(value) in (list, tuple) else value


def check_label(label: str, name: str) -> str:
    """A label as it will be shown.

    Args:
        label: As typed.
        name: Of the argument, for the error.

    Raises:
        InputError: If it is not UTF-8 or has nothing to show.
    """
    if re.search("[\ud800-\udfff]", label):
        raise InputError(f"{name} {clean_text(label)}: not UTF-8; give a name in UTF-8")
    cleaned = " ".join(clean_text(label).split())
    if not cleaned:
        raise InputError(f"{name} {label!r}: nothing to show; give a name")
    return cleaned


def shorten(text: str, width: int) -> str:
    """The text as ``clean_text`` gives it, its middle left out where it is wider than ``width`` columns."""
    text = clean_text(text)
    if sum(map(_measure, text)) <= width:
        return text
    start, stop, room = 0, len(text), width - 1
    while start < stop:  # a letter from the front, two of three times, and one from the back
        is_front = start <= 2 * (len(text) - stop)
        room -= _measure(text[start if is_front else stop - 1])
        if room < 0:
            break
        start, stop = (start + 1, stop) if is_front else (start, stop - 1)
    return f"{text[:start]}\u2026{text[stop:]}"


def escape_markdown(text: str) -> str:
    """The text on one line, with backslashes before what markdown would take for its own, cells of tables included."""
    return _MARKUP.sub(r"\\\g<0>", clean_text(text))


def spell_units(title: str) -> str:
    """A title as it is shown, "RMSF [Å]"; the names of columns and rows that programs read have A for angstrom."""
    return _ANGSTROM.sub("\u00c5", title)


@contextmanager
def guard_terminal() -> Iterator[None]:
    """While it lasts, what is printed steers no terminal, and is shown with ``?`` where the terminal has no letter."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (None if s is None else _GuardedStream(s) for s in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _GuardedStream:
    """A stream whose lines are cleaned; a carriage return is kept at the start, where progress bars have it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        head = "\r" if text.startswith("\r") else ""
        cleaned = head + "\n".join(map(clean_text, text[len(head) :].split("\n")))
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(cleaned.encode(encoding, "replace").decode(encoding))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _measure(letter: str) -> int:
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
