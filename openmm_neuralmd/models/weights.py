"""Weights and the network they are for, compared before they cost memory."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from openmm_neuralmd.errors import ModelContractError
from openmm_neuralmd.models.registry import build_network, get_kind

_SHOWN = 3  # names in a message


def build_quietly(kind: str, config: Mapping[str, Any]) -> nn.Module:
    """A network to be filled with weights; the random numbers it begins with are not taken from the program's."""
    with torch.random.fork_rng(devices=[]):
        return build_network(kind, config)


def check_weights(weights: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Check that weights are finite and those of the network that metadata describe.

    Raises:
        ModelContractError: If they are not; the message does not name the file.
    """
    kind, config = metadata["kind"], metadata["config"]
    what = f"its weights are not those of a {kind} network with the config of its metadata"
    n_found = sum(value.numel() for value in weights.values())
    n_least = get_kind(kind).count_least_weights(config)
    if n_found < n_least:  # told before a network of that size is made
        raise ModelContractError(
            f"{what} (it has {n_found} numbers, {n_least} at least were expected); train or export the model again"
        )
    net = build_quietly(kind, config)
    expected = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    for names, how in ((expected.keys() - found, "lacks"), (found.keys() - expected, "has")):
        if names:
            listed = ", ".join(sorted(names)[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" * (len(names) > _SHOWN))
            raise ModelContractError(f"{what} (it {how} {listed}); train or export the model again")
    for name, shape in expected.items():
        if found[name] != shape:
            raise ModelContractError(
                f"{what} ({name} has shape {found[name]}, {shape} was expected); train or export the model again"
            )
    wrong = next((name for name, value in weights.items() if not torch.isfinite(value).all()), None)
    if wrong is not None:
        raise ModelContractError(f"its weights hold NaN or infinity ({wrong}); train the model again")
