"""The layers of the package: who may import whom, and where OpenMM, mdtraj and torch.jit may appear."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.helpers import ROOT

PACKAGE = ROOT / "openmm_neuralmd"
LEVELS = {
    **dict.fromkeys(("version", "units", "errors", "files", "folders", "signals", "text", "checks", "plugins"), 0),
    "molecule": 1,
    **dict.fromkeys(("io", "dynamics"), 2),
    **dict.fromkeys(("models", "analysis"), 3),
    **dict.fromkeys(("data", "force_field", "testing"), 4),
    "simulation": 5,
    **dict.fromkeys(("preparation", "reference", "training"), 6),
    "evaluation": 7,
    "cli": 8,
}
MODULES = sorted(PACKAGE.rglob("*.py"))


@cache
def parse(source: str) -> ast.Module:
    return ast.parse(source)


@cache
def read_imports(source: str) -> tuple[tuple[str, bool], ...]:
    """Full names that a module imports, and whether only when a function runs."""
    return tuple(_find_imports(parse(source)))


def _find_imports(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    lazy = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", id(node) in lazy


def find_group(path: Path) -> str:
    """The part of the package a module belongs to; empty for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def find_upward_imports(group: str, source: str) -> list[str]:
    """Imports from groups that are not to the left."""
    allowed = LEVELS[group] if LEVELS[group] < 2 else LEVELS[group] - 1  # beside each other only at the bottom
    wrong = []
    for name, _ in read_imports(source):
        package, _, rest = name.partition(".")
        other = rest.partition(".")[0]
        if package == "openmm_neuralmd" and other != group and LEVELS.get(other, 0) > allowed:
            wrong.append(name)
    return wrong


def imports_any(source: str, *packages: str, lazy_too: bool = True) -> bool:
    return any(
        name == p or name.startswith(f"{p}.")
        for name, lazy in read_imports(source)
        for p in packages
        if lazy_too or not lazy
    )


def uses_torch_jit(source: str) -> bool:
    tree = parse(source)
    attributes = [
        n for n in ast.walk(tree)
        if isinstance(n, ast.Attribute) and n.attr == "jit" and isinstance(n.value, ast.Name) and n.value.id == "torch"
    ]  # fmt: skip
    return bool(attributes) or imports_any(source, "torch.jit")


CHOOSE_BY_NAME = ("open", "load", "iterload", "load_frame", "load_topology", "load_hdf5", "load_lh5")
OWN_NAMES = {  # of files that this package writes or ships
    "analysis/bundled.py",
    "reference/gromacs_engine.py",
    "io/conversion.py",
}


OPTION = re.compile(r"(?<![\w-])--[a-z]")
SPOKEN_OPTIONS = {  # by module: texts that name options all the same, and why
    "reference/gromacs_tools.py": ["--version"],  # an option of gmx
}


def find_spoken_options(source: str) -> list[str]:
    """Texts, those of documentation left out, that speak of options of the command line."""
    tree = parse(source)
    silent = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)}
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent
    ]
    return [text for text in texts if OPTION.search(text)]


def chooses_a_reader_by_name(source: str) -> bool:
    """Whether mdtraj may choose the reader, some of which unpickle what they find."""
    return imports_any(source, *(f"mdtraj.{name}" for name in CHOOSE_BY_NAME)) or any(
        isinstance(n, ast.Attribute) and n.attr in CHOOSE_BY_NAME and isinstance(n.value, ast.Name)
        and n.value.id == "mdtraj"
        for n in ast.walk(ast.parse(source))
    )  # fmt: skip


