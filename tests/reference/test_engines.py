"""Real runs of a piece of 4G3E in water through both engines: same energies, killed, resumed, and compared."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from openmm.app import PDBFile

from openmm_neuralmd.cli import main
from openmm_neuralmd.io.trajectories import open_run
from openmm_neuralmd.reference.energies import compare_energies
from openmm_neuralmd.reference.gromacs_files import write_gromacs_topology
from openmm_neuralmd.reference.system import MolecularSystem
from tests.reference.conftest import LIGAND

pytestmark = [pytest.mark.slow, pytest.mark.reference]
needs_gromacs = pytest.mark.skipif(shutil.which("gmx") is None, reason="GROMACS is not installed")
TIME_PS, INTERVAL_PS = 20.0, 0.5
TEMPERATURE_K, DENSITY_G_PER_ML = 300.0, 1.02
KILLED_AFTER = 8  # frames
PATIENCE_S = 280.0


def run(arguments: list[str], folder: Path, *, kill_after: int | None = None) -> None:
    """``neuralmd reference``; killed, as a machine that goes down would, once so many frames of production are done."""
    command = [sys.executable, "-m", "openmm_neuralmd.cli", "reference", *arguments, "--quiet", "--threads", "1"]
    process = subprocess.Popen([*command, "--out", str(folder)], start_new_session=True)
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None:
        assert time.monotonic() < deadline, "the run takes too long"
        time.sleep(0.1)
        if kill_after is not None and count_frames(folder) >= kill_after:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            wait_for_mdrun(folder)
            return
    assert kill_after is None, "the run ended before it could be killed"
    assert process.returncode == 0


def count_frames(folder: Path) -> int:
    """Frames that are done, from what each engine writes as it goes."""
    log, gromacs = folder / "log.csv", folder / "gromacs" / "production.xtc"
    if gromacs.is_file():
        try:
            with mdtraj.open(str(gromacs)) as file:
                return len(file) - 1
        except OSError:  # its first frame is being written
            return 0
    return len(log.read_text().splitlines()) - 1 if log.is_file() else 0


def wait_for_mdrun(folder: Path) -> None:
    """mdrun ends with its parent and writes a checkpoint first."""
    log = folder / "gromacs" / "production.log"
    deadline = time.monotonic() + 60.0
    while log.is_file() and "Finished mdrun" not in log.read_text(errors="replace"):
        assert time.monotonic() < deadline, "mdrun outlives its parent"
        time.sleep(0.1)


@pytest.fixture(scope="module", params=["openmm", pytest.param("gromacs", marks=needs_gromacs)])
def reference(
    request: pytest.FixtureRequest, pocket: Path, parameters: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run that was killed on the way and went on."""
    if request.param == "gromacs":
        pytest.importorskip("parmed", reason="pip install 'openmm_neuralmd[gromacs]'")
    folder = tmp_path_factory.mktemp("reference") / request.param
    build = [str(pocket), "--ligand", LIGAND, "--ligand-parameters", str(parameters), "--padding", "0.15"]
    length = ["--time", str(TIME_PS), "--interval", str(INTERVAL_PS), "--equilibration", "5"]
    run([*build, *length, "--engine", request.param], folder, kill_after=KILLED_AFTER)
    assert json.loads((folder / "run.json").read_text())["status"] == "running"
    run(["--resume", "--engine", request.param], folder)
    return folder


