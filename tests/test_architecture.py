"""The picture of the packages is that of the code."""

import re
import subprocess
import sys

import pytest

from scripts import draw_architecture
from tests.helpers import ROOT

TEXT = (ROOT / "docs" / "architecture.md").read_text()


def test_picture_is_that_of_the_code_now() -> None:
    script = ROOT / "scripts" / "draw_architecture.py"
    result = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_import_is_in_the_picture() -> None:
    """As an arrow, or named in the box."""
    edges = draw_architecture.find_edges()
    implied = draw_architecture.find_implied(edges)
    picture = draw_architecture.PICTURE.read_text()
    arrows = set(re.findall(r"<title>(\w+) imports (\w+)</title>", picture))
    assert arrows == edges - implied
    assert ("training", "models") in edges
    boxes = dict(re.findall(r'"name"[^>]*>(\w+)</text>((?:\n<text class="(?:purpose|also)".*)*)', picture))
    for a, b in implied:
        assert re.search(rf"\b{b}\b", boxes[a]), f"{a} imports {b}"


def test_another_import_is_seen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    edges = draw_architecture.find_edges()
    monkeypatch.setattr(draw_architecture, "find_edges", lambda: edges | {("evaluation", "io")})
    monkeypatch.setattr(sys, "argv", ["draw_architecture.py", "--check"])
    assert draw_architecture.main() == 1
    assert "run python scripts/draw_architecture.py" in capsys.readouterr().out


def test_longer_ways_imply_shorter_ones() -> None:
    edges = {("a", "b"), ("b", "c"), ("a", "c"), ("a", "d"), ("d", "e"), ("c", "e"), ("b", "e")}
    assert draw_architecture.find_implied(edges) == {("a", "c"), ("b", "e")}


def test_text_has_a_line_for_each_package() -> None:
    for package in draw_architecture.find_packages():
        assert f"`{package}`" in TEXT, f"docs/architecture.md does not say what {package} is for"
        assert package in draw_architecture.PURPOSES, f"say in three words what {package} is for"
    assert set(draw_architecture.PURPOSES) == set(draw_architecture.find_packages())
