"""Every number that a module names in capitals says what it is, why it is so large, or where it comes from."""

import ast
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.helpers import ROOT

PACKAGE = ROOT / "openmm_neuralmd"
MODULES = sorted(str(p.relative_to(PACKAGE)) for p in PACKAGE.rglob("*.py"))


def find_bare_numbers(source: str) -> list[str]:
    """Names in capitals that are bound to numbers without a word about them.

    A word is a comment in the lines of the assignment, a comment above the block of lines that it stands in, or a
    docstring below it.
    """
    lines, body = source.splitlines(), ast.parse(source).body
    followers = {id(a): b for a, b in pairwise(body)}
    return [
        name
        for statement in body
        for name in _find_numbers(statement)
        if not _has_comment(lines, statement) and not _is_text(followers.get(id(statement)))
    ]


def _find_numbers(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.Assign):
        targets, value = statement.targets, statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets, value = [statement.target], statement.value
    else:
        return
    values = value.elts if isinstance(value, ast.Tuple) else [value]
    if all(map(_is_number, values)):
        names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
        yield from (name for name in names if name.isupper())


def _is_number(node: ast.expr) -> bool:
    """Whether it is written with numbers and operators only, so that its meaning is not in it."""
    inner = [n for n in ast.walk(node) if isinstance(n, ast.Constant | ast.Name | ast.Attribute | ast.Call)]
    return bool(inner) and all(isinstance(n, ast.Constant) and type(n.value) in (int, float) for n in inner)


def _is_text(statement: ast.stmt | None) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _has_comment(lines: list[str], statement: ast.stmt) -> bool:
    first = statement.lineno - 1
    if any("#" in line for line in lines[first : statement.end_lineno]):
        return True
    while first > 0 and lines[first - 1].strip():
        first -= 1
        if lines[first].startswith("#"):
            return True
        if not lines[first][:1].strip("_").isupper():  # the block is of constants only
            return False
    return False


@pytest.mark.parametrize("module", MODULES)
def test_numbers_say_what_they_are(module: str) -> None:
    bare = find_bare_numbers((PACKAGE / module).read_text())
    assert bare == [], "say beside each what it is, why it is so large, or where it comes from"


@pytest.mark.parametrize(
    ("source", "bare"),
    [
        ("LIMIT = 3.0", ["LIMIT"]),
        ("_LIMIT: float = -2 * 10**3", ["_LIMIT"]),
        ("LOW, HIGH = 1, 2", ["LOW", "HIGH"]),
        ("SIZES = (1, 2.5)", ["SIZES"]),
        ("LIMIT = 3.0  # [nm], of a bond", []),
        ('LIMIT = 3.0\n"""Of a bond [nm]."""', []),
        ("# of bonds and angles\nBOND = 3.0\nANGLE = 2.0", []),
        ("# of a bond\n\nLIMIT = 3.0", ["LIMIT"]),
        ("# a function\nlimit = f()\nLIMIT = 3.0", ["LIMIT"]),
        ("DOUBLE = 2 * LIMIT\nNAME = 'a'\nFLAG = True\nlimit = 3.0\nPAIR = (1, 'a')", []),
    ],
)
def test_bare_numbers_are_found(source: str, bare: list[str]) -> None:
    assert find_bare_numbers(source) == bare
