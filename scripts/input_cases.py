"""Wrong calls of the command line for ``scripts/check_inputs.py``, made from tables: command, option, bad value.

A case is a good call with one thing wrong in it, and what the answer must name. Files are those of ``input_files``.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from scripts.input_files import LONG_NAME
from tests.preparation.conftest import SMILES

TRAIN = "train r1.xtc --top pocket.pdb --ligand 0WC --iterations 2 --hidden 8 --layers 1 --radial 4 --quiet"
EVALUATE = "evaluate sde.pt --trajectory r1.xtc --top pocket.pdb --ligand 0WC --split 0.5 --seeds 0 --samples 1"
REFERENCE = (
    "reference prepared --ligand-parameters gaff.xml --solvent none --time 0.04 --interval 0.02 --equilibration 0 "
    "--threads 1 --quiet"
)
SYSTEM_REFERENCE = "reference --system system.xml.gz --top start.pdb.gz --ligand 0WC --time 0.04 --interval 0.02"
GOOD = {
    "simulate": "simulate pocket.pdb --ligand 0WC --model sde.pt --snapshots 2 --quiet --out out",
    "train": f"{TRAIN} --out out/m.pt",
    "evaluate": f"{EVALUATE} --out out",
    "compare": "compare run --out out",
    "compare files": "compare r1.xtc --run-top pocket.pdb --reference r2.xtc --top pocket.pdb --out out",
    "reference": f"{REFERENCE} --out out",
    "reference system": f"{SYSTEM_REFERENCE} --equilibration 0 --quiet --out out",
    "prepare": f"prepare entry.pdb --ligand 0WC --smiles {SMILES} --out out",
    "info": "info sde.pt",
    "benchmark": "benchmark --repeats 1 --threads 1",
    "train with its bar": f"{TRAIN.removesuffix(' --quiet')} --out out/m.pt",
    "train on a piece of the protein": f"{TRAIN} --complex bundled --out out/m.pt",
    "train table": "train --complexes table.csv --iterations 2 --hidden 8 --layers 1 --radial 4 --quiet --out out/m.pt",
    "train misato": "train --misato md.h5 --split-file list.txt --iterations 2 --quiet --out out/m.pt",
    "train force field": f"{TRAIN} --kind verlet --forcefield amber14-all.xml --ligand-parameters gaff.xml --out out/m.pt",
    "train system": f"{TRAIN} --kind verlet --system system.xml.gz --system-top start.pdb.gz --out out/m.pt",
    "compare force field": "compare run --forcefield amber14-all.xml --energy-frames 2 --out out",
    "compare system": "compare run --system system.xml.gz --system-top start.pdb.gz --out out",
    "check energies": "reference prepared --ligand-parameters gaff.xml --solvent none --check-energies --out out",
    "simulate resume": "simulate --model sde.pt --snapshots 6 --quiet --resume --out run",
    "reference resume": "reference --resume --time 0.06 --quiet --out ref",
    "train resume": f"{TRAIN} --resume --out trained/m.pt",
}
"""Calls that are right but for what a case changes in them."""


class Case(NamedTuple):
    """A wrong call, and a pattern that its line on stderr must match."""

    words: tuple[str, ...]
    names: str


def change(call: str, option: str, *values: str) -> tuple[str, ...]:
    """A good call with an option's value replaced, or the option added; with a number for a positional argument."""
    words = GOOD[call].split()
    if option.isdigit():
        return (*words[: int(option)], *values, *words[int(option) + 1 :])
    if option in words:
        k = words.index(option)
        return (*words[: k + 1], *values, *words[k + 2 :])
    return (*words, option, *values)


# numbers

