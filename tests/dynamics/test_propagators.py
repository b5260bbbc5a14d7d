"""Propagators beside the coarse step: exact where the answer is known, the same in a batch, resumed, and on a GPU."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from openmm_neuralmd.dynamics.annealed import AnnealedLangevin
from openmm_neuralmd.dynamics.next_position import NextPosition
from openmm_neuralmd.dynamics.propagator import Propagator, propagate
from openmm_neuralmd.dynamics.trivial import Frozen, HarmonicNoise
from openmm_neuralmd.dynamics.verlet import VelocityVerlet
from openmm_neuralmd.errors import InputError
from tests.helpers import fit_order

N_ATOMS = 3
WELL = 0.3  # [1/snapshot^2]
GPU = pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")])


def make_covariance_factor() -> Tensor:
    random = torch.randn(9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    return torch.linalg.cholesky(0.1 * torch.eye(9, dtype=torch.float64) + 0.01 * random @ random.t())


MEAN = torch.arange(9.0, dtype=torch.float64).reshape(N_ATOMS, 3)
KINDS: dict[str, Callable[[], Propagator]] = {
    "frozen": Frozen,
    "mean": lambda: Frozen(MEAN),
    "harmonic": lambda: HarmonicNoise(MEAN, make_covariance_factor()),
    "annealed": lambda: AnnealedLangevin(lambda x, s: (MEAN.to(x) - x) / (0.04 + s**2), [0.5, 0.2, 0.1]),
    "verlet": lambda: VelocityVerlet(lambda x: -WELL * x),
    "next position": lambda: NextPosition(lambda x: -0.1 * x),
}


def make_history(n: int, *, n_snapshots: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return MEAN + 0.1 * torch.randn(n, n_snapshots, N_ATOMS, 3, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("device", ["cpu", GPU])
@pytest.mark.parametrize("kind", KINDS)
class TestEach:
    def test_alone_in_a_batch_and_resumed(self, kind: str, device: str) -> None:
        propagator, history = KINDS[kind](), make_history(4)
        alone, _ = propagate(propagator, propagator.start(history[2:3], [7]), 6)
        start = propagator.start(history.to(device), [5, 6, 7, 8])
        first, state = propagate(propagator, start, 2)
        rest, last = propagate(propagator, state.to("cpu").to(device), 4)
        assert torch.cat([first, rest])[:, 2].cpu().sub(alone[:, 0]).abs().max() < 1e-12
        assert first.shape == (2, 4, N_ATOMS, 3)
        assert (last.step, first.device.type) == (6, device)

    def test_seeds_matter_where_it_is_random(self, kind: str, device: str) -> None:
        propagator, history = KINDS[kind](), make_history(1, n_snapshots=1).expand(2, -1, -1, -1).to(device)
        path, _ = propagate(propagator, propagator.start(history, [1, 2]), 3)
        assert torch.equal(path[:, 0], path[:, 1]) != propagator.is_random
        with pytest.raises(InputError, match="1 seeds for 2 replicas"):
            propagator.start(history, [1])

    def test_single_precision(self, kind: str, device: str) -> None:
        propagator, history = KINDS[kind](), make_history(2).to(device)
        double, _ = propagate(propagator, propagator.start(history, [1, 2]), 5)
        single, _ = propagate(propagator, propagator.start(history.float(), [1, 2]), 5)
        assert single.dtype == torch.float32
        assert (single.double() - double).abs().max() < 1e-5


def test_frozen_stays() -> None:
    history = make_history(3)
    for pose, expected in ((None, history[:, -1]), (MEAN, MEAN.expand(3, -1, -1))):
        path, state = propagate(Frozen(pose), Frozen(pose).start(history, range(3)), 2)
        assert torch.equal(path, expected.expand(2, -1, -1, -1))
        assert not state.velocities.any()


def test_harmonic_noise_has_its_mean_and_covariance_and_no_memory() -> None:
    factor = make_covariance_factor()
    propagator = HarmonicNoise(MEAN, factor)
    path, _ = propagate(propagator, propagator.start(make_history(500), range(500)), 20)
    deviations = (path - MEAN).flatten(2)
    spread = factor.square().sum(1).max().sqrt()
    n = len(path) * 500
    assert deviations.mean((0, 1)).abs().max() < 5 * spread / n**0.5
    covariance = torch.einsum("trk,trl->kl", deviations, deviations) / n
    assert (covariance - factor @ factor.t()).abs().max() < 6 * spread**2 / n**0.5
    following = torch.einsum("trk,trl->kl", deviations[1:], deviations[:-1]) / n
    assert following.abs().max() < 6 * spread**2 / n**0.5


def test_annealed_langevin_samples_a_known_density() -> None:
    """Of a normal density of variance v, smoothed at sigma, the score is (mean - x)/(v + sigma^2).

    Where the lowest level is far below the density's width and steps are small its samples have mean and variance of
    the density; the levels' own recursion says to what accuracy.
    """
    v, levels, n_each, r = 0.04, [0.4, 0.2, 0.1], 30, 0.3
    propagator = AnnealedLangevin(lambda x, s: (MEAN - x) / (v + s**2), levels, steps_per_level=n_each, step_ratio=r)
    history = (MEAN + 1.0).expand(2000, 1, -1, -1)
    path, state = propagate(propagator, propagator.start(history, range(2000)), 1)
    shift, variance = 1.0, levels[0] ** 2
    for s in levels:
        for _ in range(n_each):
            kept = 1.0 - 0.5 * r * s**2 / (v + s**2)
            shift, variance = kept * shift, kept**2 * variance + r * s**2
    kept = 1.0 - levels[-1] ** 2 / (v + levels[-1] ** 2)
    shift, variance = kept * shift, kept**2 * variance
    deviations = path[0] - MEAN
    n = deviations.numel()
    assert float(deviations.mean()) == pytest.approx(shift, abs=4 * (variance / n) ** 0.5)
    assert float((deviations - shift).square().mean()) == pytest.approx(variance, rel=4 * (2 / n) ** 0.5)
    assert variance == pytest.approx(v, rel=0.15)
    assert torch.equal(state.velocities, path[0] - history[:, 0])


def test_draws_of_one_sample_are_independent() -> None:
    """Without a score what remains is the sum of all draws: its variance counts them."""
    propagator = AnnealedLangevin(lambda x, _: 0.0 * x, [0.5, 0.25], steps_per_level=3, step_ratio=0.5)
    path, _ = propagate(propagator, propagator.start(0.0 * make_history(3000), range(3000)), 1)
    expected = 0.25 + 0.5 * 3 * (0.25 + 0.0625)
    assert float(path.square().mean()) == pytest.approx(expected, rel=4 * (2 / path.numel()) ** 0.5)


def test_verlet_is_of_order_two() -> None:
    """The well's frequency stands for the timestep: half of it is half a timestep, twice as many of them."""
    steps, errors = np.array([4, 8, 16, 32]), []
    for n in steps.tolist():
        omega = 1.0 / n
        propagator = VelocityVerlet(lambda x, k=omega**2: -k * x)
        x = make_history(2, n_snapshots=1)
        path, _ = propagate(propagator, propagator.start(x, [0, 1]), n)
        errors.append(float((path[-1] - x[:, 0] * np.cos(1.0)).abs().max()))
    assert fit_order(1 / steps, np.array(errors)) == pytest.approx(2.0, abs=0.1)


