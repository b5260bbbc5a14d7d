"""Wrong calls of the command line for ``scripts/check_inputs.py``, made from tables: command, option, bad value.

A case is a good call with one thing wrong in it, and what the answer must name. Files are those of ``input_files``.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from scripts.input_files import LONG_NAME, RUN_RECORDS
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
    "train table": "train --complexes table.csv --iterations 2 --hidden 8 --layers 1 --radial 4 --quiet --out out/m.pt",
    "train misato": "train --misato md.h5 --split-file list.txt --iterations 2 --quiet --out out/m.pt",
    "train force field": f"{TRAIN} --kind verlet --forcefield amber14-all.xml --ligand-parameters gaff.xml --out out/m.pt",
    "train system": f"{TRAIN} --kind verlet --system system.xml.gz --system-top start.pdb.gz --out out/m.pt",
    "compare force field": "compare run --forcefield amber14-all.xml --out out",
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


def list_cases() -> list[Case]:
    """Every wrong call."""
    return [
        *list_numbers(),
        *list_files(),
        *list_outputs(),
        *list_combinations(),
        *list_texts(),
        *list_runs(),
        *list_records(),
        *list_arguments(),
    ]


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
            yield Case(change(call, option, name), "NUL" if "\0" in name else re.escape(" ".join(name.split())[:60]))
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
    LONG_NAME: "long",
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
        yield Case(change("benchmark", "--json", path), re.escape(path[:60]) if path != LONG_NAME else "long")
    yield Case(change("train", "--out", "run"), "run")
    yield Case((*change("train", "--out", "run"), "--force"), "run")
    yield Case((*change("train", "--out", "nothing_in_it/"), "--force"), "nothing_in_it")
    yield Case(change("train", "--out", "sde.pt"), "sde.pt.*--force")
    for call in ("simulate", "reference"):
        yield Case(change(call, "--out", "run"), "run.*--resume.*--force")
    yield Case(change("prepare", "--out", "prepared"), "prepared.*--force")


# options that contradict each other, or have no effect

COMBINATIONS = (
    ("simulate", "--resume --force", "--resume.*--force"),
    ("simulate", "--format xtc --format xtc", "--format.*xtc.*twice"),
    ("simulate", "--format dcd --format dcd", "--format.*dcd.*twice"),
    ("simulate", "--quiet --resume", "out"),
    ("train", "--resume --force", "--resume.*--force"),
    ("train", "--resume", "out"),
    ("train", "--complexes table.csv", "--complexes"),
    ("train", "--misato md.h5", "--misato"),
    ("train", "--split-file list.txt", "--split-file"),
    ("train", "--validation-file list.txt", "--validation-file"),
    ("train", "--dielectric 2", "--dielectric"),
    ("train", "--forcefield amber14-all.xml", "--forcefield"),
    ("train", "--system system.xml.gz --system-top start.pdb.gz", "--system"),
    ("train", "--kind verlet --ligand-parameters gaff.xml", "--ligand-parameters"),
    ("train", "--kind verlet --system-top pocket.pdb", "--system-top"),
    ("train", "--kind verlet --velocity-mapping", "--velocity"),
    ("train", "--kind gnn --displacement 0.5", "--displacement"),
    ("train", "--kind denoising --rollout 2", "--rollout"),
    ("train", "--kind gnn --velocity-refinement", "--velocity"),
    ("train", "--complex bundled", "--ligand"),
    ("train", "--complex bundled --sdf ligand.sdf", "--ligand|--sdf"),
    ("train", "--complex prepared", "--ligand|prepared"),
    ("train table", "--top pocket.pdb", "--top"),
    ("train table", "--ligand 0WC", "--ligand"),
    ("train table", "--sdf ligand.sdf", "--sdf"),
    ("train table", "--complex bundled", "--complex"),
    ("train table", "--split-file list.txt", "--split-file"),
    ("train table", "--system system.xml.gz", "--system"),
    ("train misato", "--top pocket.pdb", "--top"),
    ("train force field", "--system system.xml.gz", "--system"),
    ("train system", "--forcefield amber14-all.xml", "--system"),
    ("train system", "--ligand-parameters gaff.xml", "--system"),
    ("evaluate", "--complexes table.csv", "--complexes"),
    ("evaluate", "--misato md.h5 --split-file list.txt", "--misato"),
    ("evaluate", "--split-file list.txt", "--split-file"),
    ("evaluate", "--complex bundled", "--ligand"),
    ("compare", "--top pocket.pdb", "--top.*--reference"),
    ("compare", "--interval 80", "--interval.*--reference"),
    ("compare", "--run-top pocket.pdb", "--run-top"),
    ("compare", "--run-interval 80", "--run-interval"),
    ("compare", "--dielectric 2", "--dielectric"),
    ("compare", "--minimise-steps 20", "--minimise-steps"),
    ("compare", "--energy-frames 20", "--energy-frames"),
    ("compare", "--ligand-parameters gaff.xml", "--ligand-parameters"),
    ("compare", "--system-top pocket.pdb", "--system-top"),
    ("compare", "--system system.xml.gz", "--system-top"),
    ("compare", "--reference ref --interval 80", "--interval"),
    ("compare", "--reference ref --top pocket.pdb", "--top"),
    ("compare files", "--top pocket.pdb", "--top"),
    ("compare force field", "--system system.xml.gz --system-top start.pdb.gz", "--system"),
    ("compare system", "--ligand-parameters gaff.xml", "--system"),
    ("reference", "--resume --force", "exclude|--resume"),
    ("reference", "--top start.pdb.gz", "--top"),
    ("reference", "--system system.xml.gz", "--system"),
    ("reference", "--padding 1", "--padding"),
    ("reference", "--pressure 1", "--pressure"),
    ("reference", "--engine gromacs --platform CPU", "--platform"),
    ("reference system", "--sdf ligand.sdf", "--sdf"),
    ("reference system", "--solvent none", "--solvent"),
    ("reference system", "--padding 1", "--padding"),
    ("reference system", "--pressure 1", "--pressure"),
    ("reference system", "--ligand-parameters gaff.xml", "--ligand-parameters"),
    ("check energies", "--resume", "--resume"),
    ("check energies", "--force", "--force"),
    ("check energies", "--time 10", "--time"),
    ("check energies", "--interval 10", "--interval"),
    ("check energies", "--temperature 310", "--temperature"),
    ("check energies", "--timestep 2", "--timestep"),
    ("check energies", "--equilibration 2", "--equilibration"),
    ("check energies", "--platform CPU", "--platform"),
    ("check energies", "--engine gromacs", "--engine"),
    ("reference resume", "--ligand XYZ", "--ligand"),
    ("reference resume", "--solvent none", "--solvent|complex"),
    ("reference resume", "--padding 1", "--padding|complex"),
    ("prepare", "--sdf ligand.sdf", "--sdf"),
    ("prepare", "--pdb-id 4G3E", "--pdb-id"),
    ("benchmark", "--out out", "--out"),
    ("info", "--out out", "--out"),
)


def list_combinations() -> Iterator[Case]:
    """Options that exclude each other, lack another one, or would be ignored."""
    for call, more, names in COMBINATIONS:
        yield Case((*GOOD[call].split(), *more.split()), names)
    for words, names in (
        ("simulate --ligand 0WC --out out", "--ligand"),
        ("simulate --sdf ligand.sdf --out out", "--sdf"),
        ("simulate pocket.pdb --out out", "--ligand"),
        ("simulate prepared --sdf ligand.sdf --out out", "--ligand|--sdf"),
        ("simulate prepared --ligand 0WC --out out", "--ligand"),
        ("reference --ligand 0WC --out out", "--ligand"),
        ("reference pocket.pdb --out out", "--ligand"),
        ("train --out out/m.pt", "nothing"),
        ("train r1.xtc --out out/m.pt", "--ligand"),
        ("train r1.xtc --top pocket.pdb --out out/m.pt", "--ligand"),
        ("train --misato md.h5 --out out/m.pt", "--split-file"),
        ("train r1.xtc --complex bundled --out out/m.pt", "--top"),
        ("train r1.xtc r1.xtc --top pocket.pdb --ligand 0WC --out out/m.pt", "r1.xtc.*twice"),
        ("evaluate sde.pt --out out", "nothing"),
        ("evaluate sde.pt --replica r2.xtc --out out", "--replica"),
        ("evaluate sde.pt --complexes table.csv --split 0.5 --out out", "--split"),
        ("evaluate sde.pt slow.pt --trajectory r1.xtc --top pocket.pdb --ligand 0WC --split 0.5 --out out", "interval"),
        ("evaluate sde.pt sde.pt --trajectory r1.xtc --top pocket.pdb --ligand 0WC --split 0.5 --out out", "sde.pt.*twice"),
        ("compare r1.xtc --out out", "--run-top"),
        ("compare r1.xtc --run-top pocket.pdb --reference r2.xtc --out out", "--top"),
        ("compare run --reference r1.xtc --reference r2.xtc --top pocket.pdb --top pocket.pdb --top pocket.pdb --out out", "--top"),
        ("compare run --reference r1.xtc --reference r1.xtc --top pocket.pdb --out out", "r1.xtc.*twice"),
        ("reference --system system.xml.gz --top start.pdb.gz prepared --out out", "COMPLEX"),
        ("reference prepared --solvent obc2 --engine gromacs --out out", "obc2"),
        ("prepare --ligand 0WC --out out", "PDB|--pdb-id"),
    ):  # fmt: skip
        yield Case(tuple(words.split()), names)


# texts

TEXTS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("simulate", "--ligand", ("XYZ", "ALA", "HOH", ":", "0WC:Z", "0WC:B:1:2", "0WC:B:99999", " ", "0wc"), "{}"),
    ("simulate", "--scheme", ("euler2", "Leapfrog", " "), "scheme"),
    ("simulate", "--backend", ("jax", " "), "backend"),
    ("simulate", "--platform", ("Abacus", "OpenMM", " "), "platform"),
    ("simulate", "--format", ("trr", "XTC", "pdb", " "), "format"),
    ("simulate", "--model", ("SDE", "gnn", "sde.PT"), "{}"),
    ("train", "--kind", ("mlp", "SDE"), "--kind"),
    ("train", "--superpose", ("none", "Pocket"), "--superpose"),
    ("train", "--device", ("tpu", "cuda:99", "cuda:-1", " "), "device"),
    ("train", "--ligand", ("XYZ", "0WC:Q", "ALA"), "{}"),
    ("evaluate", "--ligand", ("XYZ",), "{}"),
    ("evaluate", "--superpose", ("none",), "--superpose"),
    ("evaluate", "1", ("SDE",), "{}"),
    ("compare", "--ligand", ("XYZ", "ALA", " "), "{}"),
    ("compare", "--superpose", ("none",), "--superpose"),
    ("compare", "--label", ("r1", "r2", "frozen", "mean", " ", "two\nlines", "tab\tbed", "bell\a", "a\0b"), "--label|NUL"),
    ("compare", "--label", ("n" * 2000,), "--label"),
    ("compare files", "--label", ("r2",), "--label.*r2"),
    ("compare files", "--ligand", ("XYZ",), "{}"),
    ("compare force field", "--forcefield", ("amber99.xml", "amber14"), "{}"),
    ("reference", "--ligand", ("XYZ", "0WC:Q"), "{}|--ligand|0WC"),
    ("reference", "--engine", ("amber", "OpenMM"), "--engine"),
    ("reference", "--solvent", ("water", "TIP3P"), "--solvent"),
    ("reference", "--platform", ("Abacus",), "platform"),
    ("prepare", "--ligand", ("XYZ", "ALA", "0WC:Z", "0WC:B:1:2"), "{}"),
    ("prepare", "--chain", ("Z", "B,Z", ","), "chain"),
    ("prepare", "--remove", ("SO4", ","), "--remove"),
    ("prepare", "--smiles", ("C(", "CC", "C.C", " ", "[Na+]", "c1ccccc"), "smiles|SMILES|0WC"),
)  # fmt: skip


def list_texts() -> Iterator[Case]:
    """Names that mean nothing here."""
    for call, option, values, names in TEXTS:
        for value in values:
            yield Case(change(call, option, value), names.replace("{}", re.escape(" ".join(value.split()))))
    for pdb_id in ("4G3", "4G3EE", "XXXX", "../x", "4g3e/../../x"):
        yield Case(("prepare", "--pdb-id", pdb_id, "--ligand", "0WC", "--out", "out"), re.escape(pdb_id))


# runs that are resumed


def list_runs() -> Iterator[Case]:
    """Runs that cannot go on: other settings, damage, or no run at all; they must stay as they are."""
    for more, names in (
        ("--snapshots 3", "--snapshots|snapshots"), ("--seed 1", "seed"), ("--model slow.pt", "model"), ("--scheme heun", "scheme"),
        ("--steps-per-snapshot 2", "steps_per_snapshot|--steps"), ("--no-projection", "projection"),
        ("--platform Reference", "platform"), ("--threads 2", "threads"), ("--out nothing_in_it", "nothing_in_it"),
        ("--out ref", "ref"), ("--out prepared", "prepared"), ("--out out", "out"), ("--force", "--force"),
    ):  # fmt: skip
        yield Case(_add("simulate resume", more), names)
    yield Case(("simulate", "pocket.pdb", "--ligand", "0WC", *GOOD["simulate resume"].split()[1:]), "run")
    for more, names in (
        ("--time 0.02", "--time"), ("--seed 3", "seed"), ("--timestep 2", "timestep"), ("--interval 0.04", "interval"),
        ("--temperature 310", "temperature"), ("--engine gromacs", "--engine"), ("--out nothing_in_it", "nothing_in_it"),
        ("--out run", "run"), ("--out out", "out"), ("--time 0.05", "--time"),
    ):  # fmt: skip
        yield Case(_add("reference resume", more), names)
    for more, names in (
        ("--kind gnn", "m.training|kind"),
        ("--hidden 16", "hidden|m.training"),
        ("--seed 3", "m.training|seed"),
    ):
        yield Case(_add("train resume", more), names)
    yield Case(_add("train resume", "--out out/m.pt"), "out")
    for name in (
        "no_record", "no_log", "empty_record", "noisy_record", "list_record", "bare_record", "odd_settings",
        "empty_checkpoint", "noisy_checkpoint", "cut_trajectory", "cut_log", "no_trajectory", "empty_topology", "noisy_topology",
    ):  # fmt: skip
        yield Case(_add("simulate resume", f"--out damaged_run/{name}"), name)
    for name in (
        "no_record", "no_topology", "empty_record", "noisy_record", "list_record", "bare_record", "odd_settings",
        "empty_checkpoint", "noisy_checkpoint", "no_trajectory",
    ):  # fmt: skip
        yield Case(_add("reference resume", f"--out damaged_ref/{name}"), name)


def _add(call: str, more: str) -> tuple[str, ...]:
    option, *values = more.split()
    return change(call, option, *values)


def list_records() -> Iterator[Case]:
    """Odd values in the ``run.json`` of a run that is compared, and files that a run lacks."""
    for name in RUN_RECORDS:
        yield Case(("compare", f"records/{name}", "--out", "out"), r"run\.json")
    for name in (
        "no_topology",
        "no_trajectory",
        "empty_record",
        "noisy_record",
        "list_record",
        "empty_topology",
        "cut_trajectory",
    ):
        yield Case(("compare", f"damaged_run/{name}", "--out", "out"), name)
    yield Case(("compare", "run", "--reference", "damaged_run/noisy_record", "--out", "out"), "noisy_record")


# what the command line itself refuses


def list_arguments() -> Iterator[Case]:
    """Commands, options and arguments that are missing, unknown, empty, or too many."""
    for words, names in (
        ("", "COMMAND"), ("nonsense", "nonsense"), ("--nonsense", "nonsense|COMMAND"), ("simulate", "--out"), ("prepare", "--ligand|--out"),
        ("reference", "--out"), ("train", "--out"), ("compare", "RUN|--out"), ("evaluate", "M.pt|--out"), ("info", "M.pt"),
        ("info sde.pt slow.pt", "slow.pt"), ("compare run run --out out", "run"), ("simulate a b --out out", "b"),
        ("benchmark extra", "extra"), ("simulate --snap 3 --out out", "--snap"), ("simulate --out", "--out"),
        ("compare run --force --out out", "--force"), ("train r1.xtc --out out/m.pt --epochs 3", "--epochs"),
        ("info --json=yes sde.pt", "--json"), ("simulate --quiet=1 --out out", "--quiet"),
        ("benchmark --threads", "--threads"), ("prepare entry.pdb --ligand --out out", "--ligand"),
        ("SIMULATE --out out", "SIMULATE"),
    ):  # fmt: skip
        yield Case(tuple(words.split()), names)
    for call in ("simulate", "train", "evaluate", "compare", "reference", "prepare", "info", "benchmark"):
        yield Case((*GOOD[call].split(), ""), "empty")
        yield Case((*GOOD[call].split(), "--tw\no=1"), "--tw")
    yield Case(("two\nlines",), "two")


def count_by_command(cases: Iterable[Case]) -> dict[str, int]:
    """How many cases each command has."""
    counts: dict[str, int] = {}
    for case in cases:
        name = case.words[0] if case.words else ""
        counts[name] = counts.get(name, 0) + 1
    return counts
