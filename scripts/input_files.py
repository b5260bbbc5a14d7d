"""Files for ``scripts/check_inputs.py``: a small good one of each kind, and what can be wrong with each.

All stand in one folder, and are named there by relative paths: ``good`` files in it, damaged ones in ``bad/``.
"""

import io
import json
import os
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import h5py
import mdtraj
import numpy as np
import torch

from openmm_neuralmd.analysis.bundled import get_bundled_path
from openmm_neuralmd.cli import main
from openmm_neuralmd.models.export import export_model
from openmm_neuralmd.models.networks.bindingnet import BindingNet
from tests.preparation.conftest import SMILES, build_entry

N_FRAMES = 12
LONG_NAME = 300 * "n"
"""Longer than any file system takes, 255 bytes."""
NETWORK = {"hidden": 16, "n_layers": 1, "n_radial": 8, "ligand_cutoff": 5.0, "pocket_cutoff": 10.0}
RUN_RECORDS = {
    "list": [],
    "null": None,
    "number": 3,
    "text": "finished",
    "sessions_text": {"sessions": "none"},
    "sessions_null": {"sessions": None},
    "sessions_numbers": {"sessions": [1, 2]},
    "wall_text": {"sessions": [{"from_snapshot": 0, "to_snapshot": 3, "wall_time_s": "long"}]},
    "wall_null": {"sessions": [{"from_snapshot": 0, "to_snapshot": 3, "wall_time_s": None}]},
    "wall_negative": {"sessions": [{"from_snapshot": 0, "to_snapshot": 3, "wall_time_s": -1.0}]},
    "wall_nan": {"sessions": [{"from_snapshot": 0, "to_snapshot": 3, "wall_time_s": float("nan")}]},
    "snapshots_text": {"sessions": [{"from_snapshot": "a", "to_snapshot": "b", "wall_time_s": 1.0}]},
    "snapshots_backwards": {"sessions": [{"from_snapshot": 9, "to_snapshot": 3, "wall_time_s": 1.0}]},
    "ligand_number": {"ligand": 3},
    "ligand_list": {"ligand": ["0WC"]},
}
"""What ``run.json`` of a run that is compared may wrongly hold, by name of the run's folder in ``records/``."""


def make_files(folder: Path) -> None:
    """Good files, then the damaged ones made of them."""
    folder.mkdir(parents=True, exist_ok=True)
    before = Path.cwd()
    os.chdir(folder)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            _make_structures()
            _make_models()
            _make_runs()
        _make_texts()
        _make_damaged()
        _make_damaged_runs()
    finally:
        os.chdir(before)


def _make_structures() -> None:
    for source, name in (("pocket.pdb", "pocket.pdb"), ("ligand.sdf", "ligand.sdf"), ("ligand_gaff2.xml", "gaff.xml")):
        shutil.copyfile(get_bundled_path(source), name)
    for name in ("r1", "r2"):
        frames = mdtraj.load(str(get_bundled_path(f"{name}_pocket.xtc")), top="pocket.pdb")[:N_FRAMES]
        frames.save_xtc(f"{name}.xtc")
    frames.save_netcdf("md.nc")
    frames.save_dcd("md.dcd")
    with h5py.File("md.h5", "w") as file:  # of HDF5, though neither a trajectory nor MISATO's
        file["coordinates"] = frames.xyz
    frames.save_trr("md.trr")
    frames[:1].save_dcd("one.dcd")
    frames[:1].save_xtc("one.xtc")
    frames[:1].save_gro("pocket.gro")
    frames.atom_slice(range(50))[:1].save_pdb("fewer.pdb")
    sdf = Path("ligand.sdf").read_text()
    Path("two.sdf").write_text(sdf + sdf)
    Path("entry.pdb").write_text("".join(build_entry()))


def _make_models() -> None:
    for kind, interval in (("sde", 80.0), ("slow", 160.0)):
        config = {**NETWORK, "stochastic": True}
        torch.manual_seed(0)
        metadata = {
            "kind": "sde",
            "config": config,
            "snapshot_interval": interval,
            "elements": [1, 6, 7, 8, 9, 16, 17],
            "scheme": "leapfrog",
            "steps_per_snapshot": 1,
        }
        export_model(BindingNet(**config), metadata, f"{kind}.pt")


def _make_runs() -> None:
    """A finished run of each command that leaves one."""
    short = "--solvent none --time 0.04 --interval 0.02 --equilibration 0 --threads 1 --quiet"
    for words in (
        "simulate --model sde.pt --snapshots 5 --quiet --out run",
        f"prepare entry.pdb --ligand 0WC --smiles {SMILES} --out prepared",
        f"reference prepared --ligand-parameters gaff.xml {short} --out ref",
        "train r1.xtc --top pocket.pdb --ligand 0WC --iterations 2 --hidden 8 --layers 1 --radial 4 --quiet "
        "--out trained/m.pt",
    ):
        if main(words.split()) != 0:
            raise RuntimeError(f"a good call failed: {words}")
    shutil.copyfile("ref/system.xml.gz", "system.xml.gz")
    shutil.copyfile("ref/start.pdb.gz", "start.pdb.gz")