_NO_NUMBER = ("nan", "inf", "1e400", "many", "0x10", "1_000", "٣")
_NO_POSITIVE = (*_NO_NUMBER, "-1", "0", "-0.0")
_NO_COUNT = ("nan", "inf", "-1", "0", "1.5", "many", "0x10", "1_000", "٣", "9" * 30)
_NO_SEED = ("nan", "-1", "1.5", "many", "1_000", "9" * 30)
NUMBERS = (
    ("simulate", "--snapshots", _NO_COUNT),
    ("simulate", "--steps-per-snapshot", _NO_COUNT),
    ("simulate", "--seed", _NO_SEED),
    ("simulate", "--threads", ("0", "-1", "many", "1.5", "9" * 30)),
    ("train", "--iterations", _NO_COUNT),
    ("train", "--batch-size", _NO_COUNT),
    ("train", "--learning-rate", _NO_POSITIVE),
    ("train", "--displacement", (*_NO_NUMBER, "-1")),
    ("train", "--rollout", (*_NO_COUNT, "100")),
    ("train", "--hidden", _NO_COUNT),
    ("train", "--layers", _NO_COUNT),
    ("train", "--radial", _NO_COUNT),
    ("train", "--ligand-cutoff", (*_NO_POSITIVE, "0.1", "1e-320")),
    ("train", "--pocket-cutoff", (*_NO_POSITIVE, "0.1", "1e-320")),
    ("train", "--lag", (*_NO_POSITIVE, "1e-320", "79", "1e9")),
    ("train", "--interval", (*_NO_POSITIVE, "7")),
    ("train", "--split", (*_NO_POSITIVE, "1.5")),
    ("train", "--seed", _NO_SEED),
    ("train", "--threads", ("0", "-1", "many", "9" * 30)),
    ("train force field", "--dielectric", ("nan", "inf", "0", "-1", "0.5", "many")),
    ("evaluate", "--samples", _NO_COUNT),
    ("evaluate", "--seeds", ("-1", "nan", "1.5", "0,0", "0,,1", "0;1", "many", "9" * 30, ",", "0,-5", "1_0")),
    ("evaluate", "--split", (*_NO_POSITIVE, "1.5", "1", "0.01")),
    ("evaluate", "--interval", (*_NO_POSITIVE, "7")),
    ("compare files", "--interval", (*_NO_POSITIVE, "1e-320", "1e300")),
    ("compare files", "--run-interval", (*_NO_POSITIVE, "1e-320", "1e300")),
    ("compare force field", "--dielectric", ("nan", "inf", "0", "-1", "0.5", "many")),
    ("compare force field", "--minimise-steps", ("0", "-1", "nan", "many", "9" * 30)),
    ("compare force field", "--energy-frames", ("0", "1", "-1", "nan", "many")),
    ("reference", "--time", (*_NO_POSITIVE, "0.03", "1e30")),
    ("reference", "--interval", (*_NO_POSITIVE, "0.001", "1e-320")),
    ("reference", "--equilibration", (*_NO_NUMBER, "-1")),
    ("reference", "--temperature", (*_NO_POSITIVE, "1e30")),
    ("reference", "--timestep", (*_NO_POSITIVE, "10", "1e-320")),
    ("reference", "--seed", _NO_SEED),
    ("reference", "--threads", ("0", "-1", "many", "9" * 30)),
    ("prepare", "--ph", (*_NO_NUMBER, "-1", "15")),
    ("prepare", "--max-gap", ("-1", "nan", "many", "1.5", "1_0", "9" * 30)),
    ("benchmark", "--threads", ("0", "-1", "many", "9" * 30)),
    ("benchmark", "--repeats", _NO_COUNT),
)


def list_numbers() -> Iterator[Case]:
    """Numbers that no option of this kind takes."""
    for call, option, values in NUMBERS:
        for value in values:
            yield Case(change(call, option, value), option)


# files