def test_verlet_keeps_the_energy_and_turns_back() -> None:
    propagator = VelocityVerlet(lambda x: -WELL * x)
    start = propagator.start(make_history(3), range(3))
    energies = []
    state = start
    for _ in range(500):
        state, _ = propagator.advance(state)
        shadow = WELL * (1.0 - WELL / 4.0)  # what velocity Verlet keeps of this well exactly
        energies.append((state.velocities.square() + shadow * state.positions.square()).sum())
    assert torch.stack(energies).std() < 1e-11 * energies[0]
    turned = type(state)(state.positions, -state.velocities, state.seeds, memory=state.memory)
    for _ in range(500):
        turned, _ = propagator.advance(turned)
    assert (turned.positions - start.positions).abs().max() < 1e-9


def test_verlet_starts_from_two_snapshots_of_its_own_path() -> None:
    propagator = VelocityVerlet(lambda x: -WELL * x)
    path, _ = propagate(propagator, propagator.start(make_history(2), range(2)), 6)
    again, _ = propagate(propagator, propagator.start(path[2:4].transpose(0, 1), range(2)), 2)
    assert (again - path[4:]).abs().max() < 1e-12
    at_rest = propagator.start(make_history(2, n_snapshots=1), range(2))
    assert not at_rest.velocities.any()


def test_next_position_adds_what_it_is_told() -> None:
    propagator = NextPosition(lambda x: -0.1 * x)
    history = make_history(2)
    path, state = propagate(propagator, propagator.start(history, range(2)), 3)
    assert (path - history[:, -1] * torch.tensor([0.9, 0.81, 0.729])[:, None, None, None]).abs().max() < 1e-6
    assert (state.velocities - (path[2] - path[1])).abs().max() < 1e-12


@pytest.mark.parametrize("kind", ["annealed", "verlet", "next position"])
def test_a_replica_that_breaks_takes_no_other_along(kind: str) -> None:
    """Models compute of a batch together: one that sees a number that is none refuses all."""

    def spread(values: Tensor) -> Tensor:
        return values if torch.isfinite(values).all() else values * torch.nan

    def compute(x: Tensor) -> Tensor:
        is_far = (x[:, :1, :1] > 50.0).expand_as(x)
        return torch.where(is_far, torch.nan, -0.1 * spread(x))

    propagator: Propagator = {
        "annealed": AnnealedLangevin(lambda x, _: compute(x), [0.2, 0.1]),
        "verlet": VelocityVerlet(compute),
        "next position": NextPosition(compute),
    }[kind]
    history = make_history(3)
    expected, _ = propagate(propagator, propagator.start(history, [4, 5, 6]), 4)
    history[1] += 100.0
    path, state = propagate(propagator, propagator.start(history, [4, 5, 6]), 4)
    assert [(f.replica, f.seed) for f in state.failures] == [(1, 5)]
    assert "step 1: positions are NaN or infinite" in str(state.failures[0].error)
    assert torch.isnan(path[:, 1]).all()
    assert torch.equal(path[:, ::2], expected[:, ::2])
