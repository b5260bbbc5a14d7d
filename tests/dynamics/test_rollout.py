"""Solvers and rollout: strong order, noise, misuse."""

import numpy as np
import pytest
import torch
from torch import Tensor

from openmm_neuralmd.dynamics.equation import Dynamics
from openmm_neuralmd.dynamics.noise import draw_increments
from openmm_neuralmd.dynamics.rollout import SOLVERS, rollout
from openmm_neuralmd.errors import InputError, NonFiniteStateError
from tests.helpers import fit_order

SHAPE = (64, 2, 3)


def make_oscillator(*, amplitude: float = 0.0, wave: float = 0.0, friction: float = 0.5) -> Dynamics:
    """a = -x, B = amplitude (1 + wave sin x) on the diagonal."""

    def compute_acceleration(x: Tensor) -> Tensor:
        return -x

    def compute_acceleration_and_noise(x: Tensor, xi: Tensor) -> tuple[Tensor, Tensor]:
        return -x, amplitude * (1 + wave * torch.sin(x)) * xi.reshape(x.shape)

    return Dynamics(compute_acceleration, compute_acceleration_and_noise, friction, 6 if amplitude else 0)


def make_start() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(SHAPE, generator=generator, dtype=torch.float64) for _ in range(2))  # type: ignore[return-value]


@pytest.mark.parametrize(("scheme", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_deterministic_order(scheme: str, order: int) -> None:
    dynamics = make_oscillator()
    x, v = make_start()
    omega, gamma = np.sqrt(1 - 0.25**2), 0.25
    exact = np.exp(-gamma * 2) * (x * np.cos(2 * omega) + (v + gamma * x) / omega * np.sin(2 * omega))
    steps = np.array([8, 16, 32])
    errors = []
    for n in steps.tolist():
        path, _ = rollout(dynamics, x, v, n_snapshots=2, seeds=range(64), scheme=scheme, steps_per_snapshot=n)
        errors.append(float((path[-1] - exact).abs().max()))
    assert fit_order(1 / steps, np.array(errors)) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("scheme", ["euler_maruyama", "heun", "leapfrog"])
def test_strong_order(scheme: str) -> None:
    """Against a fine solution of the same Brownian path. The noise acts on velocities and depends on positions, so it
    commutes and is smooth in time: Euler-Maruyama and leapfrog reach 1, and Heun at least that."""
    dynamics = make_oscillator(amplitude=0.5, wave=0.5)
    x, v = make_start()
    fine = 512
    xi = torch.randn((fine, SHAPE[0], 6), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    reference, _ = SOLVERS[scheme](dynamics, x, v, timestep=1 / fine, increments=xi)
    steps = np.array([8, 16, 32, 64])
    errors = []
    for n in steps.tolist():
        coarse = xi.reshape(n, fine // n, SHAPE[0], 6).sum(dim=1) * (n / fine) ** 0.5
        found, _ = SOLVERS[scheme](dynamics, x, v, timestep=1 / n, increments=coarse)
        errors.append(float((found - reference).pow(2).mean().sqrt()))
    assert fit_order(1 / steps, np.array(errors)) == pytest.approx(1.0, abs=0.25)


def test_stationary_distribution_of_the_oscillator() -> None:
    """Equipartition: <x^2> = <v^2> = amplitude^2 / (2 friction), here 1, within four standard errors."""
    dynamics = make_oscillator(amplitude=1.0, friction=0.5)
    x, v = make_start()
    path, _ = rollout(dynamics, x, v, n_snapshots=60, seeds=range(64), scheme="heun", steps_per_snapshot=4)
    late = path[20:].pow(2)
    spread = late.mean(dim=0).flatten()
    assert float(spread.mean()) == pytest.approx(1.0, abs=4 * float(spread.std()) / len(spread) ** 0.5)


def test_noise_depends_on_seed_and_step_only() -> None:
    first = draw_increments(3, 5, 100)
    assert np.array_equal(first, draw_increments(3, 5, 100))
    for other in (draw_increments(4, 5, 100), draw_increments(3, 6, 100), draw_increments(5, 3, 100)):
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.35


def test_noise_is_standard_normal_over_steps() -> None:
    drawn = np.concatenate([draw_increments(0, step, 3) for step in range(4000)])
    assert abs(drawn.mean()) < 0.04
    assert drawn.std() == pytest.approx(1.0, abs=0.03)


def test_a_rollout_goes_on_where_it_stopped() -> None:
    dynamics = make_oscillator(amplitude=0.5)
    x, v = make_start()
    whole, _ = rollout(dynamics, x, v, n_snapshots=6, seeds=range(64), steps_per_snapshot=2)
    half, v = rollout(dynamics, x, v, n_snapshots=3, seeds=range(64), steps_per_snapshot=2)
    rest, _ = rollout(dynamics, half[-1], v, n_snapshots=3, seeds=range(64), steps_per_snapshot=2, first_step=6)
    assert torch.equal(torch.cat([half, rest]), whole)


def test_projection_acts_on_positions_and_velocities() -> None:
    dynamics = make_oscillator(amplitude=0.5, friction=0.0)
    x, v = make_start()
    path, last = rollout(dynamics, x, v, n_snapshots=3, seeds=range(64), project=lambda y: y.round(decimals=1))
    assert torch.equal(path, path.round(decimals=1))
    torch.testing.assert_close(last, path[-1] - path[-2])


def test_gradients_flow_through_a_rollout() -> None:
    x, v = make_start()
    for scheme in SOLVERS:
        dynamics = make_oscillator(amplitude=0.5 if scheme in ("leapfrog", "euler_maruyama", "heun") else 0.0)
        x = x.detach().requires_grad_()
        path, _ = rollout(dynamics, x, v, n_snapshots=2, seeds=range(64), scheme=scheme, steps_per_snapshot=2)
        (gradient,) = torch.autograd.grad(path[-1].sum(), x)
        assert torch.isfinite(gradient).all()
        assert gradient.abs().max() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scheme": "verlet"}, "unknown scheme 'verlet'"),
        ({"scheme": "rk4"}, "Newtonian models only"),
        ({"steps_per_snapshot": 0}, "steps_per_snapshot is 0"),
        ({"seeds": [1]}, "1 seeds for 64 replicas"),
        ({"seeds": [-1] * 64}, "seed -1"),
    ],
)
def test_misuse(change: dict, message: str) -> None:
    x, v = make_start()
    with pytest.raises(InputError, match=message):
        rollout(make_oscillator(amplitude=0.5), x, v, **{"n_snapshots": 2, "seeds": range(64), **change})


def test_nan_names_the_step() -> None:
    x, v = make_start()
    v[5, 1, 2] = torch.nan
    with pytest.raises(NonFiniteStateError, match="step 1"):
        rollout(make_oscillator(), x, v, n_snapshots=2, seeds=range(64))
