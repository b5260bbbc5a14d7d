"""Calls through Python with what cannot be used: one clear error of the package that names the argument.

Each case is a call, the word that its message must hold, and what is passed.
"""

import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import openmm as mm
import pytest
import torch
from openmm import unit

from openmm_neuralmd import (
    Complex,
    NeuralMDForce,
    NeuralMDIntegrator,
    compute_physical_energy,
    load_bundled_model,
    load_complex,
    load_model,
    run_replicas,
    simulate,
)
from openmm_neuralmd.analysis.comparing import compare_files, write_comparison
from openmm_neuralmd.analysis.inputs import open_inputs
from openmm_neuralmd.analysis.plots import write_overview
from openmm_neuralmd.analysis.summary import summarize_run
from openmm_neuralmd.data.entries import Entry, load_misato_entries, load_table
from openmm_neuralmd.data.sources import load_data
from openmm_neuralmd.data.trajectories import LigandTrajectory, load_ligand_trajectory
from openmm_neuralmd.dynamics.threads import use_threads
from openmm_neuralmd.errors import InputError, NeuralMDError, TopologyMismatchError
from openmm_neuralmd.evaluation.evaluate import evaluate, evaluate_complexes
from openmm_neuralmd.evaluation.table import Evaluation
from openmm_neuralmd.force_field.choice import choose_force_field
from openmm_neuralmd.io.structures import load_structure
from openmm_neuralmd.models.applicability import assess_applicability
from openmm_neuralmd.models.export import export_model
from openmm_neuralmd.models.networks.bindingnet import BindingNet
from openmm_neuralmd.molecule.chemistry import read_sdf
from openmm_neuralmd.molecule.complex import check_source, load_prepared_complex, read_pdb
from openmm_neuralmd.preparation.prepare import prepare_complex
from openmm_neuralmd.reference.protocol import Protocol
from openmm_neuralmd.reference.run import ReferenceSettings, SystemChoice, run_reference
from openmm_neuralmd.reference.system import build_system, load_system
from openmm_neuralmd.simulation.benchmark import measure
from openmm_neuralmd.simulation.rigid import build_rigid_system
from openmm_neuralmd.simulation.start import choose_complex
from openmm_neuralmd.training.target import check_target
from openmm_neuralmd.training.train import train_model
from tests.helpers import make_double, make_topology
from tests.test_imports import OPTION

NOTHING = (None, 5, 2.5, "text", [], {}, object(), True)  # in place of an object
NO_TEXT = (None, 5, 2.5, [], b"LIG", True, "")
NO_PATH = (None, 5, 2.5, [], b"x.pdb", True, "", "a\0b", "n" * 300, "a\ud800b")
NO_COUNT = (0, -1, 2.5, 1.0, math.nan, True, "3", None, [3], 3 + 0j, np.float64(3), np.bool_(True))
NO_SEED = (-1, 2**64, 1.5, "0", True, [0], math.nan, np.float32(1))
NO_FLAG = ("no", "", 0, 1, None, 0.0, [])
NO_NUMBER = (math.nan, math.inf, "80", None, True, [80.0], 1j, 10**400)
NO_THREADS = (0, -1, 1.5, "2", 100_000, True, math.nan, [1], 10**30)
NO_LIST = (None, 5, "xtc", 2.5, {1}, object())


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory, tiny_complex: Complex, model_files: dict[str, Path]) -> Any:
    """What the calls need: a complex, its topology, models and trajectories, and a folder."""
    topology, positions = make_topology("CCO")
    n_atoms = tiny_complex.ligand.n_atoms
    trajectory = LigandTrajectory(np.zeros((20, n_atoms, 3)), 80.0, "t.dcd", "00")
    return SimpleNamespace(
        complex=tiny_complex,
        double=make_double(tiny_complex),
        topology=topology,
        positions=positions,
        model=load_model(model_files["ode"]),
        bound=load_model(model_files["ode"]).bind(tiny_complex),
        n_atoms=n_atoms,
        xyz=tiny_complex.ligand.positions,
        folder=tmp_path_factory.mktemp("calls"),
        trajectory=trajectory,
        entry=Entry(tiny_complex, [trajectory]),
    )


