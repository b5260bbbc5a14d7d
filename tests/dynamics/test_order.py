"""Every scheme has the orders it claims, whoever adds it; and a package can add one."""

import logging
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from openmm_neuralmd.dynamics.propagator import propagate
from openmm_neuralmd.dynamics.scheme import OTHER_SCHEMES, Scheme, check_scheme, find_schemes
from openmm_neuralmd.dynamics.schemes.euler import SCHEME as EULER
from openmm_neuralmd.dynamics.stepped import Stepped
from openmm_neuralmd.errors import InputError
from tests.dynamics.test_stepped import SHAPE, begin, make_oscillator, make_start
from tests.helpers import fit_order, pretend_plugins

SCHEMES = find_schemes()
FORWARD = Scheme("forward", 1, None, takes_noise=False, solve=EULER.solve, write_program=EULER.write_program)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_order(scheme: str) -> None:
    """Against the closed form after two snapshots; without friction where velocities stand beside positions."""
    gamma = 0.0 if SCHEMES[scheme].velocity_time else 0.25
    dynamics = make_oscillator(friction=2 * gamma)
    x, v = make_start()
    omega = np.sqrt(1 - gamma**2)

    def solve(time: float) -> torch.Tensor:
        return np.exp(-gamma * time) * (x * np.cos(omega * time) + (v + gamma * x) / omega * np.sin(omega * time))

    steps = np.array([8, 16, 32])
    errors = []
    for n in steps.tolist():
        beside = v
        if SCHEMES[scheme].velocity_time:
            early = SCHEMES[scheme].velocity_time / n
            beside = v * np.cos(early) - x * np.sin(early)
        path, _ = propagate(Stepped(dynamics, scheme=scheme, steps_per_snapshot=n), begin(x, beside), 2)
        errors.append(float((path[-1] - solve(2.0)).abs().max()))
    assert fit_order(1 / steps, np.array(errors)) == pytest.approx(SCHEMES[scheme].order, abs=0.25)


@pytest.mark.parametrize("scheme", [name for name, scheme in SCHEMES.items() if scheme.takes_noise])
def test_strong_order(scheme: str) -> None:
    """Against a fine solution of the same Brownian path. The noise acts on velocities and depends on positions, so it
    commutes and is smooth in time: Euler-Maruyama and leapfrog reach 1, and Heun at least that."""
    dynamics = make_oscillator(amplitude=0.5, wave=0.5)
    solve = SCHEMES[scheme].solve
    x, v = make_start()
    fine = 512
    xi = torch.randn((fine, SHAPE[0], 6), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    reference, _ = solve(dynamics, x, v, timestep=1 / fine, increments=xi)
    steps = np.array([8, 16, 32, 64])
    errors = []
    for n in steps.tolist():
        coarse = xi.reshape(n, fine // n, SHAPE[0], 6).sum(dim=1) * (n / fine) ** 0.5
        found, _ = solve(dynamics, x, v, timestep=1 / n, increments=coarse)
        errors.append(float((found - reference).pow(2).mean().sqrt()))
    assert fit_order(1 / steps, np.array(errors)) == pytest.approx(SCHEMES[scheme].strong_order, abs=0.25)


def test_the_schemes_of_the_package() -> None:
    own = {"leapfrog": 2, "euler": 1, "midpoint": 2, "rk4": 4, "euler_maruyama": 1, "heun": 2}
    assert [name for name in SCHEMES if name in own] == list(own)
    assert {name: SCHEMES[name].order for name in own} == own
    assert [n for n, s in SCHEMES.items() if n in own and s.takes_noise] == ["leapfrog", "euler_maruyama", "heun"]
    assert all((s.strong_order is not None) == s.takes_noise for s in SCHEMES.values())


class TestOtherPackages:
    @pytest.fixture(autouse=True)
    def search_anew(self) -> Iterator[None]:
        find_schemes.cache_clear()
        yield
        find_schemes.cache_clear()

    def test_a_scheme_of_theirs_is_one_of_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pretend_plugins(monkeypatch, OTHER_SCHEMES, ("a-package", "forward", f"{__name__}:FORWARD"))
        assert check_scheme("forward", has_noise=False) == "forward"
        x, v = make_start()
        paths = [propagate(Stepped(make_oscillator(), scheme=s), begin(x, v), 3)[0] for s in ("forward", "euler")]
        assert torch.equal(*paths)
        with pytest.raises(InputError, match="leapfrog, euler, forward, "):
            check_scheme("backward", has_noise=False)

    def test_what_is_offered_in_vain_is_told(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        pretend_plugins(
            monkeypatch,
            OTHER_SCHEMES,
            ("a-package", "broken", "nowhere_to_be_found:SCHEME"),
            ("b-package", "euler", f"{__name__}:EULER"),
            ("c-package", "other", f"{__name__}:SHAPE"),
            ("d-package", "forward", f"{__name__}:FORWARD"),
            ("e-package", "forward", f"{__name__}:FORWARD"),
        )
        with caplog.at_level(logging.WARNING, logger="openmm_neuralmd"):
            assert list(find_schemes()) == list(SCHEMES)
        for told in (
            "scheme 'broken' of package a-package cannot be imported (No module named 'nowhere",
            "package b-package: its scheme 'euler' has the name of one of openmm_neuralmd",
            "scheme 'other' of package c-package is tuple",
            "scheme 'forward' is offered by packages d-package and e-package",
        ):
            assert told in caplog.text
