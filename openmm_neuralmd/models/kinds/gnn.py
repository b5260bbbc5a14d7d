"""GNN-MD: the next positions from the present ones, without memory of the velocity and without noise.

A baseline of Liu et al. (2025), doi:10.1038/s41467-025-67808-z, on NeuralMD's own backbone.
"""

from typing import ClassVar

import torch
from torch import Tensor

from openmm_neuralmd.dynamics.next_position import NextPosition
from openmm_neuralmd.dynamics.propagator import Propagator
from openmm_neuralmd.models.bound import Binding
from openmm_neuralmd.models.kinds.backbone import BindingNetKind
from openmm_neuralmd.models.losses.transition import compute_transition
from openmm_neuralmd.models.networks.baselines import GNNMD
from openmm_neuralmd.models.networks.bindingnet import BindingNet
from openmm_neuralmd.models.networks.interface import LigandGraph, ProteinEmbedding


class GNNKind(BindingNetKind):
    """x_(t+1) = x_t + F(x_t)/m."""

    name = "gnn"
    label = "GNN-MD"
    summary = "a baseline: the next positions from the present ones"
    network: ClassVar[type[BindingNet]] = GNNMD

    def compute_loss(
        self,
        net: BindingNet,
        window: Tensor,
        graph: LigandGraph,
        protein: ProteinEmbedding,
        generator: torch.Generator,  # noqa: ARG002
        displacement: float,  # noqa: ARG002
    ) -> Tensor:
        """Mean squared error [A^2] of the next positions, from clean inputs as in its paper."""
        previous, current, following = window[:, :3].unbind(1)
        mean, _ = compute_transition(net, current - previous, current, graph, protein)
        return (mean - following).square().mean()

    def make_propagator(self, binding: Binding) -> Propagator:
        """Next positions, from the compiled force."""
        masses = binding.graph.masses[:, None]
        module = binding.freeze().module
        return NextPosition(binding.adapt(lambda x: module(x) / masses))


KIND = GNNKind()
