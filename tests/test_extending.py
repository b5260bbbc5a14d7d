"""The examples of docs/extending.md work as they stand."""

import json
import re
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import openmm as mm
import pytest
import torch

from openmm_neuralmd.analysis import properties
from openmm_neuralmd.analysis.bundled import get_bundled_path
from openmm_neuralmd.cli import main
from openmm_neuralmd.data.trajectories import LigandTrajectory
from openmm_neuralmd.dynamics import scheme as schemes
from openmm_neuralmd.dynamics.equation import Dynamics
from openmm_neuralmd.dynamics.propagator import propagate
from openmm_neuralmd.dynamics.state import State
from openmm_neuralmd.dynamics.stepped import Stepped
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.io import copy_format
from openmm_neuralmd.models import registry
from openmm_neuralmd.models.export import load_model
from openmm_neuralmd.molecule.complex import Complex, load_bundled_complex
from openmm_neuralmd.simulation.run import simulate
from openmm_neuralmd.testing.contract import CHECKS, build_case
from openmm_neuralmd.training.loop import TrainingSettings
from openmm_neuralmd.training.train import train_model
from tests.helpers import ROOT, fit_order, make_double, pretend_plugins

TEXT = (ROOT / "docs" / "extending.md").read_text()


def read_block(name: str) -> str:
    (block,) = re.findall(rf"```python {name}\n(.*?)```", TEXT, re.DOTALL)
    return block


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], str]:
    """Writes an example as a module that can be imported, and gives the module's name."""

    def make(name: str) -> str:
        folder = tmp_path / "installed"
        folder.mkdir(exist_ok=True)
        (folder / f"extending_{name}.py").write_text(read_block(name))
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.delitem(sys.modules, f"extending_{name}", raising=False)
        return f"extending_{name}"

    return make


def test_entry_points_are_those_that_are_looked_for() -> None:
    found = set(re.findall(r'project\.entry-points\."(.+?)"', TEXT))
    plugins = (registry.OTHER_KINDS, properties.OTHER_PROPERTIES, copy_format.OTHER_FORMATS, schemes.OTHER_SCHEMES)
    assert found == {p.group for p in plugins}


class TestKind:
    @pytest.fixture
    def drift(self, install, monkeypatch: pytest.MonkeyPatch) -> None:
        pretend_plugins(monkeypatch, registry.OTHER_KINDS, ("a-package", "drift", f"{install('kind')}:KIND"))

    def test_it_keeps_the_contract(self, drift: None) -> None:
        case = build_case("drift", load_bundled_complex(), {"hidden": 16, "n_layers": 1, "n_radial": 8})
        for check in CHECKS:
            check(case)

    def test_it_is_trained_and_simulated(self, drift: None, tmp_path: Path) -> None:
        complex_ = load_bundled_complex()
        with resources.as_file(resources.files("openmm_neuralmd") / "assets/4g3e/reference.npz") as path:
            data = np.load(path)
            snapshots = data["r1"][:100][:, data["is_heavy"]].astype(np.float64)
        result = train_model(
            [(complex_, [LigandTrajectory(snapshots, 8.0, "r1", "0" * 64)])],
            tmp_path / "drift.pt",
            kind="drift",
            snapshot_interval=80.0,
            config={"hidden": 16, "n_layers": 1, "n_radial": 8},
            settings=TrainingSettings(iterations=20, validate_every=5),
        )
        assert result.best_step > 0
        files = simulate(complex_, load_model(tmp_path / "drift.pt"), tmp_path / "run", n_snapshots=2)
        assert files.trajectory.exists()


