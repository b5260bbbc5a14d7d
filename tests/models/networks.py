"""Networks with random weights, for tests of what every weight must keep."""

import torch

from openmm_neuralmd.models.registry import build_network

SMALL = {"hidden": 32, "n_layers": 2, "n_radial": 16}


def make_net(kind: str, **config: object) -> torch.nn.Module:
    torch.manual_seed(3)
    net = build_network(kind, {**SMALL, **config}).double()
    with torch.no_grad():  # far from the gentle start, so that no term hides behind a zero
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net
