"""Several complexes in one training: they never touch, and what was left out and held out is written down."""

from dataclasses import replace
from importlib import resources
from pathlib import Path

import h5py
import mdtraj
import numpy as np
import pytest
import torch

from openmm_neuralmd.cli import main
from openmm_neuralmd.data.misato import write_misato
from openmm_neuralmd.models.export import load_model
from openmm_neuralmd.models.networks.interface import build_ligand_graph, build_protein_structure
from openmm_neuralmd.models.registry import build_network
from openmm_neuralmd.molecule.complex import Complex, load_bundled_complex
from openmm_neuralmd.training.loop import ComplexWindows, Trainer, TrainingSettings
from tests.helpers import SHARED

ASSETS = Path(str(resources.files("openmm_neuralmd") / "assets" / "4g3e"))
TINY = {"hidden": 16, "n_layers": 1, "n_radial": 8}
FAST = ["--hidden", "8", "--layers", "1", "--iterations", "4", "--batch-size", "4", "--quiet", "--threads", "1"]


def make_windows(complex_: Complex, n: int, seed: int) -> ComplexWindows:
    generator = torch.Generator().manual_seed(seed)
    pose = torch.from_numpy(10.0 * complex_.ligand.positions)
    windows = (pose + 0.3 * torch.randn(n, 3, *pose.shape, generator=generator, dtype=torch.float64)).double()
    return ComplexWindows(
        build_ligand_graph(complex_, torch.float64),
        build_protein_structure(complex_, pocket_cutoff=10.0, dtype=torch.float64),
        training=[windows],
        validation=[windows],
    )


@pytest.fixture
def sets(tiny_complex: Complex) -> list[ComplexWindows]:
    return [make_windows(load_bundled_complex(), 3, 0), make_windows(tiny_complex, 5, 1)]


def make_trainer(sets: list[ComplexWindows], tmp_path: Path, kind: str = "gnn") -> Trainer:
    torch.manual_seed(0)
    net = build_network(kind, {**TINY, "ligand_cutoff": 5.0, "pocket_cutoff": 10.0}).double()
    return Trainer(net, kind, sets, TrainingSettings(batch_size=6), tmp_path)


def compute_gradient(trainer: Trainer, batch: list[tuple[int, torch.Tensor]]) -> tuple[float, torch.Tensor]:
    trainer.net.zero_grad()
    loss = trainer.compute_batch_loss(batch)
    loss.backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in trainer.net.parameters()]
    return loss.item(), torch.cat([g.flatten() for g in gradients])


def test_alone_equals_batched(sets, tmp_path):
    """The batch's loss and gradient are the windows' mean of each complex alone, in a trainer of its own."""
    together = make_trainer(sets, tmp_path)
    loss, gradient = compute_gradient(together, [(k, c.training[0]) for k, c in enumerate(sets)])
    alone = [compute_gradient(make_trainer([c], tmp_path), [(0, c.training[0])]) for c in sets]
    weights = [len(c.training[0]) / 8 for c in sets]
    assert loss == pytest.approx(sum(w * x for w, (x, _) in zip(weights, alone, strict=True)), rel=1e-12)
    expected = sum(w * g for w, (_, g) in zip(weights, alone, strict=True))
    assert gradient.norm() > 1e-3
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-12)


def test_a_complex_does_not_feel_the_others(sets, tmp_path):
    """Gradients at the windows of one complex stay the same to the bit, whatever the other complex is."""
    found = []
    for shift in (0.0, 2.0):
        changed = [sets[0], replace(sets[1], structure=sets[1].structure._replace(
            backbone=sets[1].structure.backbone + shift))]  # fmt: skip
        windows = sets[0].training[0].clone().requires_grad_(True)
        other = sets[1].training[0] + shift**2
        make_trainer(changed, tmp_path).compute_batch_loss([(0, windows), (1, other)]).backward()
        found.append(windows.grad)
    assert torch.equal(*found)


def test_batches_hold_windows_of_all_complexes_alike(sets, tmp_path):
    trainer = make_trainer(sets, tmp_path)
    counts = np.zeros(2)
    for _ in range(100):
        for owner, windows in trainer._draw_batch():
            counts[owner] += len(windows)
            known = sets[owner].training[0]
            assert all((known == w).flatten(1).all(1).any() for w in windows)
    assert counts.sum() == 600
    assert counts[0] / 600 == pytest.approx(3 / 8, abs=0.06)


