"""Many replicas: in batches, on several threads, each the same as alone."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from openmm_neuralmd.errors import InputError, NonFiniteStateError
from openmm_neuralmd.models.export import load_bundled_model, load_model
from openmm_neuralmd.molecule.complex import Complex, load_bundled_complex
from openmm_neuralmd.simulation.replicas import run_replicas
from tests.helpers import ModelDouble, make_double

N_REPLICAS = 19  # more than two batches


@pytest.fixture(params=[1, 2])
def n_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_a_replica_is_the_same_alone_and_among_many(tiny_complex: Complex, n_threads: int) -> None:
    model = make_double(tiny_complex, amplitude=0.3, friction=0.5)
    together = run_replicas(tiny_complex, model, n_snapshots=10, seeds=range(N_REPLICAS))
    assert together.shape == (10, N_REPLICAS, tiny_complex.ligand.n_atoms, 3)
    for seed in (0, 8, N_REPLICAS - 1):
        alone = run_replicas(tiny_complex, model, n_snapshots=10, seeds=[seed])
        np.testing.assert_allclose(together[:, seed], alone[:, 0], rtol=0, atol=1e-12)
    assert np.abs(together[:, 0] - together[:, 8]).max() > 0.01
    assert torch.get_num_threads() == n_threads


def test_model_is_bound_where_it_is_not(model_files: dict[str, Path]) -> None:
    complex_, model = load_bundled_complex(), load_model(model_files["ode"])
    found = run_replicas(complex_, model, n_snapshots=2, seeds=[3])
    assert np.array_equal(found, run_replicas(complex_, model.bind(complex_), n_snapshots=2, seeds=[3]))


@pytest.mark.parametrize(("n_snapshots", "seeds"), [(0, [1]), (2, [])])
def test_nothing_to_do_is_said(n_snapshots: int, seeds: list[int], tiny_complex: Complex) -> None:
    with pytest.raises(InputError, match="at least one snapshot and one seed"):
        run_replicas(tiny_complex, make_double(tiny_complex), n_snapshots=n_snapshots, seeds=seeds)


@pytest.mark.parametrize("kind", ["ode", "sde"])
def test_networks_in_batches_agree_with_single_evaluations(
    kind: str, n_threads: int, model_files: dict[str, Path]
) -> None:
    complex_ = load_bundled_complex()
    model = load_model(model_files[kind]).bind(complex_, dtype=torch.float64)
    rng = np.random.default_rng(0)
    starts = complex_.ligand.positions + 0.02 * rng.normal(size=(N_REPLICAS, complex_.ligand.n_atoms, 3))
    together = run_replicas(complex_, model, n_snapshots=3, seeds=range(N_REPLICAS), starts=starts)
    for k in (0, 8, N_REPLICAS - 1):
        alone = run_replicas(complex_, model, n_snapshots=3, seeds=[k], starts=starts[k : k + 1])
        np.testing.assert_allclose(together[:, k], alone[:, 0], rtol=0, atol=1e-9)


def test_bundled_model_in_single_precision() -> None:
    """One evaluation of many replicas equals single ones to 3e-6 of the force, and to 1e-6 of the noise."""
    complex_ = load_bundled_complex()
    model = load_bundled_model("sde").bind(complex_)
    generator = torch.Generator().manual_seed(0)
    x = torch.from_numpy(10.0 * complex_.ligand.positions).to(torch.float32)
    x = x + 0.2 * torch.randn(N_REPLICAS, *x.shape, generator=generator)
    increments = torch.randn(N_REPLICAS, model.n_noise, generator=generator)
    with torch.inference_mode():
        together = model.compute_force_and_noise(x, increments)
        for k in (0, 8, N_REPLICAS - 1):
            alone = model.compute_force_and_noise(x[k : k + 1], increments[k : k + 1])
            for many, one, tolerance in zip(together, alone, (3e-6, 1e-6), strict=True):
                assert (many[k] - one[0]).abs().max() <= tolerance * one.abs().max()


def test_paths_of_the_bundled_model_do_not_depend_on_the_batch() -> None:
    """In single precision, where batches of different sizes round differently, and every step projects bonds."""
    complex_ = load_bundled_complex()
    model = load_bundled_model("sde").bind(complex_)
    together = run_replicas(complex_, model, n_snapshots=20, seeds=range(16))
    alone = [run_replicas(complex_, model, n_snapshots=20, seeds=[seed])[:, 0] for seed in range(16)]
    assert 10.0 * np.abs(together - np.stack(alone, axis=1)).max() < 1e-4
    assert not np.array_equal(together, np.stack(alone, axis=1))


class Exploding(ModelDouble):
    """Gives NaN for every replica."""

    def compute_force(self, positions: Tensor) -> Tensor:
        return positions * np.nan


def test_errors_come_out_of_the_threads(tiny_complex: Complex, n_threads: int) -> None:
    model = Exploding(**vars(make_double(tiny_complex)))
    with pytest.raises(NonFiniteStateError, match="step 1"):
        run_replicas(tiny_complex, model, n_snapshots=3, seeds=range(N_REPLICAS))
    assert torch.get_num_threads() == n_threads


class Fragile(ModelDouble):
    """Where the ligand is 5 A and more from its place the force is NaN, or, where that is chosen, tears it apart."""

    def compute_force(self, positions: Tensor) -> Tensor:
        force = super().compute_force(positions)
        is_away = ((positions - self.centre).mean(dim=1, keepdim=True).norm(dim=-1, keepdim=True) > 5.0).expand_as(
            force
        )
        torn = 1e4 * torch.linspace(-1.0, 1.0, self.n_atoms, dtype=force.dtype)[:, None].expand_as(force)
        return torch.where(is_away, torn if self.tears else torch.nan, force)

    tears = False


class Tearing(Fragile):
    tears = True


@pytest.mark.parametrize(
    ("kind", "message"), [(Fragile, "positions are NaN or infinite"), (Tearing, "bonds cannot be brought back")]
)
def test_a_replica_that_breaks_is_named_and_takes_no_other_along(
    kind: type[Fragile], message: str, tiny_complex: Complex, n_threads: int, caplog: pytest.LogCaptureFixture
) -> None:
    model = kind(**vars(make_double(tiny_complex, amplitude=0.3, friction=0.5)))
    seeds = [100 + k for k in range(N_REPLICAS)]
    starts = np.tile(tiny_complex.ligand.positions, (N_REPLICAS, 1, 1))
    whole = run_replicas(tiny_complex, model, n_snapshots=4, seeds=seeds, starts=starts)
    assert caplog.text == ""
    starts[11] += 0.5
    found = run_replicas(tiny_complex, model, n_snapshots=4, seeds=seeds, starts=starts)
    assert (
        f"1 of {N_REPLICAS} replicas broke and are NaN from there on, of seeds 111; the first: step 1:" in caplog.text
    )
    assert message in caplog.text
    others = [k for k in range(N_REPLICAS) if k != 11]
    np.testing.assert_allclose(found[:, others], whole[:, others], rtol=0, atol=1e-12)
    assert np.isnan(found[:, 11]).all()
