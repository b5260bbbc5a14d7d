#!/usr/bin/env python3
"""Seconds and memory of reading one complex from a file of MISATO's layout and size, in a process of its own.

    python benchmarks/misato.py [--file MD.hdf5 --name 10GS] [--atoms 5166,30000] [--json F]

On Linux. Without --file a sparse file of 132 GB is made: a complex of the given number of atoms and 100 frames,
compressed as MISATO compresses, beside 132 GB of another one that take no room on the disk. Cold: the system's copy of
the file was dropped from memory before.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import mdtraj
import numpy as np
from scipy.spatial.transform import Rotation

from openmm_neuralmd.data.misato import write_misato
from openmm_neuralmd.molecule.complex import load_bundled_complex

N_FRAMES = 100
N_ATOMS = (5_166, 30_000)  # 4G3E and one of the largest
APPARENT_ATOMS = 55_000_000  # 132 GB of coordinates
TARGET = "< 1 s, < 200 MB"
_READ = """
import json, sys, time
from openmm_neuralmd.data.misato import MisatoFile
def read_memory(key):  # not getrusage's maximum, which begins at that of the process this one was forked from
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key)) / 1024
before, seconds = read_memory("VmRSS"), []
for _ in range(2):
    start = time.perf_counter()
    with MisatoFile(sys.argv[1]) as file:
        n_frames = len(file.load(sys.argv[2]).trajectory.snapshots)
    seconds.append(time.perf_counter() - start)
peak = read_memory("VmHWM")
print(json.dumps({"seconds": seconds, "growth": peak - before, "peak": peak, "frames": n_frames}))
"""


@dataclass(frozen=True)
class Reading:
    """What reading one complex cost.

    Attributes:
        n_atoms, n_frames: Of the complex.
        file_gb: Apparent size of the file.
        cold_s, warm_s: Seconds, the first time and once more in the same process.
        memory_mb: By which the process grew.
        peak_mb: Of the process, the libraries it imports included.
    """

    n_atoms: int
    n_frames: int
    file_gb: float
    cold_s: float
    warm_s: float
    memory_mb: float
    peak_mb: float


def write_large_file(path: Path, n_atoms: int, *, n_frames: int = N_FRAMES) -> None:
    """A tumbling complex of about ``n_atoms`` atoms, "1ABC", beside 132 GB of another that are not on the disk."""
    write_misato(path, {"1ABC": build_trajectory(n_atoms, n_frames)}, ligand="0WC")
    with h5py.File(path, "r+") as file:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple((N_FRAMES, APPARENT_ATOMS, 3))
        group = file.create_group("0AAA")
        h5py.h5d.create(group.id, b"trajectory_coordinates", h5py.h5t.IEEE_F64LE, space, plan)
        group["trajectory_coordinates"][-1, -1, -1] = 1.0


def build_trajectory(n_atoms: int, n_frames: int) -> mdtraj.Trajectory:
    """The bundled complex, protein copies 10 nm apart until there are enough atoms, drifting and turning."""
    complex_ = load_bundled_complex()
    topology = mdtraj.Topology.from_openmm(complex_.topology)
    protein = np.array([a.index for a in topology.atoms if a.residue.name != "0WC"])
    frame = mdtraj.Trajectory(complex_.positions[None], topology)
    for k in range(1, round(n_atoms / topology.n_atoms)):
        copy = mdtraj.Trajectory(complex_.positions[None, protein] + [10.0 * k, 0, 0], topology.subset(protein))
        frame = frame.stack(copy)
    rng = np.random.default_rng(0)
    turns = Rotation.random(n_frames, random_state=1).as_matrix()
    xyz = frame.xyz + rng.normal(scale=0.003, size=(n_frames, *frame.xyz.shape[1:]))
    return mdtraj.Trajectory(np.einsum("fij,faj->fai", turns, xyz), frame.topology)


def measure(path: Path, name: str) -> Reading:
    """Read one complex twice, the first time from the disk where the system lets go of its copy."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    output = subprocess.run(
        [sys.executable, "-c", _READ, str(path), name], check=True, capture_output=True, text=True
    ).stdout
    found = json.loads(output.splitlines()[-1])
    with h5py.File(path) as file:
        n_atoms = len(file[f"{name}/atoms_number"])
    cold, warm = found["seconds"]
    return Reading(n_atoms, found["frames"], path.stat().st_size / 1e9, cold, warm, found["growth"], found["peak"])


def format_table(readings: list[Reading]) -> str:
    """A line each."""
    lines = [
        f"{'atoms':>7s} {'frames':>6s} {'file':>8s} {'cold':>7s} {'warm':>7s} {'memory':>8s} {'process':>8s}  target"
    ]
    lines += [
        f"{r.n_atoms:7d} {r.n_frames:6d} {r.file_gb:5.0f} GB {r.cold_s:5.2f} s {r.warm_s:5.2f} s "
        f"{r.memory_mb:5.0f} MB {r.peak_mb:5.0f} MB  {TARGET}"
        for r in readings
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--file", type=Path, help="a file of your own")
    parser.add_argument("--name", help="complex in it (default: the first)")
    parser.add_argument("--atoms", default=",".join(map(str, N_ATOMS)), help="sizes to make (default: %(default)s)")
    parser.add_argument("--json", metavar="F", help="write the numbers to this file too")
    args = parser.parse_args()
    readings = []
    if args.file:
        with h5py.File(args.file) as file:
            name = args.name or next(iter(file))
        readings.append(measure(args.file, name))
    else:
        for n_atoms in map(int, args.atoms.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                write_large_file(Path(folder) / "MD.hdf5", n_atoms)
                readings.append(measure(Path(folder) / "MD.hdf5", "1ABC"))
    print(format_table(readings))
    if args.json:
        Path(args.json).write_text(json.dumps([asdict(r) for r in readings], indent=1) + "\n")


if __name__ == "__main__":
    main()