def test_the_whole_run_is_there(reference: Path) -> None:
    record = json.loads((reference / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["sessions"][0]["from_snapshot"] >= KILLED_AFTER - 1  # it went on, and did not begin again
    n_frames = round(TIME_PS / INTERVAL_PS)
    file = open_run(reference)
    assert file.interval == pytest.approx(INTERVAL_PS)
    chunks = list(file.iterate(np.arange(file.topology.n_atoms), []))
    xyz = np.concatenate([c.xyz for c in chunks])
    assert len(xyz) == n_frames
    assert np.linalg.norm(np.diff(xyz, axis=0), axis=-1).max() < 0.5  # no jumps, no frame twice or missing
    assert (np.abs(np.diff(xyz, axis=0)).max(axis=(1, 2)) > 0.0).all()
    rows = np.genfromtxt(reference / "log.csv", delimiter=",", names=True)
    assert rows["time_ps"] == pytest.approx(INTERVAL_PS * np.arange(1, n_frames + 1))


def test_thermostat_and_barostat_act(reference: Path) -> None:
    rows = np.genfromtxt(reference / "log.csv", delimiter=",", names=True)
    half = len(rows) // 2
    assert rows["temperature_k"][half:].mean() == pytest.approx(TEMPERATURE_K, abs=8.0)
    assert rows["density_g_per_ml"][half:].mean() == pytest.approx(DENSITY_G_PER_ML, abs=0.05)


def test_bonds_to_hydrogen_keep_their_length(reference: Path, solvated: MolecularSystem) -> None:
    """In GROMACS too, whose topology comes from a System without these bonds' parameters."""
    place = {int(k): i for i, k in enumerate(solvated.find_complex())}
    system = solvated.system
    held = [system.getConstraintParameters(k) for k in range(system.getNumConstraints())]
    pairs = np.array([(place[i], place[j]) for i, j, _ in held if i in place])
    lengths = np.array([d._value for i, _, d in held if i in place])
    file = open_run(reference)
    xyz = np.concatenate([c.xyz for c in file.iterate(np.arange(file.topology.n_atoms), [])])
    found = np.linalg.norm(xyz[:, pairs[:, 0]] - xyz[:, pairs[:, 1]], axis=-1)
    assert np.abs(found - lengths).max() < 0.002  # XTC rounds coordinates to 0.001 nm
    others = np.array([(b[0].index, b[1].index) for b in PDBFile(str(reference / "topology.pdb")).topology.bonds()])
    free = np.linalg.norm(xyz[:, others[:, 0]] - xyz[:, others[:, 1]], axis=-1)
    assert free.max() < 0.25  # molecules are whole


def test_it_goes_into_compare(reference: Path, tmp_path: Path) -> None:
    assert main(["compare", str(reference), "--reference", str(reference), "--out", str(tmp_path / "report")]) == 0
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert metrics
    assert (tmp_path / "report" / "report.html").stat().st_size > 100_000


@needs_gromacs
class TestGromacs:
    """What only GROMACS can tell."""

    @pytest.mark.parametrize("double", [True, False], ids=["double", "single"])
    def test_both_engines_give_the_same_energies(
        self, solvated: MolecularSystem, vacuum: MolecularSystem, double: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("parmed", reason="pip install 'openmm_neuralmd[gromacs]'")
        found = shutil.which
        if double and found("gmx_d") is None:
            pytest.skip("no GROMACS in double precision")
        monkeypatch.setattr(shutil, "which", lambda name: found(name) if double or name != "gmx_d" else None)
        for molecules in (solvated, vacuum):
            comparison = compare_energies(molecules, threads=1)
            assert comparison.find_disagreements() == [], comparison.format()
            assert min(abs(comparison.openmm[t]) for t in comparison.openmm) > 10.0  # every term is tested

    def test_a_wrong_topology_is_noticed(self, vacuum: MolecularSystem, monkeypatch: pytest.MonkeyPatch) -> None:
        """Coulomb energies of 1-4 pairs divided by 1.25 in place of Amber's 1.2."""
        pytest.importorskip("parmed", reason="pip install 'openmm_neuralmd[gromacs]'")

        def write_scaled(molecules: MolecularSystem, path: Path) -> None:
            write_gromacs_topology(molecules, path)
            assert "0.83333333" in path.read_text()
            path.write_text(path.read_text().replace("0.83333333", "0.80000000"))

        monkeypatch.setattr("openmm_neuralmd.reference.energies.write_gromacs_topology", write_scaled)
        assert compare_energies(vacuum, positions=vacuum.positions, threads=1).find_disagreements() == [
            "Coulomb",
            "total",
        ]

    def test_a_run_that_was_killed_may_end_sooner_than_planned(
        self, pocket: Path, parameters: Path, tmp_path: Path
    ) -> None:
        """With fewer frames than it has, so that mdrun's checkpoint lies beyond the last of them."""
        pytest.importorskip("parmed", reason="pip install 'openmm_neuralmd[gromacs]'")
        folder = tmp_path / "run"
        build = [str(pocket), "--ligand", LIGAND, "--ligand-parameters", str(parameters), "--solvent", "none"]
        words = [*build, "--time", "1000", "--interval", "0.4", "--equilibration", "1", "--engine", "gromacs"]
        run(words, folder, kill_after=KILLED_AFTER)
        done = count_frames(folder) - 1
        assert done < 1000
        run(["--resume", "--engine", "gromacs", "--time", f"{done * 0.4:g}"], folder)
        assert json.loads((folder / "run.json").read_text())["status"] == "finished"
        assert len(mdtraj.load(str(folder / "trajectory.xtc"), top=str(folder / "topology.pdb"))) == done
        assert len((folder / "log.csv").read_text().splitlines()) == 1 + done
        last = json.loads((folder / "run.json").read_text())["sessions"][-1]
        assert (last["from_snapshot"], last["to_snapshot"]) == (done, done)

    def test_force_replaces_with_the_first_frame(
        self, pocket: Path, parameters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """mdrun goes on in a folder that is moved; ended before, the earlier run stays as it was."""
        pytest.importorskip("parmed", reason="pip install 'openmm_neuralmd[gromacs]'")
        folder = tmp_path / "run"
        build = [str(pocket), "--ligand", LIGAND, "--ligand-parameters", str(parameters), "--padding", "0.15"]
        words = [*build, "--interval", "0.4", "--engine", "gromacs", "--time", "2"]
        run([*words, "--equilibration", "1"], folder)
        earlier = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        command = [sys.executable, "-m", "openmm_neuralmd.cli", "reference", *words, "--force", "--quiet"]
        command += ["--threads", "1", "--out", str(folder), "--equilibration", "1000"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            deadline = time.monotonic() + PATIENCE_S
            while not list(folder.glob(".neuralmd-new/gromacs/heating.log")):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            process.terminate()
            assert process.wait() == 143
            assert process.stderr is not None
            assert "ended by SIGTERM" in process.stderr.read()
        assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == earlier
        run([*words, "--equilibration", "1", "--seed", "9", "--force"], folder)
        record = json.loads((folder / "run.json").read_text())
        assert record["settings"]["seed"] == 9
        assert record["n_snapshots_done"] == 5
        assert len(mdtraj.load(str(folder / "trajectory.xtc"), top=str(folder / "topology.pdb"))) == 5
        assert not [p for p in folder.iterdir() if p.name.startswith(".")]

    def test_table_for_people(
        self, pocket: Path, parameters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pytest.importorskip("parmed", reason="pip install 'openmm_neuralmd[gromacs]'")
        build = [str(pocket), "--ligand", LIGAND, "--ligand-parameters", str(parameters), "--solvent", "none"]
        assert main(["reference", *build, "--check-energies", "--out", str(tmp_path / "check")]) == 0
        assert "Lennard-Jones" in capsys.readouterr().out
        assert (tmp_path / "check" / "energies.csv").is_file()
        assert sorted(p.name for p in (tmp_path / "check").iterdir()) == ["energies.csv"]