def _make_texts() -> None:
    Path("list.txt").write_text("10GS\n")
    Path("table.csv").write_text("trajectory,top,ligand,part\nr1.xtc,pocket.pdb,0WC,training\n")
    for name, text in {
        "no_column": "trajectory,top\nr1.xtc,pocket.pdb\n",
        "unknown_column": "trajectory,ligand,colour\nr1.xtc,0WC,red\n",
        "header_only": "trajectory,ligand\n",
        "bad_part": "trajectory,top,ligand,part\nr1.xtc,pocket.pdb,0WC,exam\n",
        "bad_interval": "trajectory,top,ligand,interval\nr1.xtc,pocket.pdb,0WC,often\n",
        "nan_interval": "trajectory,top,ligand,interval\nr1.xtc,pocket.pdb,0WC,nan\n",
        "zero_interval": "trajectory,top,ligand,interval\nr1.xtc,pocket.pdb,0WC,0\n",
        "lost_file": "trajectory,top,ligand\nlost.xtc,pocket.pdb,0WC\n",
        "no_ligand": "trajectory,top,ligand\nr1.xtc,pocket.pdb,\n",
        "other_ligand": "trajectory,top,ligand\nr1.xtc,pocket.pdb,XYZ\n",
        "too_many_cells": "trajectory,top,ligand\nr1.xtc,pocket.pdb,0WC,1,2,3\n",
    }.items():
        Path(f"table_{name}.csv").write_text(text)


def _make_damaged() -> None:
    """Under each suffix: nothing, noise, half a file, a text, a folder, and what is no file at all."""
    Path("bad").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, 4000, dtype=np.uint8).tobytes()
    for suffix, source in _SOURCES.items():
        content = Path(source).read_bytes()
        Path(f"bad/empty{suffix}").write_bytes(b"")
        Path(f"bad/noise{suffix}").write_bytes(noise)
        Path(f"bad/text{suffix}").write_text("This is a letter to a friend.\nIt has two lines.\n")
        Path(f"bad/cut{suffix}").write_bytes(content[: len(content) // _CUT.get(suffix, 2)])
        Path(f"bad/folder{suffix}").mkdir()
        Path(f"bad/dangling{suffix}").symlink_to("nowhere")
        Path(f"bad/loop{suffix}").symlink_to(f"loop{suffix}")
        os.mkfifo(f"bad/fifo{suffix}")
    Path("bad/noise_in.sdf").write_bytes(Path("ligand.sdf").read_bytes()[:400] + noise[:300])


_SOURCES = {
    ".pdb": "pocket.pdb",
    ".cif": "pocket.pdb",
    ".gro": "pocket.gro",
    ".sdf": "ligand.sdf",
    ".xml": "gaff.xml",
    ".xml.gz": "system.xml.gz",
    ".pdb.gz": "start.pdb.gz",
    ".pt": "sde.pt",
    ".xtc": "r1.xtc",
    ".dcd": "md.dcd",
    ".nc": "md.nc",
    ".trr": "md.trr",
    ".h5": "md.h5",
    ".hdf5": "md.h5",
    ".csv": "table.csv",
    ".txt": "list.txt",
    ".prmtop": "pocket.pdb",
    ".tpr": "r1.xtc",
}
_CUT = {".xtc": 100, ".dcd": 100, ".nc": 100, ".trr": 100, ".csv": 1000, ".txt": 1000}
"""Parts of a file that still holds something when it is half there: less than a frame, or no line, is kept of it."""


def _make_damaged_runs() -> None:
    Path("records").mkdir()
    for name, record in RUN_RECORDS.items():
        folder = Path("records") / name
        folder.mkdir()
        for file in ("topology.pdb", "trajectory.dcd"):
            shutil.copyfile(Path("run") / file, folder / file)
        (folder / "run.json").write_text(json.dumps(record))
    damages: dict[str, Callable[[Path], object]] = {
        "no_record": lambda run: (run / "run.json").unlink(),
        "no_topology": lambda run: (run / "topology.pdb").unlink(),
        "no_trajectory": lambda run: (run / "trajectory.dcd").unlink(),
        "no_log": lambda run: (run / "log.csv").unlink(),
        "empty_record": lambda run: (run / "run.json").write_text(""),
        "noisy_record": lambda run: (run / "run.json").write_bytes(b"\xff\xfe{}"),
        "list_record": lambda run: (run / "run.json").write_text("[]"),
        "bare_record": lambda run: (run / "run.json").write_text("{}"),
        "odd_settings": lambda run: (run / "run.json").write_text('{"settings": 3, "sessions": 4}'),
        "empty_checkpoint": lambda run: (run / "checkpoint").write_bytes(b""),
        "noisy_checkpoint": lambda run: (run / "checkpoint").write_bytes(b"noise" * 50),
        "cut_trajectory": lambda run: _cut(run / "trajectory.dcd", 300),
        "cut_log": lambda run: _cut(run / "log.csv", 30),
        "empty_topology": lambda run: (run / "topology.pdb").write_text(""),
        "noisy_topology": lambda run: (run / "topology.pdb").write_bytes(b"\x00\xff" * 100),
    }
    for kind in ("run", "ref"):
        for name, damage in damages.items():
            if not (kind == "ref" and name in ("no_log", "cut_log", "cut_trajectory", "empty_topology")):
                target = Path(f"damaged_{kind}") / name
                shutil.copytree(kind, target)
                damage(target)
    Path("nothing_in_it").mkdir()


def _cut(path: Path, n_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:n_bytes])
