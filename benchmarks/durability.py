#!/usr/bin/env python3
"""What it costs that each snapshot is on the disk, and that frames and rows carry digests.

python benchmarks/durability.py [--snapshots 200] [--folder DIR] [--json FILE]

The bundled complex and SDE, one thread. Runs with and without ``os.fsync`` and SHA-256 take turns; medians of the time
from one snapshot to the next, warm, and their ratios to a run with neither. The folder's disk is what is measured.
"""

import argparse
import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from openmm_neuralmd.models.export import load_bundled_model
from openmm_neuralmd.molecule.complex import load_bundled_complex
from openmm_neuralmd.simulation.run import simulate

_WARM_UP = 20  # snapshots
_TURNS = 5
WAYS = ("neither", "digests", "fsync", "both")


@contextmanager
def use(way: str) -> Iterator[None]:
    """Leave out what is not measured."""
    with mock.patch.object(os, "fsync", os.fsync if way in ("fsync", "both") else lambda _: None):
        if way in ("digests", "both"):
            yield
            return
        with mock.patch("openmm_neuralmd.io.writers.extend_digest", lambda digest, _: digest):
            yield


def measure(n_snapshots: int, folder: Path) -> dict[str, float]:
    """Median time of a snapshot [ms] for each of ``WAYS``."""
    model = load_bundled_model("sde").bind(load_bundled_complex())
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(_TURNS):
        for way in WAYS:
            stamps: list[float] = []
            with use(way):
                simulate(
                    load_bundled_complex(),
                    model,
                    folder / f"{way}-{turn}",
                    n_snapshots=n_snapshots + _WARM_UP,
                    progress=lambda *_, stamps=stamps: stamps.append(time.perf_counter()),
                )
            times[way] += [b - a for a, b in zip(stamps[_WARM_UP:], stamps[_WARM_UP + 1 :], strict=False)]
    return {way: 1e3 * statistics.median(values) for way, values in times.items()}


def measure_check(n_megabytes: int = 256) -> float:
    """How fast a resumed run reads and digests its trajectory [MB/s]."""
    frame = os.urandom(2**16)
    began = time.perf_counter()
    digest = ""
    for _ in range(16 * n_megabytes):
        digest = hashlib.sha256(digest.encode() + frame).hexdigest()
    return n_megabytes / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--snapshots", type=int, default=200, help="of each of 20 runs (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="on the disk to measure (default: a temporary one)")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        medians = measure(options.snapshots, Path(name))
        speed = measure_check()
    for way, median in medians.items():
        print(f"{way:10s} {median:7.2f} ms a snapshot, {median / medians['neither']:.2f} of neither")
    print(f"check of a trajectory on resuming: {speed:.0f} MB/s")
    if options.json:
        options.json.write_text(json.dumps({"median_ms": medians, "check_mb_per_s": speed}, indent=1) + "\n")


if __name__ == "__main__":
    main()