class TestScheme:
    @pytest.fixture
    def ralston(self, install, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        pretend_plugins(monkeypatch, schemes.OTHER_SCHEMES, ("a-package", "ralston", f"{install('scheme')}:SCHEME"))
        schemes.find_schemes.cache_clear()
        yield
        schemes.find_schemes.cache_clear()

    def test_it_has_its_order(self, ralston: None) -> None:
        """Of a harmonic oscillator with friction."""
        dynamics = Dynamics(lambda x: -x, lambda x, _: (-x, 0.0 * x), 0.5, 0)
        x, v = torch.randn(2, 8, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        omega, gamma = np.sqrt(1 - 0.25**2), 0.25
        exact = np.exp(-gamma * 2) * (x * np.cos(2 * omega) + (v + gamma * x) / omega * np.sin(2 * omega))
        steps, errors = np.array([8, 16, 32]), []
        for n in steps.tolist():
            path, _ = propagate(
                Stepped(dynamics, scheme="ralston", steps_per_snapshot=n), State(x, v, tuple(range(8))), 2
            )
            errors.append(float((path[-1] - exact).abs().max()))
        assert fit_order(1 / steps, np.array(errors)) == pytest.approx(2, abs=0.25)

    def test_both_sides_agree(self, ralston: None, tiny_complex: Complex) -> None:
        from openmm_neuralmd.simulation.replicas import run_replicas
        from tests.simulation.test_agreement import run_openmm

        model = make_double(tiny_complex)
        start = tiny_complex.ligand.positions + 0.01
        velocities = 0.001 * np.ones_like(start)
        platform = mm.Platform.getPlatformByName("Reference")
        settings = {"scheme": "ralston", "steps_per_snapshot": 2, "projection": False}
        found = run_openmm(tiny_complex, model, platform, start, velocities, **settings)
        expected = run_replicas(
            tiny_complex, model, n_snapshots=len(found), seeds=[0], starts=start, velocities=velocities, **settings
        )
        np.testing.assert_allclose(found, expected[:, 0], atol=1e-10)


def test_property(install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    pretend_plugins(
        monkeypatch, properties.OTHER_PROPERTIES, ("a-package", "gyration", f"{install('property')}:PROPERTY")
    )
    *_, last = properties.list_properties(has_energies=True)
    x = np.array([[[0.0, 0.0, 0.0], [0.2, 0.0, 0.0]]])  # nm: one A from the centre each
    measured = [last.measure(types.SimpleNamespace(positions=scale * x), None) for scale in (1.0, 2.0)]
    assert measured[0].tolist() == [[1.0]]
    assert last.distance(*measured) == pytest.approx(1.0)
    run, reference, top = (get_bundled_path(name) for name in ("r2_pocket.xtc", "r1_pocket.xtc", "pocket.pdb"))
    words = ["compare", run, "--run-top", top, "--reference", reference, "--top", top, "--out", tmp_path / "c"]
    assert main([*map(str, words), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["gyration"]["title"] == "Radius of gyration"


def test_format(install, monkeypatch: pytest.MonkeyPatch, tiny_complex: Complex, tmp_path: Path) -> None:
    pretend_plugins(monkeypatch, copy_format.OTHER_FORMATS, ("a-package", "npz", f"{install('format')}:FORMAT"))
    files = simulate(tiny_complex, make_double(tiny_complex), tmp_path, n_snapshots=5, formats=["npz"])
    with np.load(tmp_path / "trajectory.npz") as data:
        assert data["positions"].shape == (5, tiny_complex.topology.getNumAtoms(), 3)
        assert len(np.unique(np.diff(data["times"]))) == 1
    assert files.get_copy("npz").exists()


@pytest.mark.parametrize(
    ("fault", "told"),
    [("read", "does not hold what was written to it"), ("open", "cannot be written: no file is like this")],
)
def test_a_format_that_fails(
    fault: str, told: str, install, monkeypatch: pytest.MonkeyPatch, tiny_complex: Complex, tmp_path: Path
) -> None:
    """In one line, whatever somebody else's code raises."""

    def fail(*_: object) -> None:
        raise KeyError("no file is like this")

    pretend_plugins(monkeypatch, copy_format.OTHER_FORMATS, ("a-package", "npz", f"{install('format')}:FORMAT"))
    format_ = copy_format.get_copy_format("npz")
    monkeypatch.setattr(copy_format.OTHER_FORMATS, "_loaded", {"npz": replace(format_, **{fault: fail})})
    with pytest.raises(InputError, match=rf"trajectory\.npz: {told}"):
        simulate(tiny_complex, make_double(tiny_complex), tmp_path, n_snapshots=2, formats=["npz"])
    assert not (tmp_path / "trajectory.npz").exists()
