"""XML from strangers, read without what can hang a reader or make it read other files.

A document type declaration is the only place where entities are declared, those that grow to gigabytes and those that
stand for other files among them. OpenMM's formats have none, so it is refused where it begins.
"""

import re
from collections.abc import Callable, Mapping
from typing import Protocol
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from openmm_neuralmd.errors import InputError

MAX_DEPTH = 200
"""Of elements in elements: OpenMM's own files have less than 20, and its readers recurse."""


class Builder(Protocol):
    """What takes the parts of a file in their order; ``ElementTree.TreeBuilder`` is one."""

    def start(self, tag: str, attributes: dict[str, str], /) -> object: ...

    def end(self, tag: str, /) -> object: ...


def parse_xml(
    content: str | bytes,
    source: str,
    builder: Builder,
    *,
    expected: str,
    take_text: Callable[[str], object] | None = None,
) -> None:
    """Give the elements of a file to ``builder``.

    Args:
        content: The file; bytes say their encoding themselves, or are UTF-8.
        source: What the file is called in errors.
        builder: Gets each start and end.
        expected: What it should be, for errors.
        take_text: Gets the text between them; None if it does not matter.

    Raises:
        InputError: If this is no XML, has a document type declaration, or elements are nested too deep.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise InputError(f"{source}: its elements are nested more than {MAX_DEPTH} deep; give another file")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        raise InputError(f"{source}: has a document type declaration (<!DOCTYPE>), which is not read; remove it")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.StartDoctypeDeclHandler = refuse
    if take_text is not None:
        parser.CharacterDataHandler = take_text
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # ValueError: an encoding of several bytes a letter
        if isinstance(error, InputError):
            raise
        raise InputError(f"{source}: not {expected}: {' '.join(str(error).split())}") from error


def parse_tree(content: str | bytes, source: str, *, expected: str) -> Element:
    """The whole file as a tree, without comments.

    Raises:
        InputError: As ``parse_xml``.
    """
    builder = TreeBuilder()
    parse_xml(content, source, builder, expected=expected, take_text=builder.data)
    return builder.close()


_SIGNS = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;", "\n": " ", "\r": " ", "\t": " "}
_ESCAPES, _find_sign = str.maketrans(_SIGNS), re.compile(f"[{''.join(_SIGNS)}]").search


def format_start(tag: str, attributes: Mapping[str, str]) -> str:
    """The start of an element as OpenMM writes it, whatever stood in the file."""
    if _find_sign("".join(attributes.values())):
        attributes = {name: value.translate(_ESCAPES) for name, value in attributes.items()}
    written = [f' {name}="{value}"' for name, value in attributes.items()]
    return f"<{tag}{''.join(written)}>"
