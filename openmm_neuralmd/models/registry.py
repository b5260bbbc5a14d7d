"""The kinds of models, by the name that model files and the command line use."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from openmm_neuralmd.errors import ModelContractError
from openmm_neuralmd.models.networks.baselines import GNNMD, DenoisingLD, VerletMD
from openmm_neuralmd.models.networks.bindingnet import BindingNet

KINDS: dict[str, Callable[..., nn.Module]] = {
    "ode": lambda **config: BindingNet(stochastic=False, **config),
    "sde": lambda **config: BindingNet(stochastic=True, **config),
    "gnn": lambda **config: GNNMD(stochastic=False, **config),
    "denoising": DenoisingLD,
    "verlet": VerletMD,
}
SIMULATED_KINDS = ("ode", "sde", "gnn")
"""Kinds that give a force for leapfrog; the others are sampled otherwise, for evaluation only."""
STOCHASTIC_KINDS = ("sde",)
"""Kinds whose steps have noise."""


def build_network(kind: str, config: Mapping[str, Any]) -> nn.Module:
    """A fresh network of a kind.

    Args:
        kind: One of ``KINDS``.
        config: Arguments of its ``Backbone``.

    Raises:
        ModelContractError: If the kind is unknown.
    """
    if kind not in KINDS:
        raise ModelContractError(f"unknown kind of model {kind!r}; this package knows {', '.join(KINDS)}")
    return KINDS[kind](**{key: value for key, value in config.items() if key != "stochastic"})
