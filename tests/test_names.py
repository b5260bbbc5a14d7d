"""A public name stands for one thing in the whole package."""

import ast
from collections import defaultdict
from pathlib import Path

from tests.helpers import ROOT

PACKAGE = ROOT / "openmm_neuralmd"
_OF_COMMANDS = "what every module of a command offers"
_REGISTERED = "what the registry looks for in each of its files"
ALLOWED = {
    **dict.fromkeys(("add_arguments", "run"), _OF_COMMANDS),
    **dict.fromkeys(("KIND", "SCHEME", "FORMAT"), _REGISTERED),
}
"""Names that two modules may define, and why."""


def list_public_names(source: str) -> set[str]:
    """Classes, functions and constants that a module defines at its top; types of names alone do not count."""
    names: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def find_doubles(modules: dict[str, str]) -> dict[str, list[str]]:
    """Modules that define a name, for each name that more than one of them defines."""
    owners: dict[str, list[str]] = defaultdict(list)
    for module, source in sorted(modules.items()):
        for name in list_public_names(source):
            owners[name].append(module)
    return {name: found for name, found in sorted(owners.items()) if len(found) > 1}


def read_modules() -> dict[str, str]:
    return {str(Path(p).relative_to(PACKAGE)): p.read_text() for p in PACKAGE.rglob("*.py")}


def test_no_name_stands_for_two_things() -> None:
    doubles = {name: found for name, found in find_doubles(read_modules()).items() if name not in ALLOWED}
    assert doubles == {}, "rename one of them, or import it from the other module"


def test_doubles_are_found() -> None:
    first = "class A: pass\ndef f(): pass\nB, C = 1, 2\n_D = 3\nfrom x import E"
    second = "A: int = 1\ndef f(): pass\nC = 3\n_D = 3\nfrom x import E\nclass F:\n    def g(self): pass"
    assert find_doubles({"a.py": first, "b.py": second, "c.py": "def g(): pass"}) == {
        "A": ["a.py", "b.py"],
        "C": ["a.py", "b.py"],
        "f": ["a.py", "b.py"],
    }
