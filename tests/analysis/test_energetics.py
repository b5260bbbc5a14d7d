"""Energies in the comparison: the same atoms in every trajectory, and verdicts beside MD and a frozen ligand."""

import csv
import json
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from openmm_neuralmd.analysis.bundled import get_bundled_path, load_bundled_site, open_bundled_replica
from openmm_neuralmd.analysis.energetics import EnergyFunction, Interaction, compute_energies, plan_energies
from openmm_neuralmd.analysis.observation import observe, observe_start
from openmm_neuralmd.cli import main
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.io.trajectories import TrajectoryFile, open_run, open_trajectory
from openmm_neuralmd.molecule.site import BindingSite


class ModelDouble:
    """Stands in for a force field; energies are made of places, so that mixed-up atoms show."""

    def __init__(self, topology: mdtraj.Topology, positions: np.ndarray) -> None:
        self.protocol: dict[str, str | float] = {"text": "a double"}
        self.topology, self.positions = topology, positions
        self.bound: tuple[np.ndarray, np.ndarray] | None = None

    def bind(self, ligand: np.ndarray, protein: np.ndarray) -> EnergyFunction:
        self.bound = ligand, protein
        return self

    def compute_interaction(self, ligand: np.ndarray, protein: np.ndarray) -> Interaction:
        return Interaction(float(ligand[:, 0].sum()), float(protein[:, 0].sum()), 0.01)

    def compute_conformation(self, ligand: np.ndarray) -> tuple[float, float]:
        return float(np.linalg.norm(ligand[0] - ligand[-1])), 0.1


@pytest.fixture(scope="module")
def site() -> BindingSite:
    return load_bundled_site()


@pytest.fixture
def model(holo: mdtraj.Trajectory) -> ModelDouble:
    return ModelDouble(holo.topology, holo.xyz[0].astype(np.float64))


def slice_run(run: Path, folder: Path, atoms: np.ndarray) -> TrajectoryFile:
    """The run's frames with some atoms only."""
    frames = mdtraj.load(str(run / "trajectory.dcd"), top=str(run / "topology.pdb"), atom_indices=atoms)
    frames.time = 80.0 * np.arange(1, len(frames) + 1)
    frames.save(str(folder / "part.xtc"))
    frames[0].save(str(folder / "part.pdb"))
    return open_trajectory(folder / "part.xtc", folder / "part.pdb")


def test_the_same_atoms_in_every_topology(site: BindingSite, model: ModelDouble, bundled_run: Path) -> None:
    files = [open_run(bundled_run), open_bundled_replica("r1")]
    plan = plan_energies(model, site, files)
    assert model.bound is not None
    assert (plan.n_ligand, plan.notes) == (43, ())
    assert len(plan.residues) == 53  # within 0.8 nm
    assert set(site.pocket_labels) <= set(plan.residues)
    wanted = [model.topology.atom(k) for k in np.concatenate(model.bound)]
    for file, atoms in zip(files, plan.atoms, strict=True):
        found = [file.topology.atom(k) for k in atoms]
        assert [(a.residue.resSeq, a.element.symbol) for a in found] == [
            (a.residue.resSeq, a.element.symbol) for a in wanted
        ]
        assert [a.name for a in found if a.element.symbol != "H"] == [a.name for a in wanted if a.element.symbol != "H"]


def test_hydrogens_by_their_parents(site: BindingSite, model: ModelDouble, bundled_run: Path) -> None:
    """Other names and no bond records, as in a GRO file: each hydrogen still belongs to its own heavy atom."""
    file = open_run(bundled_run)
    expected = plan_energies(model, site, [file]).atoms[0]
    bare = file.topology.copy()
    bare._bonds = []
    for k, atom in enumerate(bare.atoms):
        if atom.element.symbol == "H":
            atom.name = f"X{k}"
    renamed = TrajectoryFile(file.path, bare, file.positions, None, 80.0, "bare")
    assert sorted(plan_energies(model, site, [renamed]).atoms[0]) == sorted(expected)