@pytest.fixture(scope="module")
def misato(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4G3E twice, from both replicas, one with a peptide in the ligand's place, and ../shared's complexes, shaken."""
    target = tmp_path_factory.mktemp("misato") / "MD.hdf5"
    entries = {}
    for name in ("r1", "r2"):
        entries[name] = mdtraj.load(str(ASSETS / f"{name}_pocket.xtc"), top=str(ASSETS / "pocket.pdb"))
    entries["peptide"] = entries["r1"][:4]
    for name in ("4g3f", "5i29", "2iwx"):
        if (pdb := SHARED / "data" / "complexes" / name / "prepared" / "complex.pdb").is_file():
            start = mdtraj.load(str(pdb))
            noise = np.random.default_rng(0).normal(scale=0.003, size=(20, start.n_atoms, 3))
            noise[0] = 0.0
            entries[name] = mdtraj.Trajectory(start.xyz + noise, start.topology)
    for trajectory in entries.values():
        for residue in trajectory.topology.residues:
            if residue.name in ("0WC", "0WB", "67B", "M1S"):
                residue.name = "LIG"
    write_misato(target, entries, ligand="LIG")
    with h5py.File(target, "r+") as file:
        file["peptide/atoms_residue"][file["peptide/molecules_begin_atom_index"][-1] :] = 2
    return target


def test_training_on_misato(misato, tmp_path, capsys):
    (tmp_path / "train.txt").write_text("r1\npeptide\n")
    (tmp_path / "val.txt").write_text("r2\n")
    lists = ["--split-file", str(tmp_path / "train.txt"), "--validation-file", str(tmp_path / "val.txt")]
    out = tmp_path / "m.pt"
    assert main(["train", "--misato", str(misato), *lists, "--out", str(out), *FAST]) == 0
    printed = capsys.readouterr()
    assert "left out, with the reason (1):" in printed.err
    assert "peptide ligands are not supported" in printed.err
    assert "leakage: 1 of 1 share protein or scaffold" in printed.out
    training = load_model(out).metadata["training"]
    assert [c["source"] for c in training["complexes"]] == ["MD.hdf5/r1"]
    assert list(training["complexes_skipped"]) == ["peptide"]
    assert training["complexes_validation"] == ["MD.hdf5/r2"]
    assert [(t["file"], t["frames_training"], t["frames_validation"]) for t in training["trajectories"]] == [
        ("MD.hdf5/r1", [0, 36], [36, 36]),
        ("MD.hdf5/r2", [0, 0], [0, 36]),
    ]
    assert len(training["leaks"]) == 1


def test_a_trajectory_cannot_choose_the_checkpoint_it_trains(misato, tmp_path, capsys):
    (tmp_path / "train.txt").write_text("r1\nr2\n")
    (tmp_path / "val.txt").write_text("r2\n")
    lists = ["--split-file", str(tmp_path / "train.txt"), "--validation-file", str(tmp_path / "val.txt")]
    assert main(["train", "--misato", str(misato), *lists, "--out", str(tmp_path / "m.pt"), *FAST]) == 2
    assert "MD.hdf5/r2 is both trained on and held out" in capsys.readouterr().err
    assert not (tmp_path / "m.pt").exists()


@pytest.mark.skipif(not (SHARED / "data" / "complexes").is_dir(), reason="no complexes in ../shared/data")
def test_training_on_different_complexes(misato, tmp_path, capsys):
    (tmp_path / "train.txt").write_text("r1\n4g3f\n5i29\n2iwx\n")
    out = tmp_path / "m.pt"
    words = ["train", "--misato", str(misato), "--split-file", str(tmp_path / "train.txt"), "--kind", "ode"]
    assert main([*words, "--out", str(out), *FAST]) == 0
    assert "complexes: 4, trajectories: 4;" in capsys.readouterr().out
    metadata = load_model(out).metadata
    assert {6, 7, 8, 9, 16, 17} <= set(metadata["elements"])
    assert len({c["sequence"] for c in metadata["training"]["complexes"]}) == 4


def test_training_on_a_table(tmp_path):
    (tmp_path / "list.csv").write_text(
        "trajectory,top,ligand,sdf,part\n"
        + "".join(f"{ASSETS}/{r}_pocket.xtc,{ASSETS}/pocket.pdb,0WC,{ASSETS}/ligand.sdf,{part}\n"
                  for r, part in (("r1", "training"), ("r2", "validation")))
    )  # fmt: skip
    out = tmp_path / "m.pt"
    assert main(["train", "--complexes", str(tmp_path / "list.csv"), "--out", str(out), *FAST]) == 0
    assert load_model(out).metadata["training"]["windows"] == 36 - 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing given: give trajectories"),
        (["a.xtc", "--misato", "MD.hdf5"], "a trajectory and --misato given"),
        (["--misato", "MD.hdf5"], "--misato needs --split-file"),
        (["a.xtc", "--ligand", "LIG"], "give --ligand, and --top or --complex"),
        (["a.xtc", "--top", "a.pdb", "--split-file", "x"], "--split-file cannot be used with a trajectory"),
        (["--misato", "MD.hdf5", "--ligand", "LIG"], "--ligand cannot be used with --misato"),
        (["--complexes", "x.csv", "--complex", "bundled", "--validation-file", "v"], "--complex, --validation-file"),
        (["a.xtc", "--hidden", "0"], "--hidden 0: give 1 or more"),
        (["a.xtc", "--pocket-cutoff", "nan"], "--pocket-cutoff nan: give a number above 0"),
    ],
)
def test_sources_that_cannot_be_used(words, message, tmp_path, capsys):
    assert main(["train", *words, "--out", str(tmp_path / "m.pt")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
