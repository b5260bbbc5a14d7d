"""Short runs through OpenMM in vacuum: files, resuming, and what damaged ones lead to."""

import json
from collections.abc import Callable
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.io.directory import RunPlace
from openmm_neuralmd.io.trajectories import open_run
from openmm_neuralmd.io.writers import DCDWriter, check_dcd
from openmm_neuralmd.reference.directory import ReferenceFiles, read_record, start_record, write_start
from openmm_neuralmd.reference.openmm_engine import run_openmm
from openmm_neuralmd.reference.protocol import Protocol
from openmm_neuralmd.reference.system import MolecularSystem

Start = Callable[..., ReferenceFiles]


@pytest.fixture
def run(vacuum: MolecularSystem, tmp_path: Path) -> Start:
    """Runs in vacuum, or goes on."""

    def go(*, time: float = 0.04, resume: bool = False, **more: object) -> ReferenceFiles:
        files = ReferenceFiles(tmp_path / "run")
        protocol = Protocol(time, 0.02, 0.1, 300.0, 1.0, 0.004, 0, False)
        if resume:
            record = read_record(files)
            record["settings"]["time_ps"] = time
        else:
            write_start(files, vacuum)
            record = start_record(files, vacuum, protocol)
        run_openmm(vacuum, protocol, RunPlace(files, replaces=False), record, threads=1, **more)
        return files

    return go


def test_a_run_and_its_continuation(run: Start, vacuum: MolecularSystem) -> None:
    seen = []
    files = run(progress=lambda phase, done, total: seen.append((phase, done, total)))
    assert list(dict.fromkeys(p for p, _, _ in seen)) == ["minimising", "heating", "restrained", "free", "production"]
    assert seen[-1][1] == pytest.approx(seen[-1][2]) == pytest.approx(0.14)
    first = mdtraj.load(str(files.trajectory), top=str(files.topology))
    assert len(first) == 2
    run(time=0.1, resume=True)
    file = open_run(files.folder)
    assert file.interval == pytest.approx(0.02)
    whole = mdtraj.load(str(files.trajectory), top=str(files.topology))
    assert len(whole) == 5
    assert np.array_equal(whole.xyz[:2], first.xyz)
    rows = np.genfromtxt(files.log, delimiter=",", names=True)
    assert rows["time_ps"] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])
    assert np.isfinite(rows["potential_kj_per_mol"]).all()
    record = json.loads(files.record.read_text())
    assert record["status"] == "finished"
    assert [(s["from_snapshot"], s["to_snapshot"]) for s in record["sessions"]] == [(0, 2), (2, 5)]


def test_frames_after_the_checkpoint_are_written_again(run: Start) -> None:
    files = run()
    with files.trajectory.open("ab") as file:
        file.write(files.trajectory.read_bytes()[-2000:])  # half a frame that a kill left
    with files.log.open("a") as file:
        file.write("0.06,1")
    run(time=0.06, resume=True)
    assert len(mdtraj.load(str(files.trajectory), top=str(files.topology))) == 3
    assert len(files.log.read_text().splitlines()) == 4


def test_missing_frames_are_not_invented(run: Start, vacuum: MolecularSystem) -> None:
    files = run()
    DCDWriter(files.trajectory, len(vacuum.positions), frame_interval=0.02, n_frames=1).close()
    with pytest.raises(InputError, match="holds 1 of 2 frames"):
        run(time=0.06, resume=True)


def test_damaged_checkpoint(run: Start) -> None:
    files = run()
    files.checkpoint.write_bytes(files.checkpoint.read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged checkpoint"):
        run(time=0.06, resume=True)


def test_changed_system(run: Start) -> None:
    files = run()
    files.system.write_bytes(files.system.read_bytes() + b"x")
    with pytest.raises(InputError, match="changed since the run began"):
        run(time=0.06, resume=True)


def test_run_of_the_other_engine(run: Start) -> None:
    files = run()
    with pytest.raises(InputError, match="made with `engine=openmm`"):
        read_record(ReferenceFiles(files.folder, engine="gromacs"))


def test_frames_with_a_box_are_read_by_others(tmp_path: Path) -> None:
    box = np.array([[3.0, 0.0, 0.0], [0.4, 2.9, 0.0], [1.5, 1.4, 2.1]])
    xyz = np.random.default_rng(7).normal(size=(3, 5, 3))
    writer = DCDWriter(tmp_path / "a.dcd", 5, frame_interval=2.0, has_box=True)
    for frame in xyz:
        writer.write(frame, box)
    writer.close()
    check_dcd(tmp_path / "a.dcd", 5, 3, writer.digest, frame_interval=2.0, has_box=True)
    DCDWriter(tmp_path / "a.dcd", 5, frame_interval=2.0, has_box=True, n_frames=2).close()
    topology = mdtraj.Topology()
    residue = topology.add_residue("LIG", topology.add_chain())
    for _ in range(5):
        topology.add_atom("C", mdtraj.element.carbon, residue)
    found = mdtraj.load(str(tmp_path / "a.dcd"), top=topology)
    assert found.xyz == pytest.approx(xyz[:2], abs=1e-6)
    assert found.unitcell_vectors[0] == pytest.approx(box, abs=1e-5)