def test_backbone_alone_has_strain_but_no_interaction(
    site: BindingSite, model: ModelDouble, bundled_run: Path, tmp_path: Path
) -> None:
    run = open_run(bundled_run, label="run")
    backbone = slice_run(bundled_run, tmp_path, run.topology.select("resname '0WC' or name N CA C"))
    plan = plan_energies(model, site, [run, backbone])
    assert len(plan.residues) == 53
    assert len(plan.atoms[1]) == 43
    assert "strain only" in plan.notes[0]
    series = [observe(f, site, keep=k, max_kept=5) for f, k in zip((run, backbone), plan.atoms, strict=True)]
    physics = compute_energies(plan, series, observe_start(run, site, 36, keep=plan.atoms[0]))
    assert physics.energies["part"].interaction is None
    assert physics.energies["part"].strain == pytest.approx(physics.energies["run"].strain, abs=0.005)
    assert physics.energies["run"].frames.tolist() == [0, 9, 18, 26, 35]
    assert len(physics.energies["frozen"].strain) == 1
    assert physics.controls == ("part in the run's protein",)  # the ligand is known there
    control = physics.energies["part in the run's protein"]
    assert control.interaction == pytest.approx(physics.energies["run"].interaction[::2], abs=0.3)


def test_a_residue_that_differs_is_left_out_of_all(
    site: BindingSite, model: ModelDouble, bundled_run: Path, tmp_path: Path
) -> None:
    run = open_run(bundled_run)
    kept = run.topology.select("not (resSeq 472 and name HG2)")  # GLU472 of the hinge
    plan = plan_energies(model, site, [run, slice_run(bundled_run, tmp_path, kept)])
    assert "GLU472" not in plan.residues
    assert len(plan.residues) == 52
    assert "without GLU472" in plan.notes[0]
    assert len(plan.atoms[0]) == len(plan.atoms[1])


def test_a_run_without_hydrogens(site: BindingSite, model: ModelDouble, bundled_run: Path, tmp_path: Path) -> None:
    heavy = slice_run(bundled_run, tmp_path, open_run(bundled_run).topology.select("element != H"))
    with pytest.raises(InputError, match="hydrogens"):
        plan_energies(model, site, [heavy])
    plan = plan_energies(model, site, [open_run(bundled_run), heavy])
    assert len(plan.atoms[1]) == 0
    assert "so no energies" in plan.notes[0]


def test_report_with_energies(bundled_run: Path, tmp_path: Path) -> None:
    arguments = ["--forcefield", "amber14-all.xml", "--energy-frames", "4", "--minimise-steps", "20"]
    assert main(["compare", str(bundled_run), *arguments, "--out", str(tmp_path / "out")]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert "properties of motion and energy" in metrics["overall"]
    assert metrics["properties"]["interaction_energy"]["verdict"]
    series = metrics["energies"]["series"]
    assert list(series) == ["NeuralMD", "r1", "r2", "frozen", "r1 in the run's protein", "r2 in the run's protein"]
    assert -320 < series["r1"]["interaction"]["mean"] < -250
    means = [series[label]["interaction"]["mean"] for label in ("r2", "r2 in the run's protein", "NeuralMD")]
    assert means == sorted(means)  # a rigid protein costs energy; laid there by all CA atoms, the same poses clash
    rows = list(csv.DictReader((tmp_path / "out" / "energies.csv").open()))
    assert len(rows) == 4 + 4 + 4 + 1 + 2 + 2
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<h2>Energies</h2>" in page
    assert "Coulomb energies divided by 4" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ligand-parameters", "a.xml"], "--ligand-parameters needs a force field"),
        (["--system-top", "a.pdb"], "--system-top needs a force field"),
        (["--system", "a.xml"], "--system-top"),
        (["--system", "a.xml", "--forcefield", "amber14-all.xml"], "without --forcefield"),
        (["--forcefield", "nowhere.xml"], "nowhere.xml"),
        (["--forcefield", "amber14-all.xml", "--ligand-parameters", "nowhere.xml"], "nowhere.xml"),
        (["--forcefield", "amber14-all.xml", "--energy-frames", "1"], "at least 2"),
        (["--forcefield", "amber14-all.xml", "--dielectric", "0"], "permittivity"),
    ],
)
def test_bad_input(
    bundled_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    status = main(["compare", str(bundled_run), *arguments, "--out", str(tmp_path / "out")])
    errors = capsys.readouterr().err
    assert (status, len(errors.splitlines())) == (2, 1), errors
    assert message in errors
    assert not (tmp_path / "out").exists()


def test_the_force_field_of_another_ligand(site: BindingSite, bundled_run: Path, holo: mdtraj.Trajectory) -> None:
    other = holo.atom_slice(holo.topology.select("not name Cl1"))
    model = ModelDouble(other.topology, other.xyz[0].astype(np.float64))
    with pytest.raises(ValueError, match=r"the force field's structure: .*another molecule than 0WC"):
        plan_energies(model, site, [open_run(bundled_run)])


def test_bundled_parameters_exist() -> None:
    assert get_bundled_path("ligand_gaff2.xml").is_file()