def run(at: Any, **changed: Any) -> Any:
    given = {"complex_": at.complex, "model": at.double, "out": at.folder / "run", "n_snapshots": 1, **changed}
    return simulate(**given)


def replicate(at: Any, **changed: Any) -> Any:
    return run_replicas(**{"complex_": at.complex, "model": at.double, "n_snapshots": 1, "seeds": [0], **changed})


def make_force(at: Any, **changed: Any) -> Any:
    return NeuralMDForce(**{"complex_": at.complex, "model": at.double, **changed})


def make_integrator(at: Any, **changed: Any) -> Any:
    given = changed if "force" in changed else {"force": make_force(at), **changed}
    return NeuralMDIntegrator(**given)


def place(at: Any, **changed: Any) -> Any:
    given = {"topology": at.topology, "positions": at.positions, "ligand": "LIG", **changed}
    return Complex.from_topology(**given)


def prepare(at: Any, **changed: Any) -> Any:
    return prepare_complex(**{"source": "nowhere.pdb", "ligand": "LIG", "out": at.folder / "prepared", **changed})


def train(at: Any, **changed: Any) -> Any:
    given = {"entries": [at.entry], "out": at.folder / "m.pt", "kind": "ode", "snapshot_interval": 80.0, **changed}
    return train_model(**given)


def judge(at: Any, **changed: Any) -> Any:
    given = {"complex_": at.complex, "models": [at.model], "trajectory": at.trajectory, "replicas": []}
    return evaluate(**{**given, "split": 0.8, "seeds": [0], "n_samples": 1, **changed})


def judge_all(at: Any, **changed: Any) -> Any:
    return evaluate_complexes(**{"entries": [at.entry], "models": [at.model], "seeds": [0], "n_samples": 1, **changed})


def simulate_md(at: Any, **changed: Any) -> Any:
    given = {"time_ps": 10.0, "interval_ps": 1.0, "equilibration_ps": 1.0, "temperature_k": 300.0, "pressure_bar": 1.0}
    return Protocol(**{**given, "timestep_ps": 0.002, "seed": 0, "is_periodic": True, **changed})


def run_md(at: Any, **changed: Any) -> Any:
    given = {"choice": SystemChoice(), "settings": ReferenceSettings(), "out": at.folder / "md", **changed}
    return run_reference(**given)


def evaluate_force(at: Any, **changed: Any) -> Any:
    return at.bound.compute_force(**changed)


def call(function: Callable[..., Any], *names: str) -> Callable[..., Any]:
    """A function with one argument, under its own name; the others of ``names`` are texts."""
    return lambda _, **changed: function(**{**dict.fromkeys(names, "nowhere"), **changed})


def list_wrong_arrays(n_atoms: int) -> list[Any]:
    """In place of positions (n_atoms, 3)."""
    fine = np.zeros((n_atoms, 3))
    return [
        5, "text", True, [], {}, object(), [[1, 2], [3]], fine[:-1], fine[:, :2], fine.ravel(), fine + np.nan,
        fine - np.inf, fine + 0j, fine.astype(np.float16), fine.astype(bool), fine.astype(object), fine.astype(str),
        fine * unit.kelvin, torch.zeros(n_atoms, 3, requires_grad=True), np.zeros((2, 2, n_atoms, 3)),
    ]  # fmt: skip


def each(function: Callable[..., Any], argument: str, values: Any) -> list[tuple[Callable[..., Any], str, Any]]:
    return [(function, argument, value) for value in values]


