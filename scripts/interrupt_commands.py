#!/usr/bin/env python3
"""Interrupt `simulate`, `train`, `reference` and `prepare` at random moments, and check that nothing is lost.

python scripts/interrupt_commands.py [--times 20] [--commands simulate,train] [--seed 0] [--folder /tmp/interrupted]

Each command runs once undisturbed. Then, for SIGKILL, SIGTERM, SIGINT and SIGHUP, it is started again, sent the signal
after a random part of that time, and finished (--resume, or the same words again); the result must be that of the
undisturbed run to the byte, and no file of an unfinished step may be left. A resumed `reference` draws new random
numbers: there the frames that were written before must stay as they were. Each is also done with --force over an
earlier result, which must be whole wherever the new one has not begun. Last, each runs on file systems of a random size
that are too small, must say so in one line, and must finish on a larger one (needs root, for mount).

Prints one line for each command and way, and exits with 1 if any was wrong.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from openmm_neuralmd.analysis.bundled import get_bundled_path
from openmm_neuralmd.cli import main as run_command
from openmm_neuralmd.cli import prepare as _prepare  # noqa: F401, before forks, for speed
from openmm_neuralmd.cli import reference as _reference  # noqa: F401
from openmm_neuralmd.cli import simulate as _simulate  # noqa: F401
from openmm_neuralmd.cli import train as _train  # noqa: F401
from openmm_neuralmd.models import export  # noqa: F401
from tests.helpers import write_pocket

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
SNAPSHOTS, FRAMES = 60, 12
INTERVAL_PS = 0.02


@dataclass(frozen=True)
class Command:
    """How a command is begun and finished, and what must be the same in the end.

    Attributes:
        begin: Its words, without --out.
        resume: Words that finish it; None where it is begun again.
        out: Name of what it writes.
        results: Files, within the folder it is run in, that must be the same to the byte.
        prefix: Of a file that a resumed run need not repeat, only what it held before must stay.
    """

    begin: list[str]
    resume: list[str] | None
    out: str
    results: list[str]
    prefix: str | None = None


def list_commands(folder: Path) -> dict[str, Command]:
    """The commands, on small inputs made in a folder."""
    pocket, sdf = folder / "pocket.pdb", str(get_bundled_path("ligand.sdf"))
    write_pocket(pocket)
    simulate = ["simulate", "--snapshots", str(SNAPSHOTS), "--quiet", "--format", "nc"]
    train = ["train", str(get_bundled_path("r1_pocket.xtc")), "--top", str(get_bundled_path("pocket.pdb"))]
    train += "--ligand 0WC --kind gnn --hidden 16 --layers 1 --radial 8 --iterations 150 --batch-size 4".split()
    train += ["--threads", "1", "--quiet"]
    parameters = str(get_bundled_path("ligand_gaff2.xml"))
    reference = ["reference", str(pocket), "--ligand", "0WC", "--ligand-parameters", parameters, "--solvent", "none"]
    length = ["--time", f"{FRAMES * INTERVAL_PS:g}"]
    reference += [*length, "--interval", f"{INTERVAL_PS:g}", "--equilibration", "0.1", "--threads", "1", "--quiet"]
    run = ["run/topology.pdb", "run/trajectory.dcd", "run/log.csv", "run/trajectory.nc"]
    prepared = [f"prepared/{name}" for name in ("complex.pdb", "ligand.sdf", "prepare.json")]
    return {
        "simulate": Command(simulate, [*simulate, "--resume"], "run", run),
        "train": Command(train, [*train, "--resume"], "m.pt", ["m.training/metrics.csv"]),
        "reference": Command(
            reference,
            ["reference", "--resume", "--threads", "1", "--quiet"],
            "reference",
            ["reference/topology.pdb", "reference/system.xml.gz", "reference/start.pdb.gz"],
            prefix="reference/trajectory.dcd",
        ),
        "prepare": Command(["prepare", str(pocket), "--ligand", "0WC", "--sdf", sdf], None, "prepared", prepared),
    }


def start(words: Sequence[str], told: Path) -> int:
    """A process of its own for a command; what it prints on standard error goes to a file."""
    sys.stdout.flush()
    number = os.fork()
    if number:
        return number
    try:
        for stream, path in ((1, os.devnull), (2, told)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), stream)
        status = run_command(words)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(99)
    os._exit(status)


def finish(words: Sequence[str], told: Path) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(start(words, told), 0)[1])


def finish_or_begin(command: Command, folder: Path, told: Path) -> int:
    """Go on where there is something to go on from."""
    out = ["--out", str(folder / command.out)]
    if command.resume is not None:
        status = finish([*command.resume, *out], told)
        if status == 0 or not any(s in told.read_text() for s in ("no run to resume", "no checkpoint to resume")):
            return status
    return finish([*command.begin, *out, "--force"], told)


def read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def describe_differences(command: Command, folder: Path, expected: Path) -> list[str]:
    """What is not as it must be in the end."""
    wrong = [name for name in command.results if _strip(read(folder / name)) != _strip(read(expected / name))]
    wrong += [str(p) for p in folder.rglob("*") if p.name.startswith((".tmp-", ".neuralmd-"))]
    if command.prefix and len(read(folder / command.prefix)) != len(read(expected / command.prefix)):
        wrong.append(f"{command.prefix} of another length")
    if command.out.endswith(".pt") and not (folder / command.out).is_file():
        wrong.append(f"{command.out} is not there")
    return wrong


def _strip(content: bytes) -> bytes:
    """Without the date that OpenMM writes into PDB files."""
    return b"\n".join(line for line in content.split(b"\n") if not line.startswith(b"REMARK   1 CREATED"))


def interrupt(command: Command, name: str, folder: Path, expected: Path, delay: float) -> list[str]:
    """Send a signal after a while, finish, and tell what is wrong."""
    told = folder.with_suffix(".err")
    process = start([*command.begin, "--out", str(folder / command.out)], told)
    time.sleep(delay)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, getattr(signal, name))
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    wrong = []
    allowed = {0, -signal.SIGKILL} if name == "SIGKILL" else {0, 128 + getattr(signal, name)}
    if status not in allowed:
        wrong.append(f"status {status} after {name}: {told.read_text().strip()[-300:]}")
    before = read(folder / command.prefix)[276:] if command.prefix else b""
    if name != "SIGKILL":
        wrong += [str(p) for p in folder.rglob("*") if p.name.startswith((".tmp-", ".neuralmd-"))]
    status = finish_or_begin(command, folder, told)
    if status != 0:
        wrong.append(f"cannot be finished, status {status}: {told.read_text().strip()[-300:]}")
    frame = _find_frame_size(command, expected)
    if command.prefix and frame:
        kept = len(before) // frame - 1  # the last may have been ahead of the checkpoint
        if kept > 0 and read(folder / command.prefix)[276:][: kept * frame] != before[: kept * frame]:
            wrong.append(f"frames of {command.prefix} changed")
    return wrong + describe_differences(command, folder, expected)


def _find_frame_size(command: Command, expected: Path) -> int:
    return (len(read(expected / command.prefix)) - 276) // FRAMES if command.prefix else 0


def replace(command: Command, name: str, folder: Path, expected: Path, delay: float) -> list[str]:
    """The same over an earlier result with --force: it must be whole, or the new one begun."""
    shutil.copytree(expected, folder)
    old = {path: read(folder / path) for path in command.results}
    told = folder.with_suffix(".err")
    seed = ["--seed", "5"] if "--quiet" in command.begin else ["--ph", "7.1"]
    out = ["--out", str(folder / command.out)]
    process = start([*command.begin, *seed, "--force", *out], told)
    time.sleep(delay)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, getattr(signal, name))
    os.waitpid(process, 0)
    now = {path: read(folder / path) for path in command.results}
    if now == old:
        return []
    if command.resume is None:  # all three files are those of a whole new one
        status = finish([*command.begin, *seed, "--force", "--out", str(folder / "again")], told)
        again = {path: _strip(read(folder / "again" / Path(path).name)) for path in command.results}
        same = {path: _strip(content) for path, content in now.items()} == again
        return [] if status == 0 and same else ["a mixture of old and new files"]
    more = seed if command.out != "reference" else []
    status = finish([*command.resume, *more, *out], told)
    return [] if status == 0 else [f"neither the old nor the new result: {told.read_text().strip()[-300:]}"]


def fill_disk(command: Command, folder: Path, expected: Path, share: float) -> list[str]:
    """On a file system with a share of the room that the result takes."""
    size = sum(p.stat().st_size for p in expected.rglob("*") if p.is_file())
    folder.mkdir()
    told = folder.with_suffix(".err")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={max(int(share * size), 8192)}", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    try:
        status = finish([*command.begin, "--out", str(folder / command.out)], told)
        error = told.read_text()
        wrong = []
        if status != 0 and not (status == 2 and error.count("\n") == 1 and "is full: make room" in error):
            wrong.append(f"status {status}: {error.strip()[-300:]}")
        subprocess.run(["mount", "-o", f"remount,size={4 * size + 2**20}", str(folder)], check=True)
        status = finish_or_begin(command, folder, told)
        if status != 0:
            wrong.append(f"cannot be finished with room, status {status}: {told.read_text().strip()[-300:]}")
        return wrong + describe_differences(command, folder, expected)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=20, help="SIGKILL; the rest a quarter (default: %(default)s)")
    parser.add_argument("--commands", default="simulate,train,reference,prepare", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary one)")
    options = parser.parse_args()
    chosen = options.commands.split(",")
    generator = random.Random(options.seed)
    n_wrong = 0
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        work = Path(name)
        commands = list_commands(work)
        for title in chosen:
            command, expected = commands[title], work / f"{title}-expected"
            expected.mkdir()
            began = time.monotonic()
            status = finish([*command.begin, "--out", str(expected / command.out)], work / "told")
            if status != 0:
                print(f"{title}: the undisturbed run failed: {(work / 'told').read_text()}")
                return 1
            duration = time.monotonic() - began
            ways: list[tuple[str, Callable[[Path], list[str]]]] = []
            for s in SIGNALS:
                ways.append((s, _make(interrupt, command, s, expected, duration, generator)))
            for s in ("SIGKILL", "SIGTERM"):
                ways.append((f"{s} of --force", _make(replace, command, s, expected, duration, generator)))
            if os.geteuid() == 0:
                ways.append(
                    ("full disk", lambda f, c=command, e=expected: fill_disk(c, f, e, generator.uniform(0.05, 1.1)))
                )
            for way, act in ways:
                wrong = []
                n_times = options.times if way.startswith("SIGKILL") else max(1, options.times // 4)
                for k in range(n_times):
                    folder = work / f"{title}-{k}"
                    wrong += act(folder)
                    shutil.rmtree(folder, ignore_errors=True)
                    folder.with_suffix(".err").unlink(missing_ok=True)
                n_wrong += len(wrong)
                print(f"{title:10s} {way:20s} {n_times:3d} times, wrong: {len(wrong)}", flush=True)
                for line in wrong[:5]:
                    print(f"    {line}", flush=True)
    print("all right" if n_wrong == 0 else f"{n_wrong} wrong")
    return int(n_wrong > 0)


def _make(
    way: Callable[..., list[str]],
    command: Command,
    name: str,
    expected: Path,
    duration: float,
    generator: random.Random,
) -> Callable[[Path], list[str]]:
    def act(folder: Path) -> list[str]:
        if way is interrupt:
            folder.mkdir()
        return way(command, name, folder, expected, generator.uniform(0.0, 1.05 * duration))

    return act


if __name__ == "__main__":
    sys.exit(main())
