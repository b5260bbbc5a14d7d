"""Protein network: one invariant representation for each residue of a rigid backbone, computed once per structure."""

import torch
from torch import nn

from openmm_neuralmd.models.networks.interface import ProteinEmbedding, ProteinStructure
from openmm_neuralmd.models.networks.layers import MLP, VectorLinear, sum_at
from openmm_neuralmd.molecule.geometry import (
    build_backbone_frames,
    build_residue_frames,
    compute_envelope,
    compute_radial_basis,
    find_pairs,
)
from openmm_neuralmd.molecule.residues import N_RESIDUE_TYPES

_CUTOFF = 5.0  # [A] between backbone atoms, as in the paper
_TYPICAL_NEIGHBOURS = 8.0  # of the order of the backbone atoms within 5 A of one, 12 in 4G3E; keeps sums near 1
_CHANNELS = 16  # summed directions of each backbone atom that are seen from its residue's frame


class ProteinNetwork(nn.Module):
    """h_k (M, H) from backbone pairs (eq. 7 of Liu et al. 2025, doi:10.1038/s41467-025-67808-z).

    Each backbone atom (N, CA, C) sums the directions to its neighbours, weighted by distance and atom kind; the sums
    are scalarized on the residue's backbone frame (eq. 4) and join the residue's type in an MLP.
    """

    def __init__(self, hidden: int, n_radial: int) -> None:
        super().__init__()
        self.n_radial = n_radial
        self.cutoff = _CUTOFF
        self.scale = _TYPICAL_NEIGHBOURS**-0.5
        self.residue_embedding = nn.Embedding(N_RESIDUE_TYPES, hidden)
        self.atom_embedding = nn.Embedding(3, hidden)
        self.filter = nn.Linear(n_radial, hidden)
        self.mix = VectorLinear(hidden, _CHANNELS)
        self.mlp = MLP([3 * hidden + 9 * _CHANNELS, hidden, hidden])

    def forward(self, structure: ProteinStructure) -> ProteinEmbedding:
        n_residues = structure.backbone.shape[0]
        atoms = structure.backbone.reshape(1, 3 * n_residues, 3)
        _, receiver, sender = find_pairs(atoms, atoms, self.cutoff, True)
        difference = atoms[0].index_select(0, receiver) - atoms[0].index_select(0, sender)
        distances = torch.sqrt((difference * difference).sum(-1) + 1e-12)
        kinds = torch.arange(3 * n_residues, device=receiver.device) % 3
        weight = compute_envelope(distances, self.cutoff).unsqueeze(-1) * self.scale
        radial = compute_radial_basis(distances, self.cutoff, self.n_radial)
        messages = self.filter(radial) * self.atom_embedding(kinds.index_select(0, sender)) * weight
        scalars = sum_at(messages, receiver, 3 * n_residues).reshape(n_residues, -1)
        units = difference / distances.unsqueeze(-1)
        vectors = self.mix(sum_at(units.unsqueeze(-1) * messages.unsqueeze(1), receiver, 3 * n_residues))
        frames = build_backbone_frames(structure.backbone).repeat_interleave(3, dim=0)
        projected = (frames @ vectors).reshape(n_residues, -1)
        features = self.residue_embedding(structure.residue_types)
        return ProteinEmbedding(
            ca=structure.backbone[:, 1],
            frames=build_residue_frames(structure.backbone, structure.is_linked, structure.pocket_centroid),
            features=features + self.mlp(torch.cat([scalars, projected], dim=-1)),
        )
