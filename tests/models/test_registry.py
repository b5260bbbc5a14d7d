"""The registry of kinds: its own, those of other packages, broken and contested ones; no kind is named elsewhere."""

import ast
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from openmm_neuralmd.errors import ModelContractError
from openmm_neuralmd.models import registry
from openmm_neuralmd.models.kinds.kind import Kind
from openmm_neuralmd.models.registry import get_kind, list_kinds
from tests.helpers import ROOT, pretend_plugins

OWN = set(list_kinds())


class OtherKind(Kind):
    name, label, summary = "other", "Other", "a kind of another package"


KIND = OtherKind()
NO_KIND = "a text"
NAMELESS = Kind()


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretends that packages are installed: (package, kind, object) each."""
    return lambda *offers: pretend_plugins(monkeypatch, registry.OTHER_KINDS, *offers)


def test_own_kinds_say_who_they_are() -> None:
    assert {"denoising", "gnn", "ode", "sde", "verlet"} <= OWN
    for name in OWN:
        kind = get_kind(name)
        assert kind.name == name
        assert kind.label
        assert "\n" not in kind.summary


def test_kind_of_another_package(offer) -> None:
    offer(("its-package", "other", f"{__name__}:KIND"))
    assert list_kinds()[-1] == "other"
    assert get_kind("other").label == "Other"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nowhere.at_all:KIND", "package its-package cannot be imported"),
        (f"{__name__}:MISSING", "package its-package cannot be imported"),
        (f"{__name__}:NO_KIND", "package its-package is str: its entry point must name an object of .*Kind"),
        (f"{__name__}:NAMELESS", "package its-package calls itself None"),
    ],
)
def test_broken_package_is_named_and_harms_no_other(offer, value: str, message: str) -> None:
    offer(("its-package", "other", value))
    assert set(list_kinds()) == {*OWN, "other"}
    assert get_kind("sde").name == "sde"
    with pytest.raises(ModelContractError, match=message) as error:
        get_kind("other")
    assert "\n" not in str(error.value)


def test_packages_are_not_imported_before_they_are_asked_for(offer) -> None:
    offer(("its-package", "other", "this:KIND"))
    sys.modules.pop("this", None)
    assert "other" in list_kinds()
    assert get_kind("ode").name == "ode"
    assert "this" not in sys.modules


def test_kind_under_another_name(offer) -> None:
    offer(("its-package", "another", f"{__name__}:KIND"))
    with pytest.raises(ModelContractError, match="calls itself 'other'"):
        get_kind("another")


def test_name_taken_twice_is_refused(offer, caplog) -> None:
    offer(("first", "other", f"{__name__}:KIND"), ("second", "other", f"{__name__}:KIND"))
    with pytest.raises(ModelContractError, match="packages first and second: uninstall all but one"):
        get_kind("other")
    offer(("third", "sde", f"{__name__}:KIND"))
    assert get_kind("sde").label == "NeuralMD SDE"
    assert list_kinds().count("sde") == 1
    assert "package third: its kind 'sde' has the name of one of openmm_neuralmd" in caplog.text


def test_unknown_kind() -> None:
    with pytest.raises(ModelContractError, match="unknown kind of model 'x'; known are denoising, "):
        get_kind("x")


def find_comparisons(source: str) -> list[int]:
    """Lines where something is compared with the name of a kind, alone or in a tuple, list or set."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            inner = [n for part in (node.left, *node.comparators) for n in ast.walk(part)]
            if any(isinstance(n, ast.Constant) and n.value in OWN for n in inner):
                lines.append(node.lineno)
        elif isinstance(node, ast.Dict) and any(isinstance(k, ast.Constant) and k.value in OWN for k in node.keys):
            lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("path", sorted((ROOT / "openmm_neuralmd").rglob("*.py")), ids=lambda p: p.stem)
def test_no_kind_is_told_apart_by_its_name(path: Path) -> None:
    assert find_comparisons(path.read_text()) == []


@pytest.mark.parametrize("line", ['kind == "gnn"', 'x.kind not in ("ode", "sde")', 'LABELS = {"ode": 1}'])
def test_comparison_is_found(line: str) -> None:
    assert find_comparisons(line)
    assert not find_comparisons('load_bundled_model("sde"); kind == other')