CASES = [
    # simulate
    *each(run, "complex_", NOTHING),
    *each(run, "model", NOTHING),
    *each(run, "out", NO_PATH),
    *each(run, "n_snapshots", (*NO_COUNT, 2**31)),
    *each(run, "steps_per_snapshot", (*NO_COUNT[:7], [3], 10**9)),
    *each(run, "scheme", (5, "", "verlet", True, ["leapfrog"])),
    *each(run, "seed", (*NO_SEED, None)),
    *each(run, "projection", NO_FLAG),
    *each(run, "backend", (*NO_TEXT, "jax")),
    *each(run, "platform", (*NO_TEXT, "Abacus")),
    *each(run, "threads", NO_THREADS),
    *each(run, "resume", NO_FLAG),
    *each(run, "overwrite", NO_FLAG),
    *each(run, "formats", (*NO_LIST, ["trr"], [None], [5])),
    *each(run, "progress", (5, "bar", True, [])),
    # run_replicas
    *each(replicate, "complex_", NOTHING),
    *each(replicate, "model", NOTHING),
    *each(replicate, "n_snapshots", NO_COUNT[1:]),
    *each(replicate, "seeds", (None, 5, "0", 2.5, {0}, object(), *([seed] for seed in (*NO_SEED, None)))),
    *each(replicate, "seeds", (np.array([0.0]), np.zeros((1, 1), dtype=int), np.array(["0"]))),
    *each(replicate, "steps_per_snapshot", (*NO_COUNT[:7], [3])),
    *each(replicate, "scheme", (5, "", "verlet", True)),
    *each(replicate, "projection", NO_FLAG),
    # NeuralMDForce and NeuralMDIntegrator
    *each(make_force, "complex_", NOTHING),
    *each(make_force, "model", NOTHING),
    *each(make_force, "seed", (*NO_SEED, None)),
    *each(make_force, "projection", NO_FLAG),
    *each(make_force, "backend", (*NO_TEXT, "jax")),
    *each(lambda at, **c: make_force(at).add_to(**c), "system", NOTHING),
    *each(make_integrator, "force", NOTHING),
    *each(make_integrator, "scheme", (5, "", "verlet", True, [])),
    *each(make_integrator, "steps_per_snapshot", (*NO_COUNT[:7], [3], 10**9)),
    *each(lambda at, **c: make_integrator(at).step(**c), "steps", (None, 1.5, "1", -1, True, [1], 2**31)),
    *each(lambda _, **c: compute_physical_energy(**c), "context", NOTHING),
    # complexes
    *each(place, "topology", NOTHING),
    *each(place, "ligand", NO_TEXT),
    *each(place, "sdf", (5, [], b"x", True, "")),
    *each(lambda _, **c: load_complex(**{"pdb": "nowhere.pdb", "ligand": "LIG", **c}), "pdb", NO_PATH),
    *each(lambda _, **c: load_complex(**{"pdb": "nowhere.pdb", "ligand": "LIG", **c}), "ligand", NO_TEXT),
    *each(lambda _, **c: load_complex("nowhere.pdb", "LIG", **c), "sdf", (5, [], True, "")),
    *each(call(read_pdb), "path", NO_PATH),
    *each(call(load_prepared_complex), "path", NO_PATH),
    *each(call(check_source), "path", NO_PATH),
    *each(call(read_sdf), "path", NO_PATH),
    *each(call(load_structure, "path", "ligand"), "path", NO_PATH),
    *each(call(load_structure, "path", "ligand"), "ligand", NO_TEXT),
    *each(call(load_structure, "path", "ligand"), "frame_interval", (0, -1, math.nan, "8", True)),
    # models
    *each(call(load_model), "path", NO_PATH),
    *each(call(load_bundled_model), "kind", (*NO_TEXT, "gnn")),
    *each(lambda at, **c: at.model.bind(**c), "complex_", NOTHING),
    *each(lambda at, **c: at.model.build_graph(**c), "complex_", NOTHING),
    *each(lambda at, **c: at.model.bind(at.complex, **c), "dtype", (None, 5, "float32", float, np.float32, torch.half)),
    *each(lambda at, **c: at.model.bind(at.complex, **c), "dtype", (torch.bfloat16, torch.int64, np.zeros(2))),
    *each(evaluate_force, "positions", (*NOTHING, np.zeros((1, 9, 3)), torch.tensor(1.0), torch.zeros(0))),
    *each(evaluate_force, "positions", (torch.zeros(1, 9, 3, dtype=torch.int64), torch.zeros(1, 9, 3) + 0j)),
    *each(lambda at, **c: export_model(**{"metadata": {}, "path": at.folder / "m.pt", **c}), "net", NOTHING),
    *each(lambda at, **c: export_model(torch.nn.Linear(1, 1), path=at.folder / "m.pt", **c), "metadata", NOTHING),
    *each(lambda _, **c: export_model(BindingNet(hidden=2), {}, **c), "path", NO_PATH),
    *each(lambda _, **c: assess_applicability(**{"metadata": {}, **c}), "complex_", NOTHING),
    *each(lambda at, **c: assess_applicability(at.complex, **c), "metadata", (None, 5, "text", [], {1: 2})),
    # preparation
    *each(prepare, "source", NO_PATH),
    *each(prepare, "ligand", NO_TEXT),
    *each(prepare, "out", NO_PATH),
    *each(prepare, "chains", (5, "AB", [5], [""])),
    *each(prepare, "smiles", (5, b"CCO", [], True)),
    *each(prepare, "sdf", (5, "", [], True)),
    *each(prepare, "ph", NO_NUMBER),
    *each(prepare, "max_gap", (-1, 2.5, "5", True, None)),
    *each(prepare, "remove", (None, 5, "HOH", [5])),
    *each(prepare, "overwrite", NO_FLAG),
    *each(prepare, "fetch", (None, 5, "text")),
    # training and evaluation
    *each(train, "entries", (*NO_LIST, [], [None], [5], [()], [(None, [])])),
    *each(lambda at, **c: train(at, entries=[Entry(at.complex, [c["trajectories"]])]), "trajectories", NOTHING),
    *each(train, "out", NO_PATH),
    *each(train, "kind", (*NO_TEXT, "SDE")),
    *each(train, "snapshot_interval", (0, -80, *NO_NUMBER)),
    *each(train, "held_out", (*NO_LIST, [None])),
    *each(train, "split", (0, -0.5, 1.5, *NO_NUMBER)),
    *each(train, "config", (5, "hidden", [], {1: 2}, {"hidden": 0}, {"ligand_cutoff": 0.1}, {"unheard": 1})),
    *each(train, "settings", NOTHING),
    *each(train, "device", (None, "cpu", 0)),
    *each(train, "labels", (*NO_LIST, [None])),
    *each(train, "resume", NO_FLAG),
    *each(train, "report", (5, "text")),
    *each(judge, "complex_", NOTHING),
    *each(judge, "models", (*NO_LIST, [], [None], ["sde"])),
    *each(judge, "trajectory", NOTHING),
    *each(judge, "replicas", (*NO_LIST, [None])),
    *each(judge, "split", (0, 1.5, *NO_NUMBER)),
    *each(judge, "seeds", (*NO_LIST, [], [-1], [1.5], [None])),
    *each(judge, "n_samples", NO_COUNT),
    *each(judge_all, "entries", (*NO_LIST, [], [None])),
    *each(judge_all, "models", (*NO_LIST, [], [None])),
    *each(judge_all, "seeds", (*NO_LIST, [], [-1])),
    *each(judge_all, "n_samples", NO_COUNT),
    *each(lambda _, **c: Evaluation([], {}).write(**c), "folder", NO_PATH),
    *each(lambda _, **c: load_ligand_trajectory("a.dcd", "a.pdb", **c), "complex_", NOTHING),
    *each(lambda at, **c: load_ligand_trajectory(**{"top": None, "complex_": at.complex, **c}), "path", NO_PATH),
    *each(lambda at, **c: load_ligand_trajectory("a.dcd", complex_=at.complex, **c), "top", (5, [], True, "")),
    *each(call(load_table), "path", NO_PATH),
    *each(lambda _, **c: load_misato_entries(skipped={}, split_file="a", **c), "path", NO_PATH),
    *each(lambda _, **c: load_misato_entries(skipped={}, path="a", **c), "split_file", NO_PATH),
    # analysis
    *each(lambda _, **c: compare_files(references=[], **c), "run", NOTHING),
    *each(lambda _, **c: write_comparison(out="out", **c), "comparison", NOTHING),
    *each(call(summarize_run), "run_dir", NO_PATH),
    *each(lambda _, **c: summarize_run("nowhere", **c), "superpose_on", (*NO_TEXT, "some")),
    *each(call(write_overview, "path"), "run_dir", NO_PATH),
    *each(call(write_overview, "run_dir"), "path", NO_PATH),
    *each(call(open_inputs), "run", NO_PATH),
    *each(lambda _, **c: open_inputs("nowhere", **c), "references", (*NO_LIST, [None], [5])),
    *each(lambda _, **c: open_inputs("nowhere", **c), "run_top", NO_PATH[1:]),
    *each(lambda _, **c: open_inputs("nowhere", **c), "top", (*NO_LIST, [5])),
    *each(lambda _, **c: open_inputs("nowhere", **c), "label", (*NO_TEXT[1:], "frozen", "r1")),
    # what commands are given
    *each(call(choose_complex), "complex_file", NO_PATH[1:]),
    *each(lambda _, **c: choose_complex(**c), "ligand", (*NO_TEXT[1:], "LIG")),
    *each(lambda _, **c: choose_complex(**c), "sdf", (*NO_PATH[1:], "a.sdf")),
    *each(lambda _, **c: load_data(part="test", **c), "trajectories", (*NO_LIST[1:], [None], [5])),
    *each(lambda _, **c: load_data(["a.dcd"], part="test", **c), "top", (5, [], True, "")),
    *each(lambda _, **c: load_data(["a.dcd"], part="test", **c), "complexes", (5, [], True, "", "list.csv")),
    *each(lambda _, **c: load_data(["a.dcd"], part="test", **c), "split_file", (5, [], True, "", "list.txt")),
    *each(lambda _, **c: load_data(["a.dcd"], part="test", **c), "frame_interval", (0, *NO_NUMBER[:3], True)),
    *each(lambda _, **c: choose_force_field(**c), "forcefield", (5, "a.xml", [], [None])),
    *each(lambda _, **c: choose_force_field(**c), "ligand_parameters", (None, 5, "a.xml", [None], ["a.xml"])),
    *each(lambda _, **c: choose_force_field(**c), "system", (5, [], True, "")),
    *each(lambda _, **c: choose_force_field(**c), "system_top", (5, [], True, "", "a.pdb")),
    *each(lambda _, **c: choose_force_field(**c), "allow_scripts", (*NO_FLAG, True)),
    *each(call(check_target), "out", NO_PATH),
    *each(lambda _, **c: check_target("m.pt", **c), "resume", NO_FLAG),
    *each(lambda _, **c: check_target("m.pt", resume=True, **c), "overwrite", (*NO_FLAG, True)),
    # reference MD and benchmarks
    *each(run_md, "choice", NOTHING),
    *each(run_md, "settings", NOTHING),
    *each(run_md, "out", NO_PATH),
    *each(run_md, "engine", (*NO_TEXT, "amber")),
    *each(run_md, "platform", (*NO_TEXT[1:], "Abacus")),
    *each(run_md, "threads", NO_THREADS),
    *each(run_md, "resume", (*NO_FLAG, True)),
    *each(run_md, "overwrite", NO_FLAG),
    *each(run_md, "progress", (5, "bar", True, [])),
    *each(lambda _, **c: SystemChoice(**c), "allow_scripts", (True,)),
    *each(lambda _, **c: SystemChoice(**c).build(), "system", ("a.xml",)),
    *each(lambda _, **c: SystemChoice(**c).build(), "top", ("a.pdb",)),
    *each(build_system_with := lambda _, **c: build_system(**{"source": "nowhere", **c}), "ligand", NO_TEXT[1:]),
    *each(build_system_with, "padding", NO_NUMBER),
    *each(build_system_with, "seed", (-1, 1.5, "0", None, True)),
    *each(build_system_with, "solvent", (*NO_TEXT, "beer")),
    *each(call(load_system, "top"), "system_path", NO_PATH),
    *each(call(load_system, "system_path"), "top", NO_PATH),
    *each(simulate_md, "time_ps", ("10", None, True, [])),
    *each(simulate_md, "pressure_bar", ("1", None)),
    *each(simulate_md, "seed", (1.5, "0", None, True)),
    *each(simulate_md, "is_periodic", NO_FLAG),
    *each(lambda _, **c: measure(**{"repeats": 1, **c}), "threads", NO_THREADS),
    *each(lambda _, **c: measure(threads=1, **c), "repeats", NO_COUNT),
]


