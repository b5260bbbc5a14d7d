"""The coarse step: order of its schemes, noise, projection, failures of single replicas, misuse."""

import numpy as np
import pytest
import torch
from torch import Tensor

from openmm_neuralmd.dynamics.equation import Dynamics
from openmm_neuralmd.dynamics.propagator import propagate, raise_failures
from openmm_neuralmd.dynamics.state import State
from openmm_neuralmd.dynamics.stepped import SOLVERS, Projected, Stepped
from openmm_neuralmd.errors import InputError, NonFiniteStateError, ProjectionError
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


def begin(x: Tensor, v: Tensor, *, step: int = 0) -> State:
    return State(x, v, tuple(range(len(x))), step)


@pytest.mark.parametrize(("scheme", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_deterministic_order(scheme: str, order: int) -> None:
    dynamics = make_oscillator()
    x, v = make_start()
    omega, gamma = np.sqrt(1 - 0.25**2), 0.25
    exact = np.exp(-gamma * 2) * (x * np.cos(2 * omega) + (v + gamma * x) / omega * np.sin(2 * omega))
    steps = np.array([8, 16, 32])
    errors = []
    for n in steps.tolist():
        path, _ = propagate(Stepped(dynamics, scheme=scheme, steps_per_snapshot=n), begin(x, v), 2)
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
    path, _ = propagate(Stepped(dynamics, scheme="heun", steps_per_snapshot=4), begin(x, v), 60)
    late = path[20:].pow(2)
    spread = late.mean(dim=0).flatten()
    assert float(spread.mean()) == pytest.approx(1.0, abs=4 * float(spread.std()) / len(spread) ** 0.5)


def test_a_path_goes_on_where_it_stopped() -> None:
    stepped = Stepped(make_oscillator(amplitude=0.5), steps_per_snapshot=2)
    whole, _ = propagate(stepped, begin(*make_start()), 6)
    half, state = propagate(stepped, begin(*make_start()), 3)
    rest, last = propagate(stepped, state, 3)
    assert torch.equal(torch.cat([half, rest]), whole)
    assert (state.step, last.step) == (6, 12)


def test_start_takes_the_velocity_from_two_snapshots_and_maps_it() -> None:
    x, v = make_start()
    stepped = Stepped(make_oscillator(), map_velocities=lambda x, v: 2.0 * v + x)
    torch.testing.assert_close(stepped.start(torch.stack([x - v, x], dim=1), range(64)).velocities, 2.0 * v + x)
    torch.testing.assert_close(stepped.start(x[:, None], range(64)).velocities, x)


def test_projection_acts_on_positions_and_velocities() -> None:
    stepped = Stepped(make_oscillator(amplitude=0.5, friction=0.0), project=lambda y: Projected(y.round(decimals=1)))
    path, last = propagate(stepped, begin(*make_start()), 3)
    assert torch.equal(path, path.round(decimals=1))
    torch.testing.assert_close(last.velocities, path[-1] - path[-2])


def test_gradients_flow_through_steps() -> None:
    x, v = make_start()
    for scheme in SOLVERS:
        dynamics = make_oscillator(amplitude=0.5 if scheme in ("leapfrog", "euler_maruyama", "heun") else 0.0)
        x = x.detach().requires_grad_()
        path, _ = propagate(Stepped(dynamics, scheme=scheme, steps_per_snapshot=2), begin(x, v), 2)
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
    x, _ = make_start()
    seeds = change.pop("seeds", range(64))
    with pytest.raises(InputError, match=message):
        Stepped(make_oscillator(amplitude=0.5), **change).start(x[:, None], seeds)


def test_nan_names_the_step() -> None:
    x, v = make_start()
    v[5, 1, 2] = torch.nan
    _, state = propagate(Stepped(make_oscillator()), begin(x, v), 2)
    with pytest.raises(NonFiniteStateError, match="step 1"):
        raise_failures(state)


def test_a_replica_that_breaks_takes_no_other_along() -> None:
    """One has no number to begin with, one cannot be projected in the second step; the others go on as alone."""

    def project(x: Tensor) -> Projected:
        is_second = stepped_once[0]
        stepped_once[0] = True
        return Projected(x, {7: ProjectionError("no way back")} if is_second else {})

    stepped_once = [False]
    x, v = make_start()
    alone, _ = propagate(Stepped(make_oscillator(amplitude=0.5), project=Projected), begin(x, v), 4)
    v[5, 1, 2] = torch.nan
    path, state = propagate(Stepped(make_oscillator(amplitude=0.5), project=project), begin(x, v), 4)
    assert [(f.replica, f.seed, str(f.error)[:20]) for f in state.failures] == [
        (5, 5, "step 1: positions ar"),
        (7, 7, "step 2: no way back"),
    ]
    good = [k for k in range(64) if k not in (5, 7)]
    assert torch.equal(path[:, good], alone[:, good])
    assert torch.isfinite(path[0, 7]).all()
    assert torch.isnan(path[1:, 7]).all()
    assert torch.isnan(path[:, 5]).all()
