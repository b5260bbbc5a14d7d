"""Options of the command line: what each kind takes, and that those without effect are refused."""

import argparse

import pytest

from openmm_neuralmd.checks import MOST_THREADS, refuse_twice
from openmm_neuralmd.cli.parsing import list_given, note_given, refuse_unused
from openmm_neuralmd.cli.values import LARGEST_SEED, interval, read_names, read_seeds, real, seed, threads, whole
from openmm_neuralmd.errors import InputError, describe_error
from openmm_neuralmd.files import check_output_file, check_plain_file, check_writable


def parse(kind: dict, text: str) -> object:
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", **kind)
    return parser.parse_args([f"--value={text}"]).value


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (whole(), "1", 1),
        (whole(least=0), "+0", 0),
        (seed(), str(LARGEST_SEED), LARGEST_SEED),
        (real(above=0.0), "1e-3", 0.001),
        (real(above=0.0), ".5", 0.5),
        (real(least=0.0), "0", 0.0),
        (interval(), "80", 80.0),
        (threads(), str(MOST_THREADS), MOST_THREADS),
    ],
)
def test_good_values(kind, text, value) -> None:
    assert parse(kind, text) == value


@pytest.mark.parametrize("text", ["many", "0x10", "1_000", "٣", "1.5", "nan", "", "--1"])
def test_what_is_no_whole_number(text) -> None:
    with pytest.raises(argparse.ArgumentError, match="--value"):
        parse(whole(), text)


@pytest.mark.parametrize("text", ["many", "0x10", "1_000.0", "٣", "1e", "."])
def test_what_is_no_number(text) -> None:
    with pytest.raises(argparse.ArgumentError, match="--value"):
        parse(real(), text)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (whole(), "0", "--value 0: give 1 or more"),
        (whole(), "9" * 30, "give 1 or more, at most 2147483647"),
        (whole(), "9" * 5000, "give 1 or more, at most 2147483647"),
        (whole(least=2), "1", "--value 1: give 2 or more"),
        (seed(), "-1", "--value -1: give an integer from 0 to 2\\^64 - 1"),
        (seed(), str(LARGEST_SEED + 1), "give an integer from 0 to"),
        (real(above=0.0), "nan", "--value nan: give a number above 0"),
        (real(above=0.0), "1e400", "--value inf: give a number above 0"),
        (real(above=0.0), "1e-320", "give a number above 0"),
        (real(above=0.0), "-0.0", "give a number above 0"),
        (real(above=0.0, most=1.0), "1.5", "--value 1.5: give a number above 0, at most 1"),
        (real(least=0.0), "-1", "--value -1: give 0 or more"),
        (interval(), "1e300", "give a number above 0"),
        (threads(), str(MOST_THREADS + 1), f"give 1 or more, at most {MOST_THREADS}"),
    ],
)
def test_values_out_of_range_name_the_option(kind, text, message) -> None:
    with pytest.raises(InputError, match=message):
        parse(kind, text)


@pytest.mark.parametrize("text", ["-1", "1,-5", "1.5", "1,,2", "1;2", "1_0", "9" * 30, "0,0", ","])
def test_seeds_that_are_none(text) -> None:
    with pytest.raises(InputError, match=f"--seeds '{text}'"):
        read_seeds("--seeds", text)


def test_seeds() -> None:
    assert read_seeds("--seeds", "0, 42,123") == [0, 42, 123]


def test_names() -> None:
    assert read_names("--chain", "A, B") == ["A", "B"]
    with pytest.raises(InputError, match="--chain 'A,': a name is empty"):
        read_names("--chain", "A,")


def test_options_without_effect_are_told_from_defaults() -> None:
    parser = argparse.ArgumentParser()
    for option in ("--top", "--interval", "--split"):
        parser.add_argument(option, default="default")
    words = ["--top", "a", "--split=0.5"]
    args = parser.parse_args(words)
    note_given(parser, words, args)
    assert list_given(args, "--interval", "--split", "--top") == ["--split", "--top"]
    refuse_unused(args, ("--interval",), "without --reference")
    with pytest.raises(InputError, match="--top: no effect without --reference; leave it out"):
        refuse_unused(args, ("--interval", "--top"), "without --reference")
    with pytest.raises(InputError, match="--top, --split: no effect here; leave them out"):
        refuse_unused(args, ("--top", "--split"), "here")


def test_values_given_twice() -> None:
    refuse_twice("--format", ["xtc", "nc"])
    with pytest.raises(InputError, match="--format xtc is given twice, and would count as two; give it once"):
        refuse_twice("--format", ["xtc", "nc", "xtc"], "and would count as two")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (AssertionError(), "it contradicts itself"),
        (ValueError("cut here: "), "cut here"),
        (KeyError("engine"), "engine is missing"),
        (ValueError("invalid literal for int() with base 10: 'x'"), "'x' is no number"),
    ],
)
def test_reasons_are_never_empty(error, told) -> None:
    assert describe_error(error) == told


def test_places_that_cannot_be_written_to(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere")
    check_writable(tmp_path / "new" / "folder")
    check_output_file(tmp_path / "file", "--json")
    for folder in (tmp_path / "dangling", tmp_path / "file" / "below", tmp_path / (300 * "n"), "/proc/below", "a\0b"):
        with pytest.raises(InputError):
            check_writable(folder)
    for path in (
        tmp_path,
        tmp_path / "dangling",
        tmp_path / "absent" / "b.json",
        "/proc/b.json",
        tmp_path / (300 * "n"),
    ):
        with pytest.raises(InputError):
            check_output_file(path, "--json")
    with pytest.raises(InputError, match=r"--out .*is a folder"):
        check_plain_file(tmp_path, "--out")