def name_case(case: Any) -> str:
    if type(case) is object:
        return "object"  # whose repr is an address, another in each worker
    return " ".join(repr(case).split())[:40] if not callable(case) else getattr(case, "__name__", "call")


@pytest.mark.parametrize(("function", "argument", "value"), CASES, ids=name_case)
def test_wrong_arguments_are_named(function: Callable[..., Any], argument: str, value: Any, at: Any) -> None:
    with pytest.raises(NeuralMDError) as error:
        function(at, **{argument: value})
    told = str(error.value)
    assert argument.rstrip("_s") in told  # an entry of a list is one of them: format for formats
    assert not OPTION.search(told)
    assert "\n" not in told
    assert len(told) < 400
    assert not (at.folder / "run").exists()


def test_the_table_is_long() -> None:
    assert len(CASES) > 500


@pytest.mark.parametrize("index", range(len(list_wrong_arrays(1))))
@pytest.mark.parametrize("argument", ["positions", "starts", "velocities", "ligand positions"])
def test_wrong_arrays_are_named(argument: str, index: int, at: Any) -> None:
    name = argument.split()[-1]
    value = list_wrong_arrays(len(at.positions) if argument == "positions" else at.n_atoms)[index]
    calls = {
        "positions": lambda: place(at, positions=value),
        "ligand positions": lambda: at.complex.with_ligand_positions(value),
    }
    with pytest.raises((InputError, TopologyMismatchError), match=name):
        calls.get(argument, lambda: replicate(at, **{argument: value}))()