_TEXTS = ("empty", "noise", "text", "folder", "fifo", "dangling", "loop")
_BINARIES = ("empty", "noise", "cut", "folder", "fifo", "dangling")
FILES = (
    ("simulate", "1", ".pdb", _TEXTS),
    ("simulate", "1", ".cif", ("empty", "noise", "text", "cut")),
    ("simulate", "1", ".gro", ("empty", "noise", "text", "fifo")),
    ("simulate", "1", ".h5", _BINARIES),
    ("simulate", "1", ".prmtop", ("empty", "noise", "text")),
    ("simulate", "1", ".tpr", ("empty", "noise")),
    ("simulate", "--sdf", ".sdf", (*_TEXTS, "cut", "noise_in")),
    ("simulate", "--model", ".pt", (*_BINARIES, "text")),
    ("train", "1", ".xtc", _BINARIES),
    ("train", "1", ".dcd", _BINARIES),
    ("train", "1", ".nc", _BINARIES),
    ("train", "1", ".trr", _BINARIES),
    ("train", "1", ".h5", _BINARIES),
    ("train", "--top", ".pdb", _TEXTS),
    ("train", "--complex", ".pdb", ("empty", "noise", "text", "fifo", "dangling")),
    ("train", "--complex", ".gro", ("empty", "noise")),
    ("train", "--sdf", ".sdf", (*_TEXTS, "cut")),
    ("train table", "--complexes", ".csv", _TEXTS),
    ("train misato", "--misato", ".hdf5", (*_BINARIES, "text")),
    ("train misato", "--split-file", ".txt", ("empty", "noise", "folder", "fifo", "dangling")),
    ("train force field", "--forcefield", ".xml", ("empty", "noise", "text", "cut", "folder", "fifo", "dangling")),
    ("train force field", "--ligand-parameters", ".xml", ("empty", "noise", "text", "cut", "folder", "dangling")),
    ("train system", "--system", ".xml.gz", ("empty", "noise", "cut", "folder", "dangling")),
    ("train system", "--system-top", ".pdb", ("empty", "noise", "text", "folder", "dangling")),
    ("evaluate", "1", ".pt", (*_BINARIES, "text")),
    ("evaluate", "--trajectory", ".xtc", _BINARIES),
    ("evaluate", "--replica", ".xtc", _BINARIES),
    ("evaluate", "--top", ".pdb", ("empty", "noise", "text", "fifo")),
    ("evaluate", "--sdf", ".sdf", ("empty", "noise", "folder")),
    ("compare files", "1", ".xtc", _BINARIES),
    ("compare files", "--reference", ".dcd", _BINARIES),
    ("compare files", "--reference", ".nc", _BINARIES),
    ("compare files", "--reference", ".h5", ("empty", "noise", "cut")),
    ("compare files", "--top", ".pdb", _TEXTS),
    ("compare files", "--run-top", ".pdb", _TEXTS),
    ("compare", "--sdf", ".sdf", (*_TEXTS, "cut")),
    ("compare force field", "--forcefield", ".xml", ("empty", "noise", "text", "cut", "folder", "dangling")),
    ("compare force field", "--ligand-parameters", ".xml", ("empty", "noise", "text", "cut", "folder", "dangling")),
    ("compare system", "--system", ".xml.gz", ("empty", "noise", "cut", "folder", "dangling")),
    ("compare system", "--system-top", ".pdb", ("empty", "noise", "text", "folder", "dangling")),
    ("reference", "1", ".pdb", ("empty", "noise", "text", "fifo", "dangling")),
    ("reference", "--ligand-parameters", ".xml", ("empty", "noise", "text", "cut", "folder", "dangling")),
    ("reference system", "--system", ".xml.gz", ("empty", "noise", "cut", "folder", "dangling")),
    ("reference system", "--top", ".pdb.gz", ("empty", "noise", "cut", "folder", "dangling")),
    ("prepare", "1", ".pdb", _TEXTS),
    ("prepare", "1", ".cif", ("empty", "noise", "text", "folder")),
    ("info", "1", ".pt", (*_BINARIES, "text", "loop")),
)
ANY_FILE = (
    ("simulate", "1"), ("simulate", "--sdf"), ("simulate", "--model"), ("train", "1"), ("train", "--top"),
    ("train", "--complex"), ("train", "--sdf"), ("train table", "--complexes"), ("train misato", "--misato"),
    ("train misato", "--split-file"), ("train system", "--system"), ("train system", "--system-top"),
    ("evaluate", "1"), ("evaluate", "--trajectory"), ("evaluate", "--replica"), ("evaluate", "--top"),
    ("compare", "1"), ("compare files", "--reference"), ("compare files", "--run-top"), ("compare", "--sdf"),
    ("compare force field", "--ligand-parameters"), ("compare system", "--system"), ("reference", "1"),
    ("reference", "--ligand-parameters"), ("reference system", "--system"), ("reference system", "--top"),
    ("prepare", "1"), ("info", "1"),
)  # fmt: skip
"""Arguments that are files to read, of which every name below must be refused."""
NAMES = ("nowhere.xyz", "/dev/null", "/dev/zero", LONG_NAME, "pocket.pdb/below", "a\0b", "two\nlines.pdb")


