"""The baselines that the paper compares with, on NeuralMD's own backbone, done as their papers say.

GNN-MD predicts the next positions from the present ones. DenoisingLD learns the score of the ligand's distribution by
denoising. VerletMD learns an energy whose negative gradient is the force.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from openmm_neuralmd.models.bindingnet import FORCE_SCALE, Backbone, BindingNet
from openmm_neuralmd.models.interface import LigandGraph, ProteinEmbedding, ProteinStructure
from openmm_neuralmd.models.layers import MLP


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
    """Energy E(x) from the invariants of the backbone; force -dE/dx by automatic differentiation."""

    def __init__(self, **backbone: Any) -> None:
        super().__init__()
        hidden = backbone["hidden"]
        self.backbone = Backbone(n_vectors=1, **backbone)
        self.force_scale = FORCE_SCALE
        self.energy = MLP([hidden, hidden, 1], last_scale=0.1)

    def embed_protein(self, structure: ProteinStructure) -> ProteinEmbedding:
        return self.backbone.embed_protein(structure)

    def compute_energy(self, positions: Tensor, graph: LigandGraph, protein: ProteinEmbedding) -> Tensor:
        """[Da A^2/snapshot^2], (R,), for positions [A], (R, N, 3)."""
        h, _ = self.backbone(positions, graph, protein)
        return self.energy(h).sum((1, 2)) * self.force_scale

    def compute_force(self, positions: Tensor, graph: LigandGraph, protein: ProteinEmbedding) -> Tensor:
        """Force [Da A/snapshot^2], (R, N, 3); differentiable where gradients are enabled by the caller."""
        is_training = torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters())
        with torch.enable_grad():
            positions = positions.detach().requires_grad_(True)
            energy = self.compute_energy(positions, graph, protein).sum()
            (gradient,) = torch.autograd.grad(energy, positions, create_graph=is_training)
        return -gradient
