"""Texts of strangers on terminals, in tables and as labels."""

import io
import sys

import pytest

from openmm_neuralmd.cli import main
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.text import (
    check_label,
    clean_text,
    clean_texts,
    escape_markdown,
    guard_terminal,
    shorten,
    spell_units,
)

PLAIN = "r1 \u00c5ngstr\u00f6m \u05e9\u05dc \U0001f600 $x$ <b> |"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PLAIN, PLAIN),
        ("a\x1b[31mb\x07\x9b", "a\ufffd[31mb\ufffd\ufffd"),
        ("a\nb\r\nc\td\u2028e\x85f", "a b  c d e f"),
        ("bytes \udcff\udc80", "bytes \ufffd\ufffd"),
        ("abc\u202efed\u2066", "abc\ufffdfed\ufffd"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),  # joined signs stay joined
    ],
)  # fmt: skip
def test_text_is_one_line_that_steers_nothing(text: str, expected: str) -> None:
    assert clean_text(text) == expected
    clean_text(text).encode()


def test_plain_data_is_cleaned_whole() -> None:
    found = clean_texts({"a\n": ["\x1b", ("\udcff", 1, None, 2.5)], "b": {"c": True}})
    assert found == {"a ": ["\ufffd", ("\ufffd", 1, None, 2.5)], "b": {"c": True}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("r2_complex_80ps.dcd (SHA-256 abc)", "r2_complex_80ps.dcd (SHA-256 abc)"),
        ("a|b`c`\nd", r"a\|b\`c\` d"),
        ("_x_ *y* [z](u) <b> $m$ &lt; ~~s~~ \\", r"\_x\_ \*y\* \[z\](u) \<b\> \$m\$ \&lt; \~\~s\~\~ " + "\\\\"),
    ],
)
def test_markdown_takes_nothing_for_its_own(text: str, expected: str) -> None:
    assert escape_markdown(text) == expected


@pytest.mark.parametrize("text", ["short", "x" * 500, "\u6f22" * 100, "\U0001f600" * 50, "a" * 30 + "\u6f22" * 30])
def test_long_texts_lose_their_middle(text: str) -> None:
    found = shorten(text, 20)
    width = sum(2 if ord(c) > 0x2E80 and c != "\u2026" else 1 for c in found)
    assert width <= 20
    assert found == text if len(text) < 20 else (found[0], found[-1]) == (text[0], text[-1])
    assert width >= 18 or found == text


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("RMSF [A]", "RMSF [Å]"),
        ("error [A^2/snapshot^4]", "error [Å^2/snapshot^4]"),
        ("chain [A, B] of [Ala]", "chain [A, B] of [Ala]"),
        ("A [ps]", "A [ps]"),
    ],
)
def test_only_units_are_spelled(title: str, expected: str) -> None:
    assert spell_units(title) == expected


def test_labels_are_checked() -> None:
    assert check_label(" a\n b ", "--label") == "a b"
    with pytest.raises(InputError, match="--label a\ufffd: not UTF-8"):
        check_label("a\udcff", "--label")
    with pytest.raises(InputError, match="nothing to show"):
        check_label(" \n ", "--label")


@pytest.mark.parametrize(
    "words",
    [
        ["info", "no\x1b[31m\x9b\x07where\n.pt"],
        ["simulate", "\udcff\x1b[2J", "--out", "x"],
        ["compare", "a", "b\x1b[31m\nc", "--out", "x"],
        ["\x1b[2Jnothing\nat\nall"],
        ["compare", "a", "--superpose", "\x1b]0;title\x07", "--out", "o"],
    ],
)
def test_names_in_errors_do_not_reach_the_terminal_raw(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(words)
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.count("\n") == 1
    assert not set(error) & set(map(chr, [*range(10), *range(11, 32), *range(127, 160)]))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_terminals_that_lack_letters_show_marks(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(file, encoding, write_through=True, newline="\n"))
    with guard_terminal():
        print("\u00c5 \U0001f600 \udcff\x1b[31m\nnext")
        sys.stdout.flush()
    expected = "\u00c5 \U0001f600 \ufffd\ufffd[31m\nnext\n".encode(encoding, "replace")
    assert file.getvalue() == expected


def test_progress_bars_still_move(capsys: pytest.CaptureFixture[str]) -> None:
    from tqdm import tqdm

    with guard_terminal():
        for _ in tqdm(range(2), desc="a\x1b[31m", file=sys.stderr, mininterval=0):
            pass
    error = capsys.readouterr().err
    assert error.count("\r") >= 2
    assert "\x1b" not in error


def test_streams_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sys.stdout, sys.stderr
    with pytest.raises(ZeroDivisionError), guard_terminal():
        _ = 1 / 0
    assert (sys.stdout, sys.stderr) == before
    monkeypatch.setattr(sys, "stdout", None)  # as in programs without a console
    with guard_terminal():
        assert sys.stdout is None
