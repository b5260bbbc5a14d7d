"""Wrong calls for ``scripts/check_inputs.py`` whose words do not go together, or not with what is there already."""

import re
from collections.abc import Iterator

from scripts.input_cases import GOOD, Case, change
from scripts.input_files import RUN_RECORDS

# options that contradict each other, or have no effect

COMBINATIONS = (
    ("simulate", "--resume --force", "--resume.*--force"),
    ("simulate", "--format xtc --format xtc", "--format.*xtc.*twice"),
    ("simulate", "--format dcd --format dcd", "--format.*dcd.*twice"),
    ("simulate", "--quiet --resume", "out"),
    ("train", "--resume --force", "--resume.*--force"),
    ("train", "--resume", "out"),
    ("train with its bar", "--lag 79", "--lag"),
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
    ("train", "--complex bundled --sdf ligand.sdf", "--sdf"),
    ("train", "--complex bundled --ligand XYZ", "XYZ"),
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
    ("evaluate", "--complex bundled --ligand XYZ", "XYZ"),
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
    ("compare", "--label", ("r1", "r2", "frozen", "mean", " ", "a\0b"), "--label|NUL"),
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
