#!/usr/bin/env python3
"""Call the command line with wrong input, hundreds of times, and say which answers are wrong.

python scripts/check_inputs.py [--work FOLDER] [--only PATTERN] [--python]

An answer is right if the exit status is 2, nothing is on stdout, stderr is one line that begins with "neuralmd" and
names what was wrong, and no file or folder was made, changed or removed. Wrong answers are printed, one a line, then a
count; the exit status is 1 if there is any. The calls are in ``input_cases`` and ``input_combinations``, the files they
name in ``input_files``. First the good calls are made that the wrong ones are changed from: they must end with status
0, or the wrong ones could be refused for another reason than theirs.

Calls run in this process, with the file descriptors of both streams captured, because libraries in C print too; a few
that need another environment (closed streams, another user, arguments that are no text) run in a process of their own.

With --python the calls through Python follow, of tests/test_python_inputs.py: each must raise an error of this package
that names the argument.
"""

import argparse
import contextlib
import ctypes
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.input_cases import GOOD, Case, list_files, list_numbers, list_outputs  # noqa: E402
from scripts.input_combinations import (  # noqa: E402
    list_arguments,
    list_combinations,
    list_records,
    list_runs,
    list_texts,
)
from scripts.input_files import make_files  # noqa: E402

LONGEST_S = 30
"""A call that takes longer hangs."""
_BOUND = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Makes permissions count for root too."""
_NEVER_GOOD = (
    "train misato",
    "train force field",
    "train system",
    *(() if shutil.which("gmx") else ("check energies",)),
)
"""No small file is good for these; they get as far as what a case changes."""
_EMPTY_REASONS = {
    r"Traceback": "a traceback",
    r"\(\)|: ;|;\s*$|:\s*$|:\s*\(see": "an empty reason",
    r"<NULL>|NoneType|object at 0x|\b[A-Za-z]+(Error|Exception)\(": "words of a library",
}

Snapshot = dict[str, tuple[int, ...]]


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


def count_by_command(cases: Iterable[Case]) -> dict[str, int]:
    """How many cases each command has."""
    counts: dict[str, int] = {}
    for case in cases:
        name = case.words[0] if case.words else ""
        counts[name] = counts.get(name, 0) + 1
    return counts


class Answer(NamedTuple):
    """What a call gave: exit status (or what it raised), both streams, and what changed in the folder."""

    status: int | str
    out: str
    err: str
    changes: tuple[str, ...] = ()


def find_faults(answer: Answer, names: str) -> list[str]:
    """What is wrong with an answer that must match the pattern ``names``; empty if it is right."""
    faults = []
    if answer.status != 2:
        faults.append(f"status {answer.status}")
    if answer.out:
        faults.append(f"stdout {answer.out.strip()[:60]!r}")
    if not answer.err.startswith("neuralmd"):
        faults.append("stderr does not begin with neuralmd")
    n_lines = len(answer.err.splitlines())
    if n_lines != 1 or not answer.err.endswith("\n"):
        faults.append(f"{n_lines} lines on stderr")
    if not re.search(names, answer.err):
        faults.append(f"{names!r} is not named")
    faults += [what for pattern, what in _EMPTY_REASONS.items() if re.search(pattern, answer.err)]
    return faults + list(answer.changes)


def take_snapshot(*folders: Path) -> Snapshot:
    """Kind, size, place and times of change of everything in the folders.

    The system sets the last one (ctime) at every write, so content that changed is seen without reading it. Folders
    change with what is in them, and have no size or time here.
    """
    found: Snapshot = {}
    for folder in folders:
        for parent, below, files in os.walk(folder):
            for name in (*below, *files):
                path = os.path.join(parent, name)
                state = os.lstat(path)
                is_folder = os.path.isdir(path) and not os.path.islink(path)
                numbers = () if is_folder else (state.st_size, state.st_ino, state.st_mtime_ns, state.st_ctime_ns)
                found[path] = (state.st_mode, *numbers)
    return found


def compare_snapshots(before: Snapshot, after: Snapshot) -> tuple[str, ...]:
    """What was made, removed or changed; at most three of each."""
    groups = {
        "made": after.keys() - before.keys(),
        "removed": before.keys() - after.keys(),
        "changed": {path for path in before.keys() & after.keys() if before[path] != after[path]},
    }
    return tuple(f"{what} {path}" for what, paths in groups.items() for path in sorted(paths)[:3])


@contextlib.contextmanager
def capture_streams() -> Iterator[Callable[[], tuple[str, str]]]:
    """Catch what anything in this process writes to descriptors 1 and 2; the function given reads both."""
    libc = ctypes.CDLL(None)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    with (
        tempfile.TemporaryFile(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as out,
        tempfile.TemporaryFile(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as err,
    ):

        def read() -> tuple[str, str]:
            sys.stdout.flush()
            sys.stderr.flush()
            libc.fflush(None)
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
            return texts[0], texts[1]

        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            yield read
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            libc.fflush(None)
            for number, copy in zip((1, 2), saved, strict=True):
                os.dup2(copy, number)
                os.close(copy)


def call(main: Callable[[list[str]], int], words: list[str]) -> Answer:
    """Call the command line in this process."""

    hangs = False

    def stop(*_: Any) -> None:
        nonlocal hangs
        hangs = True  # whatever the code that is interrupted makes of it
        raise TimeoutError(f"no answer after {LONGEST_S} s")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST_S)
    status: int | str
    with capture_streams() as read:
        try:
            status = main(words)
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else str(error.code)
        except BaseException as error:
            status = f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, previous)
        out, err = read()
    return Answer("hangs" if hangs else status, out, err)


class Workplace:
    """The folder that calls are made in, put back whenever a call changed it.

    Args:
        folder: Empty or absent.
    """

    def __init__(self, folder: Path) -> None:
        self.pristine, self.folder, self.temporary = folder / "pristine", folder / "work", folder / "temporary"
        make_files(self.pristine)
        self._restore()

    def _restore(self) -> None:
        os.chdir("/")
        for folder in (self.folder, self.temporary):
            shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(["cp", "-a", str(self.pristine), str(self.folder)], check=True)  # FIFOs and links as they are
        self.temporary.mkdir()
        os.chdir(self.folder)
        tempfile.tempdir = str(self.temporary)
        self.state = take_snapshot(self.folder, self.temporary)

    def watch(self, answer: Callable[[], Answer], prepare: Callable[[], object] | None = None) -> Answer:
        """Make a call, after something was prepared for it, and add what it changed to its answer."""
        if prepare is not None:
            prepare()
            self.state = take_snapshot(self.folder, self.temporary)
        given = answer()
        changes = compare_snapshots(self.state, take_snapshot(self.folder, self.temporary))
        if changes or prepare is not None:
            self._restore()
        return given._replace(changes=tuple(text.replace(f"{self.folder}/", "") for text in changes))


# calls in a process of their own


class Outside(NamedTuple):
    """A case for another process: its words as bytes, and what must be there first."""

    words: tuple[bytes, ...]
    names: str
    prepare: Callable[[], object] | None = None
    closes_input: bool = False


def list_outside() -> list[Outside]:
    """What only a real process can be given."""
    threads = "no more|threads"
    short = b"--model sde.pt --snapshots 2 --quiet"
    return [
        Outside((b"info", b"a\xff.pt"), "no such model file"),
        Outside((b"compare", b"run", b"--label", b"a\xff", b"--out", b"out"), "--label.*UTF-8"),
        Outside((b"info", b"nowhere.pt"), "nowhere.pt", closes_input=True),
        Outside((b"simulate", *short.split(), b"--threads", b"100000", b"--out", b"out"), threads),
        Outside((b"benchmark", b"--threads", b"100000", b"--repeats", b"1"), threads),
        Outside(_split("train r1.xtc --top pocket.pdb --ligand 0WC --threads 100000 --out out/m.pt"), threads),
        Outside(_split("reference prepared --ligand-parameters gaff.xml --threads 100000 --out out"), threads),
        *(
            Outside(_split(words), names, _forbid)
            for words, names in (
                ("info secret.pt", "secret.pt"),
                ("simulate secret.pdb --ligand 0WC --out out", "secret.pdb"),
                ("simulate --model sde.pt --snapshots 2 --out closed/out", "closed"),
                ("compare run --out closed/out", "closed"),
                ("prepare secret.pdb --ligand 0WC --smiles CC --out out", "secret.pdb"),
                ("train r1.xtc --top pocket.pdb --ligand 0WC --out closed/m.pt", "closed"),
                ("benchmark --repeats 1 --json closed/b.json", "closed"),
            )
            if os.geteuid() != 0 or shutil.which("setpriv")
        ),
    ]  # fmt: skip


def _split(words: str) -> tuple[bytes, ...]:
    return tuple(words.encode().split())


def _forbid() -> None:
    """Files that may not be read, and a folder that may not be written to."""
    for name in ("secret.pt", "secret.pdb"):
        shutil.copyfile(name.replace("secret.pt", "sde.pt").replace("secret.pdb", "pocket.pdb"), name)
        os.chmod(name, 0)
    os.mkdir("closed")
    os.chmod("closed", 0o555)


def call_outside(case: Outside) -> Answer:
    """Call the command line in another process."""
    bound = _BOUND if case.prepare is not None and os.geteuid() == 0 else ()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [*bound, sys.executable, "-m", "openmm_neuralmd.cli", *case.words],
            capture_output=True,
            timeout=LONGEST_S,
            env=environment,
            preexec_fn=(lambda: os.close(0)) if case.closes_input else None,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer("it hangs", "", "")
    return Answer(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def check_good(place: Workplace, pattern: str) -> int:
    """Make the good calls, print those that are refused; how many are."""
    from openmm_neuralmd.cli import main

    refused = 0
    for name, words in GOOD.items():
        is_possible = name not in _NEVER_GOOD and (name != "check energies" or shutil.which("gmx"))
        if is_possible and re.search(pattern, words):
            answer = place.watch(lambda words=words: call(main, words.split()))
            if answer.status != 0:
                refused += 1
                print(f"wrong: a good call gives {answer.status}: {words}: {answer.err.strip()[:200]}", flush=True)
    return refused


def check(place: Workplace, cases: list[Case], outside: list[Outside], *, slowest: int = 0) -> int:
    """Make the calls and print what is wrong; how many answers were."""
    from openmm_neuralmd.cli import main

    wrong = 0
    times: list[tuple[float, str]] = []
    for words, names, answer, prepare in (
        *((shlex.join(c.words), c.names, (lambda c=c: call(main, list(c.words))), None) for c in cases),
        *((repr(b" ".join(o.words)), o.names, (lambda o=o: call_outside(o)), o.prepare) for o in outside),
    ):
        began = time.perf_counter()
        faults = find_faults(place.watch(answer, prepare), names)
        times.append((time.perf_counter() - began, words))
        wrong += bool(faults)
        if faults:
            print(f"wrong: neuralmd {' '.join(words.split())[:200]}: {'; '.join(faults)}", flush=True)
    for seconds, words in sorted(times, reverse=True)[:slowest]:
        print(f"{seconds:6.2f} s  {words[:150]}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="folder for the files (default: a temporary one)")
    parser.add_argument("--only", default="", metavar="PATTERN", help="calls that match this pattern")
    parser.add_argument(
        "--inside", action="store_true", help="leave out good calls, and those in processes of their own"
    )
    parser.add_argument("--slowest", type=int, default=0, metavar="N", help="name the N slowest calls")
    parser.add_argument("--python", action="store_true", help="calls through Python too")
    options = parser.parse_args()
    cases = [case for case in list_cases() if re.search(options.only, shlex.join(case.words))]
    outside = (
        [] if options.inside else [o for o in list_outside() if re.search(options.only.encode(), b" ".join(o.words))]
    )
    folder = options.work or Path(tempfile.mkdtemp(prefix="neuralmd-inputs-"))
    os.environ.setdefault("XDG_CACHE_HOME", str(folder.absolute() / "cache"))
    os.environ["NEURALMD_PDB_URL"] = "http://127.0.0.1:9"  # nothing is downloaded
    try:
        place = Workplace(folder.absolute())
        refused = 0 if options.inside else check_good(place, options.only)
        wrong = check(place, cases, outside, slowest=options.slowest)
    finally:
        os.chdir("/")
        if options.work is None:
            shutil.rmtree(folder, ignore_errors=True)
    counts = ", ".join(f"{name or 'none'} {n}" for name, n in count_by_command(cases).items())
    total = len(cases) + len(outside)
    print(f"{total - wrong} right, {wrong} wrong of {total} calls ({counts}; in processes of their own {len(outside)})")
    return int(wrong + refused > 0 or (options.python and not check_python()))


def check_python() -> bool:
    """Make the calls through Python, and print what pytest says of them."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "tests/test_python_inputs.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    counts = re.findall(r"^\d+ (?:passed|failed).*$|^(?:FAILED|ERROR).*$", done.stdout, re.MULTILINE)
    n_right = sum(line.count(".") for line in done.stdout.splitlines() if re.fullmatch(r"[.FEsx]+ *\[ *\d+%\]", line))
    print("\n".join([*counts, f"Python: {n_right} right, {'none' if done.returncode == 0 else 'some'} wrong"]))
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