@pytest.fixture(params=MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def module(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_every_group_has_a_level(module: Path) -> None:
    group = find_group(module)
    assert group == "" or group in LEVELS, f"give {group} a place in the dependency direction"


def test_imports_point_to_the_left(module: Path) -> None:
    group = find_group(module)
    if group:  # the package offers names of every group, lazily
        assert find_upward_imports(group, module.read_text()) == []


def test_molecule_models_and_dynamics_know_no_openmm_or_mdtraj(module: Path) -> None:
    group = find_group(module)
    if group in ("molecule", "models", "dynamics"):  # a complex is made from what OpenMM read
        is_complex = module == PACKAGE / "molecule" / "complex.py"
        assert not imports_any(module.read_text(), "openmm", lazy_too=not is_complex)
        assert not imports_any(module.read_text(), "mdtraj", "MDAnalysis")


def test_networks_know_no_scheme_and_dynamics_no_model(module: Path) -> None:
    if module.parent == PACKAGE / "models" / "networks":
        assert not imports_any(module.read_text(), "openmm_neuralmd.dynamics")
    if find_group(module) == "dynamics":
        assert not imports_any(module.read_text(), "openmm_neuralmd.models")


def test_openmm_is_imported_where_systems_and_structures_are_made(module: Path) -> None:
    group = find_group(module)
    if group not in ("simulation", "preparation", "reference", "force_field"):
        assert not imports_any(module.read_text(), "openmm", lazy_too=group not in ("molecule", "io"))


def test_analysis_knows_no_model(module: Path) -> None:
    if find_group(module) == "analysis":
        assert not imports_any(module.read_text(), "openmm_neuralmd.models", "openmm_neuralmd.dynamics", "torch.nn")


def test_torch_jit_is_in_export_only(module: Path) -> None:
    if module != PACKAGE / "models" / "export.py":
        assert not uses_torch_jit(module.read_text())


def test_torch_forces_are_in_force_only(module: Path) -> None:
    if module != PACKAGE / "simulation" / "force.py":
        assert not imports_any(module.read_text(), "openmmtorch", "NNPOps")


def test_no_reader_of_pickles(module: Path) -> None:
    formats = [f"mdtraj.formats.{name}" for name in ("hdf5", "lh5", "HDF5TrajectoryFile", "LH5TrajectoryFile")]
    assert not imports_any(module.read_text(), "tables", "mdtraj.io", "cloudpickle", "dill", "joblib", *formats)
    if str(module.relative_to(PACKAGE)) not in OWN_NAMES:
        assert not chooses_a_reader_by_name(module.read_text())


def test_words_and_bars_are_of_the_command_line_alone(module: Path) -> None:
    if find_group(module) != "cli":
        assert not imports_any(module.read_text(), "argparse", "tqdm")


def test_messages_speak_of_arguments_not_of_options(module: Path) -> None:
    if find_group(module) != "cli":
        allowed = SPOKEN_OPTIONS.get(str(module.relative_to(PACKAGE)), [])
        assert [text for text in find_spoken_options(module.read_text()) if text not in allowed] == []


def test_nothing_from_pyg(module: Path) -> None:
    assert not imports_any(module.read_text(), "torch_geometric", "torch_scatter", "torch_cluster", "torch_sparse")


class TestCheckers:
    """Each check finds what it is there for."""

    @pytest.mark.parametrize(
        ("group", "line"),
        [
            ("models", "from openmm_neuralmd.training.loop import Trainer"),
            ("molecule", "from openmm_neuralmd.dynamics import rollout"),
            ("analysis", "from openmm_neuralmd.models.export import load_model"),
            ("dynamics", "import openmm_neuralmd.models.export"),
            ("simulation", "def f():\n    from openmm_neuralmd.cli import main"),
            ("evaluation", "from openmm_neuralmd.cli.options import whole"),
        ],
    )
    def test_upward_import_is_found(self, group: str, line: str) -> None:
        assert find_upward_imports(group, line)

    def test_imports_to_the_left_are_fine(self) -> None:
        assert find_upward_imports("simulation", "from openmm_neuralmd.models.export import load_model") == []
        assert find_upward_imports("dynamics", "from openmm_neuralmd.molecule.chemistry import find_torsions") == []

    def test_lazy_imports_are_told_apart(self) -> None:
        lazy = "def f():\n    import openmm.app"
        assert imports_any(lazy, "openmm")
        assert not imports_any(lazy, "openmm", lazy_too=False)
        assert imports_any("from openmm import app", "openmm", lazy_too=False)

    def test_own_name_is_not_openmm(self) -> None:
        assert not imports_any("import openmm_neuralmd.units", "openmm")

    @pytest.mark.parametrize("line", ["mdtraj.load(path)", "mdtraj.open", "from mdtraj import load_frame"])
    def test_a_reader_chosen_by_name_is_found(self, line: str) -> None:
        assert chooses_a_reader_by_name(line)
        assert not chooses_a_reader_by_name("mdtraj.load_pdb(path); files.open(path)")

    @pytest.mark.parametrize(
        "line", ["import torch\ntorch.jit.script(f)", "from torch.jit import freeze", "import torch.jit"]
    )
    def test_torch_jit_is_found(self, line: str) -> None:
        assert uses_torch_jit(line)

    @pytest.mark.parametrize("line", ['raise E("give --top")', 'raise E(f"{path}: say --force")', 'a = "--out"'])
    def test_an_option_in_a_message_is_found(self, line: str) -> None:
        assert find_spoken_options(line)

    def test_documentation_may_name_options(self) -> None:
        assert find_spoken_options('"""As `neuralmd train --force`."""\nx = 1  # --force\na = "a--b"') == []
