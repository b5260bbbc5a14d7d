"""Weights and the network they are for, compared before either costs memory."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from openmm_neuralmd.errors import ModelContractError
from openmm_neuralmd.models.registry import build_network

_SHOWN = 3  # names in a message


def check_weights(weights: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Check that weights are finite and those of the network that metadata describe, before any is made.

    Raises:
        ModelContractError: If they are not; the message does not name the file.
    """
    with torch.device("meta"):  # shapes without memory
        net = build_network(metadata["kind"], metadata["config"])
    expected = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    what = f"its weights are not those of a {metadata['kind']} network with the config of its metadata"
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