def list_files() -> Iterator[Case]:
    """Damaged files under the right suffix, and names behind which no file is."""
    for call, option, suffix, kinds in FILES:
        for kind in kinds:
            path = f"bad/{kind}{suffix}"
            words = change(call, option, path)
            if (call, option, suffix) == ("prepare", "1", ".pdb") or option == "--sdf":
                words = _replace_smiles(words, option)
            if (call, option) == ("simulate", "1") and kind == "folder" and suffix == ".pdb":
                words = ("simulate", path, *words[4:])
            yield Case(words, re.escape(path))
    for call, option in ANY_FILE:
        for name in NAMES:
            yield Case(change(call, option, name), "NUL" if "\0" in name else re.escape(" ".join(name.split())[:40]))
    for call, option, path, names in (
        ("train", "1", "one.dcd", "one.dcd"),
        ("train", "1", "one.xtc", "one.xtc"),
        ("evaluate", "--trajectory", "one.dcd", "one.dcd"),
        ("evaluate", "--replica", "one.xtc", "one.xtc"),
        ("compare files", "1", "one.dcd", "one.dcd"),
        ("compare files", "--reference", "one.xtc", "one.xtc"),
        ("train", "--top", "fewer.pdb", "fewer.pdb|0WC"),
        ("compare files", "--top", "fewer.pdb", "fewer.pdb|r2.xtc"),
        ("compare files", "--run-top", "fewer.pdb", "fewer.pdb|r1.xtc"),
        ("train", "1", "pocket.pdb", "pocket.pdb"),
        ("train", "1", "run", "run"),
        ("evaluate", "--trajectory", "sde.pt", "sde.pt"),
        ("info", "1", "pocket.pdb", "pocket.pdb"),
        ("info", "1", "run", "run"),
        ("simulate", "1", "ligand.sdf", "ligand.sdf"),
        ("simulate", "1", "run", "run"),
        ("simulate", "--sdf", "pocket.pdb", "pocket.pdb"),
        ("reference", "1", "run", "run"),
        ("reference", "1", "nothing_in_it", "nothing_in_it"),
        ("compare", "1", "nothing_in_it", "nothing_in_it"),
        ("compare", "1", "prepared", "prepared"),
        ("compare", "1", "pocket.pdb", "pocket.pdb"),
        ("compare files", "--reference", "nothing_in_it", "nothing_in_it"),
        ("prepare", "1", "ligand.sdf", "ligand.sdf"),
        ("prepare", "1", "sde.pt", "sde.pt"),
        ("reference system", "--top", "pocket.pdb", "pocket.pdb"),
        ("reference system", "--system", "gaff.xml", "gaff.xml"),
        ("reference", "--ligand-parameters", "system.xml.gz", "system.xml.gz"),
        ("compare system", "--system-top", "pocket.pdb", "system.xml.gz|pocket.pdb"),
    ):
        yield Case(change(call, option, path), re.escape(path) if "|" not in names else names)
    for name, line in (
        ("no_column", "ligand"), ("unknown_column", "colour"), ("header_only", "no trajectory"),
        ("bad_part", "exam"), ("bad_interval", "often"), ("nan_interval", "nan"), ("zero_interval", "interval"),
        ("lost_file", "lost.xtc"), ("no_ligand", "ligand"), ("other_ligand", "XYZ"), ("too_many_cells", "line 2"),
    ):  # fmt: skip
        yield Case(change("train table", "--complexes", f"table_{name}.csv"), line)
        yield Case(("evaluate", "sde.pt", "--complexes", f"table_{name}.csv", "--out", "out"), line)


def _replace_smiles(words: tuple[str, ...], option: str) -> tuple[str, ...]:
    """``--sdf`` stands in place of ``--smiles``."""
    if option != "--sdf" or "--smiles" not in words:
        return words
    k = words.index("--smiles")
    return (*words[:k], *words[k + 2 :])


# outputs

OUTPUTS = {
    "sde.pt/below": "sde.pt",
    "/dev/null/below": "/dev/null",
    "/proc/below": "/proc",
    LONG_NAME: "nnn.*bytes",
    "bad/dangling.pt": "bad/dangling",
    "bad/loop.pt": "bad/loop",
    "bad/fifo.pt": "bad/fifo",
    "a\0b": "NUL",
}


def list_outputs() -> Iterator[Case]:
    """Places where no result can be written; nothing may be computed first."""
    for call in ("simulate", "evaluate", "compare", "reference", "prepare", "train"):
        for path, names in OUTPUTS.items():
            yield Case(change(call, "--out", path), names)
        if call != "train":
            yield Case(change(call, "--out", "sde.pt"), "sde.pt")
    for path in ("nowhere/b.json", "sde.pt/b.json", "run", "/proc/b.json", LONG_NAME, "/dev/null/b", "bad/fifo.pt"):
        yield Case(change("benchmark", "--json", path), re.escape(path[:40]))
    yield Case(change("train", "--out", "run"), "run")
    yield Case((*change("train", "--out", "run"), "--force"), "run")
    yield Case((*change("train", "--out", "nothing_in_it/"), "--force"), "nothing_in_it")
    yield Case(change("train", "--out", "sde.pt"), "sde.pt.*--force")
    for call in ("simulate", "reference"):
        yield Case(change(call, "--out", "run"), "run.*--resume.*--force")
    yield Case(change("prepare", "--out", "prepared"), "prepared.*--force")
