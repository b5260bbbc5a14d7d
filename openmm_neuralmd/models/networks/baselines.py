"""The paper's baselines, on NeuralMD's own backbone, each as its own paper describes it.

GNN-MD predicts the next positions from the present ones. DenoisingLD learns the score of the ligand's distribution by
denoising. VerletMD learns an energy whose negative gradient is the force.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from openmm_neuralmd.models.networks.bindingnet import FORCE_SCALE, Backbone, BindingNet
from openmm_neuralmd.models.networks.interface import LigandGraph, ProteinEmbedding, ProteinStructure
from openmm_neuralmd.models.networks.layers import MLP


class GNNMD(BindingNet):
    """x_(t+1) = x_t + F(x_t)/m: a Newtonian BindingNet without memory of the velocity (friction 1 per snapshot)."""

    def compute_friction(self) -> Tensor:
        return torch.ones_like(self.raw_friction)


class DenoisingLD(nn.Module):
    """Score of the ligand's distribution smoothed with noise of a given level.

    s(x, sigma) = -e(x, sigma)/sigma, where e predicts the standard normal that was added: denoising score matching of
    Vincent (2011), doi:10.1162/NECO_a_00142, with noise levels as in Song and Ermon (2019), arXiv:1907.05600.

    Args:
        lowest, highest: Noise levels [A]; below the fluctuation of a bond, and that of a pose.
        n_levels: Levels that sampling passes, in a geometric series.
    """

    def __init__(
        self, *, lowest: float = 0.03, highest: float = 0.6, n_levels: int = 10, n_channels: int = 8, **backbone: Any
    ) -> None:
        super().__init__()
        self.backbone = Backbone(n_vectors=n_channels, **backbone)
        self.force_scale = FORCE_SCALE
        self.mixing = MLP([8, 32, n_channels])
        self.levels = torch.logspace(math.log10(highest), math.log10(lowest), n_levels).tolist()

    def embed_protein(self, structure: ProteinStructure) -> ProteinEmbedding:
        return self.backbone.embed_protein(structure)

    def predict_noise(self, positions: Tensor, levels: Tensor, graph: LigandGraph, protein: ProteinEmbedding) -> Tensor:
        """e(x, sigma), (R, N, 3), for positions [A], (R, N, 3), and noise levels [A], (R,)."""
        _, vectors = self.backbone(positions, graph, protein)
        frequencies = torch.arange(1, 5, dtype=positions.dtype, device=positions.device)
        phases = levels.log().unsqueeze(-1) * frequencies
        weights = self.mixing(torch.cat([phases.sin(), phases.cos()], dim=-1))
        return (vectors * weights[:, None, None]).sum(-1) * self.force_scale

    def compute_score(self, positions: Tensor, level: float, graph: LigandGraph, protein: ProteinEmbedding) -> Tensor:
        """Gradient of the smoothed log density [1/A], (R, N, 3)."""
        levels = torch.full((len(positions),), level, dtype=positions.dtype, device=positions.device)
        return -self.predict_noise(positions, levels, graph, protein) / level


class VerletMD(nn.Module):
    """Energy E(x) from the invariants of the backbone; force -dE/dx by automatic differentiation.

    The force that finite differences over tens of picoseconds suggest and that of a force field differ by many orders
    of magnitude (docs/decisions/0006-force-field-labels.md), so where both are learned there are two energies on one
    backbone: that of a snapshot interval, and the force field's.

    Args:
        has_force_field: Whether there is the second energy.
    """

    def __init__(self, *, has_force_field: bool = False, **backbone: Any) -> None:
        super().__init__()
        hidden = backbone["hidden"]
        self.backbone = Backbone(n_vectors=1, **backbone)
        self.force_scale = FORCE_SCALE
        self.has_force_field = has_force_field
        self.energy = MLP([hidden, hidden, 2 if has_force_field else 1], last_scale=0.1)
        if has_force_field:
            self.force_field_scale: Tensor
            self.register_buffer("force_field_scale", torch.tensor(FORCE_SCALE))  # [Da A/snapshot^2], set in training

    def embed_protein(self, structure: ProteinStructure) -> ProteinEmbedding:
        return self.backbone.embed_protein(structure)

    def compute_energy(self, positions: Tensor, graph: LigandGraph, protein: ProteinEmbedding) -> Tensor:
        """[Da A^2/snapshot^2], (R,), for positions [A], (R, N, 3)."""
        h, _ = self.backbone(positions, graph, protein)
        return self.energy(h)[..., 0].sum(1) * self.force_scale

    def compute_force(self, positions: Tensor, graph: LigandGraph, protein: ProteinEmbedding) -> Tensor:
        """Force [Da A/snapshot^2], (R, N, 3); differentiable where gradients are enabled by the caller."""
        return self._differentiate(self.compute_energy, positions, graph, protein)[1]

    def compute_force_field(
        self, positions: Tensor, graph: LigandGraph, protein: ProteinEmbedding
    ) -> tuple[Tensor, Tensor]:
        """The force field's energy up to a constant, (R,), and force, (R, N, 3), in the units of the others."""

        def compute_energy(x: Tensor, graph: LigandGraph, protein: ProteinEmbedding) -> Tensor:
            h, _ = self.backbone(x, graph, protein)
            return self.energy(h)[..., 1].sum(1) * self.force_field_scale

        return self._differentiate(compute_energy, positions, graph, protein)

    def _differentiate(
        self,
        compute_energy: Callable[[Tensor, LigandGraph, ProteinEmbedding], Tensor],
        positions: Tensor,
        graph: LigandGraph,
        protein: ProteinEmbedding,
    ) -> tuple[Tensor, Tensor]:
        is_training = torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters())
        with torch.enable_grad():
            positions = positions.detach().requires_grad_(True)
            energy = compute_energy(positions, graph, protein)
            (gradient,) = torch.autograd.grad(energy.sum(), positions, create_graph=is_training)
        return energy, -gradient
