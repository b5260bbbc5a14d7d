"""DenoisingLD: the score of the ligand's distribution, learned by denoising and sampled at falling noise levels.

A baseline of Liu et al. (2025), doi:10.1038/s41467-025-67808-z, on NeuralMD's own backbone.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from openmm_neuralmd.dynamics.annealed import AnnealedLangevin
from openmm_neuralmd.dynamics.propagator import Propagator
from openmm_neuralmd.models.bound import Binding
from openmm_neuralmd.models.forms import Record, integer, number
from openmm_neuralmd.models.kinds.backbone import BACKBONE, BackboneKind
from openmm_neuralmd.models.kinds.kind import Fault
from openmm_neuralmd.models.networks.baselines import DenoisingLD
from openmm_neuralmd.models.networks.interface import LigandGraph, ProteinEmbedding, ProteinStructure

_LAW_LEVEL = 0.2  # [A]
_LOWEST, _HIGHEST = 0.03, 0.6  # [A], noise levels where the configuration names none


class DenoisingKind(BackboneKind):
    """Annealed Langevin sampling from the present snapshot, one snapshot an advance."""

    name = "denoising"
    label = "DenoisingLD"
    summary = "a baseline: samples of the ligand's distribution near the present snapshot"
    config_form: ClassVar[Record] = Record(
        BACKBONE,
        {
            "lowest": number(1e-3, 10.0, " A"),
            "highest": number(1e-3, 10.0, " A"),
            "n_levels": integer(1, 1000),
            "n_channels": integer(1, 256),
        },
        is_closed=True,
    )
    is_random = True

    def build_network(self, config: Mapping[str, Any]) -> nn.Module:
        """A fresh DenoisingLD."""
        return DenoisingLD(**{"lowest": _LOWEST, "highest": _HIGHEST, **config})

    def find_config_fault(self, config: Mapping[str, Any]) -> Fault | None:
        """Noise levels fall."""
        lowest, highest = config.get("lowest", _LOWEST), config.get("highest", _HIGHEST)
        return None if lowest < highest else Fault("lowest", lowest, "a noise level below config.highest")

    def compute_loss(
        self,
        net: DenoisingLD,
        window: Tensor,
        graph: LigandGraph,
        protein: ProteinEmbedding,
        generator: torch.Generator,
        displacement: float,  # noqa: ARG002
    ) -> Tensor:
        """Mean squared error of the noise that was added to x_t, levels drawn evenly in their logarithm."""
        clean = window[:, 1]
        draw = torch.rand(len(clean), generator=generator, dtype=clean.dtype, device=clean.device)
        highest, lowest = math.log(net.levels[0]), math.log(net.levels[-1])
        levels = torch.exp(lowest + (highest - lowest) * draw)
        noise = torch.randn(clean.shape, generator=generator, dtype=clean.dtype, device=clean.device)
        predicted = net.predict_noise(clean + levels[:, None, None] * noise, levels, graph, protein)
        return (predicted - noise).square().mean()

    def make_propagator(self, binding: Binding) -> Propagator:
        """Annealed Langevin sampling."""
        net: Any = binding.net

        def compute_score(x: Tensor, level: float) -> Tensor:
            return net.compute_score(x, level, binding.graph, binding.protein)

        return AnnealedLangevin(binding.adapt(compute_score), net.levels)

    def compute_law(
        self, net: Any, positions: Tensor, graph: LigandGraph, protein: ProteinEmbedding
    ) -> tuple[Tensor, Tensor]:
        """The score at a level within those sampled."""
        n_replicas, n_atoms, _ = positions.shape
        return net.compute_score(positions, _LAW_LEVEL, graph, protein), positions.new_zeros(
            n_replicas, 3 * n_atoms, 3 * n_atoms
        )

    def wrap(self, net: nn.Module) -> nn.Module:
        """The predicted noise."""
        return OfferedScore(net)


class OfferedScore(nn.Module):
    """What a file of DenoisingLD offers."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, positions: Tensor, levels: Tensor, graph: LigandGraph, protein: ProteinEmbedding) -> Tensor:
        return self.net.predict_noise(positions, levels, graph, protein)

    def embed_protein(self, structure: ProteinStructure) -> ProteinEmbedding:
        return self.net.embed_protein(structure)


KIND = DenoisingKind()
