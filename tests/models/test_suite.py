"""The importable contract suite: every kind of this package passes it, and every checker fails on a broken kind."""

from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from openmm_neuralmd.dynamics.next_position import NextPosition
from openmm_neuralmd.dynamics.state import State
from openmm_neuralmd.models import registry
from openmm_neuralmd.models.bound import BoundPropagator
from openmm_neuralmd.models.kinds.gnn import GNNKind
from openmm_neuralmd.models.kinds.kind import Kind
from openmm_neuralmd.models.registry import list_kinds
from openmm_neuralmd.molecule.complex import load_bundled_complex
from openmm_neuralmd.testing import contract
from openmm_neuralmd.testing.contract import Case, build_case

SMALL = {"hidden": 16, "n_layers": 1, "n_radial": 8}


@pytest.fixture(scope="module", params=list_kinds())
def case(request: pytest.FixtureRequest) -> Case:
    return build_case(request.param, load_bundled_complex(), SMALL)


@pytest.mark.parametrize("check", contract.KIND_CHECKS, ids=lambda check: check.__name__)
def test_kind_keeps_the_contract(check, case: Case) -> None:
    check(case)


@pytest.mark.parametrize("check", contract.LAW_CHECKS, ids=lambda check: check.__name__)
def test_suite_has_the_law_checked(check) -> None:
    """The laws of all kinds are checked in test_contract; here, that the suite hands on the right ones."""
    check(build_case("verlet", load_bundled_complex(), SMALL))


class WithoutForm(GNNKind):
    default_config: ClassVar = {**GNNKind.default_config, "unheard_of": 1}


class LossOfEachWindow(GNNKind):
    def compute_loss(self, *arguments: Any) -> Tensor:
        return super().compute_loss(*arguments).expand(2)


class InfiniteLoss(GNNKind):
    def compute_loss(self, *arguments: Any) -> Tensor:
        return super().compute_loss(*arguments) / 0.0


class DeafLoss(GNNKind):
    def compute_loss(self, *arguments: Any) -> Tensor:
        return super().compute_loss(*arguments).detach()


class ChangingLoss(GNNKind):
    def compute_loss(self, net: Any, window: Tensor, *arguments: Any) -> Tensor:
        loss = super().compute_loss(net, window.clone(), *arguments)
        window += 1.0
        return loss


class Randomly(GNNKind):
    is_random = True

    def build_network(self, config: Any) -> nn.Module:
        return self.network(**{**config, "stochastic": False})


class _Changed:
    """GNN-MD's propagator with its displacements changed."""

    change: Any = None

    def make_propagator(self, binding: Any) -> NextPosition:
        inner = super().make_propagator(binding)  # type: ignore[misc]
        return NextPosition(lambda x: self.change(inner.displacement(x)))


class BatchDependent(_Changed, GNNKind):
    def change(self, d: Tensor) -> Tensor:
        return d * len(d)


class Drifting(_Changed, GNNKind):
    def change(self, d: Tensor) -> Tensor:
        return d + torch.tensor([0.1, 0.0, 0.0], dtype=d.dtype)


class Breaking(_Changed, GNNKind):
    def change(self, d: Tensor) -> Tensor:
        return d / 0.0


class Forgetful(_Changed, GNNKind):
    """Counts by itself what the state should count."""

    n_calls = 0

    def change(self, d: Tensor) -> Tensor:
        self.n_calls += 1
        return d * self.n_calls


class _Mutating(NextPosition):
    def advance(self, state: State) -> tuple[State, Tensor]:
        following, shown = super().advance(state)
        state.positions.add_(1.0)
        return following, shown


class Mutating(GNNKind):
    def make_propagator(self, binding: Any) -> NextPosition:
        return _Mutating(super().make_propagator(binding).displacement)


class _Loose(BoundPropagator):
    def make_propagator(self, **settings: Any) -> Any:
        return self.propagator


class Loose(GNNKind):
    def bind(self, binding: Any) -> _Loose:
        return _Loose(**vars(super().bind(binding)))


class OtherFile(GNNKind):
    """Files hold other weights than the network has."""

    def wrap(self, net: nn.Module) -> nn.Module:
        other = self.build_network({**self.default_config, **SMALL}).to(next(net.parameters()).dtype)
        return super().wrap(other)


@pytest.mark.parametrize(
    ("check", "broken"),
    [
        (contract.check_config_form, WithoutForm),
        *((contract.check_loss, broken) for broken in (LossOfEachWindow, InfiniteLoss, DeafLoss, ChangingLoss)),
        (contract.check_seeds, Randomly),
        *((contract.check_paths_in_batches, broken) for broken in (BatchDependent, Breaking, Mutating)),
        (contract.check_resumed_path, Forgetful),
        (contract.check_path_turns_along, Drifting),
        (contract.check_projection, Loose),
        (contract.check_exported_equals_eager, OtherFile),
        (contract.check_file_round_trip, OtherFile),
    ],
    ids=lambda value: value.__name__,
)
def test_checker_can_fail(check, broken: type[Kind], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._find_own(), "gnn", broken())
    case = build_case(GNNKind(), load_bundled_complex(), SMALL)
    broken_case = replace(case, kind=broken(), config={**broken.default_config, **SMALL})
    with pytest.raises(AssertionError):
        check(broken_case)