def test_positions_of_none_are_refused(at: Any) -> None:
    with pytest.raises(InputError, match="positions are None; give real numbers"):
        place(at, positions=None)


class TestAccepted:
    """What may look odd and is fine."""

    @pytest.mark.parametrize("kind", [int, np.int64, np.uint8, np.int32])
    def test_integers_of_numpy(self, kind: Any, at: Any) -> None:
        expected = replicate(at, n_snapshots=2, seeds=[3], steps_per_snapshot=1)
        found = replicate(at, n_snapshots=kind(2), seeds=np.array([3], dtype=kind), steps_per_snapshot=kind(1))
        assert np.array_equal(found, expected)
        assert make_force(at, seed=kind(3)).seed == 3
        assert make_integrator(at, steps_per_snapshot=kind(2)).steps_per_snapshot == 2

    def test_positions_in_any_unit_of_length(self, at: Any) -> None:
        expected = place(at).positions
        for value in (
            10.0 * at.positions * unit.angstrom,
            at.positions * unit.nanometer,
            1e3 * at.positions * unit.picometer,
            at.positions.tolist(),
            [mm.Vec3(*row) for row in at.positions.tolist()] * unit.nanometer,
            torch.from_numpy(at.positions),
        ):
            assert np.allclose(place(at, positions=value).positions, expected, atol=1e-12)
        assert np.allclose(place(at, positions=at.positions.astype(np.float32)).positions, expected, atol=1e-6)

    def test_starts_and_velocities_in_other_units(self, at: Any) -> None:
        v = np.full((1, at.n_atoms, 3), 1e-4)
        expected = replicate(at, starts=at.xyz, velocities=v)
        found = replicate(
            at, starts=10.0 * at.xyz * unit.angstrom, velocities=1e4 * v * unit.angstrom / unit.nanosecond
        )
        assert np.allclose(found, expected, atol=1e-12)

    def test_the_callers_arrays_stay(self, at: Any) -> None:
        before = at.positions.copy()
        place(at).positions[:] = 0.0
        assert np.array_equal(at.positions, before)

    def test_paths_as_texts(self, at: Any, model_files: dict[str, Path]) -> None:
        assert load_model(str(model_files["ode"])).sha256 == load_model(model_files["ode"]).sha256

    @pytest.mark.parametrize("threads", [None, 1, np.int64(2), 128])
    def test_threads(self, threads: Any) -> None:
        with use_threads(threads):
            assert torch.get_num_threads() >= 1

    def test_system_of_the_force(self, at: Any) -> None:
        force = make_force(at)
        system = build_rigid_system(at.complex)
        force.add_to(system)
        assert NeuralMDIntegrator(force=force, scheme=None, steps_per_snapshot=None).steps_per_snapshot == 1


def test_threads_beyond_the_machine_are_told_its_cores() -> None:
    told = f"threads is 100000; this machine has {os.cpu_count()} cores"
    with pytest.raises(InputError, match=told), use_threads(100_000):
        pass


def test_model_bound_to_another_ligand(at: Any) -> None:
    fewer = replace(at.double.ligand, atomic_numbers=at.double.ligand.atomic_numbers[:-1])
    other = replace(at.double, ligand=fewer)
    for function in (make_force, replicate, run):
        with pytest.raises(NeuralMDError, match=f"bound to {at.n_atoms - 1} atoms"):
            function(at, model=other)
