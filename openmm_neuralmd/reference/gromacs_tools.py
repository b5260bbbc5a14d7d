"""GROMACS' programs as subprocesses, and what they print."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.files import require_room

_UNSTABLE_BOND = "has an estimated oscillational period"


def find_gromacs() -> str:
    """The path of ``gmx``.

    Raises:
        InputError: If GROMACS or ParmEd, which writes its topologies, is not installed.
    """
    try:
        import parmed  # noqa: F401
    except ImportError as error:
        raise InputError("GROMACS needs ParmEd too: pip install 'openmm_neuralmd[gromacs]'") from error
    found = shutil.which("gmx")
    if found is None:
        raise InputError("gmx is not on PATH: install GROMACS (Debian: apt install gromacs) or choose `engine=openmm`")
    return found


def read_version() -> str:
    """GROMACS' version, such as 2022.5."""
    text = call_gromacs(["--version"], Path.cwd())
    found = re.search(r"GROMACS version:\s*(\S+)", text)
    return found[1] if found else "unknown"


def make_environment() -> dict[str, str]:
    """Environment without backups of replaced files, and with the number of threads left to ``-ntomp``."""
    return {**{k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}, "GMX_MAXBACKUP": "-1"}


def format_threads(threads: int | None) -> list[str]:
    """Options of mdrun: one rank, and this many threads; all processors, or OMP_NUM_THREADS, if None."""
    number = str(threads) if threads else os.environ.get("OMP_NUM_THREADS", "")
    return ["-ntmpi", "1", "-ntomp", number if number.isdigit() else str(os.cpu_count() or 1)]


def call_gromacs(arguments: Sequence[str], folder: Path, *, answers: str = "", program: str | None = None) -> str:
    """Run a GROMACS program to its end; what it printed.

    Args:
        arguments: Name of the program and its options.
        folder: Where it runs.
        answers: What it reads from standard input.
        program: ``gmx`` if None.

    Raises:
        InputError: If it fails, with its fatal error.
        StorageError: If the disk is full.
    """
    done = subprocess.run(
        [program or find_gromacs(), "-quiet", *arguments],
        cwd=folder,
        input=answers,
        capture_output=True,
        text=True,
        errors="replace",
        env=make_environment(),
    )
    text = done.stdout + done.stderr
    if done.returncode != 0:
        require_room(folder / "files of GROMACS")
        raise InputError(f"gmx {arguments[0]} failed in {folder}: {extract_error(text)}")
    return text


def extract_error(text: str) -> str:
    """The fatal error in what a GROMACS program printed, or its last lines."""
    found = re.search(r"(?:Fatal error|Error in user input|Software inconsistency error|Inconsistency in user input):\s*\n(.*?)\n\s*\n?For more", text, re.S)  # noqa: E501 # fmt: skip
    return " ".join((found[1] if found else "\n".join(text.strip().splitlines()[-5:])).split())


def make_run_input(
    folder: Path,
    name: str,
    *,
    start: str,
    checkpoint: str | None = None,
    accept_fast_bonds: bool = False,
) -> None:
    """``gmx grompp``: NAME.mdp, system.top and a structure become NAME.tpr.

    Args:
        folder: Holds the files.
        name: Of the mdp and tpr.
        start: Structure file; restraints hold to start.gro.
        checkpoint: The state to go on from.
        accept_fast_bonds: Accept that a bond's period is short beside a timestep of 4 fs, which runs with heavy
            hydrogens are known to bear.

    Raises:
        InputError: If grompp fails or gives any other warning.
    """
    more = ["-t", checkpoint] if checkpoint else []
    text = call_gromacs(
        ["grompp", "-f", f"{name}.mdp", "-c", start, "-r", "start.gro", "-p", "system.top", "-n", "index.ndx"]
        + ["-o", f"{name}.tpr", "-po", f"{name}.out.mdp", "-maxwarn", "10", *more],
        folder,
    )
    warnings = [w for w in list_warnings(text) if not (accept_fast_bonds and _UNSTABLE_BOND in w)]
    if warnings:
        raise InputError(f"gmx grompp warns about {name}: {warnings[0]}")


def list_warnings(text: str) -> list[str]:
    """The warnings in what grompp printed, each on one line."""
    return [" ".join(w.split()) for w in re.findall(r"^WARNING \d+ .*?\n(.*?)\n\s*\n", text, re.S | re.M)]


def read_energy_file(path: Path, terms: Sequence[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Times [ps] and the energy terms of an .edr file that are there, by ``gmx energy``.

    Args:
        path: The file.
        terms: As GROMACS calls them, such as "LJ (SR)".
    """
    answers = "\n".join(t.replace(" ", "-") for t in terms) + "\n\n"
    output = path.with_suffix(".xvg")
    output.unlink(missing_ok=True)
    call_gromacs(["energy", "-f", path.name, "-o", output.name, "-dp"], path.parent, answers=answers)
    lines = output.read_text().splitlines()
    names = [m[1] for line in lines if (m := re.match(r'@ s\d+ legend "(.*)"', line))]
    rows = np.array([[float(v) for v in line.split()] for line in lines if line and line[0] not in "#@"], ndmin=2)
    return rows[:, 0], dict(zip(names, rows[:, 1:].T, strict=True))
