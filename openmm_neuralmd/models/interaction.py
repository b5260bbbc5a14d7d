"""Interaction network: what each residue near the ligand does to each of its atoms."""

from typing import Tuple

import torch
from torch import Tensor, nn

from openmm_neuralmd.geometry import compute_envelope, compute_radial_basis, find_pairs
from openmm_neuralmd.models.interface import ProteinEmbedding
from openmm_neuralmd.models.layers import MLP, VectorLinear, sum_at

_TYPICAL_RESIDUES = 25.0  # CA atoms within 10 A of a bound ligand's atom
_CHANNELS = 8


class InteractionNetwork(nn.Module):
    """External vectors (R N, 3, n_vectors) and scalars (R N, H) from pairs of a ligand atom and a CA.

    Eq. 8 of Liu et al. (2025), doi:10.1038/s41467-025-67808-z, with the distance in it: the pair's invariants
    (distance, direction and atom vectors in the residue's frame, features of both) pass through an MLP whose outputs
    multiply the pair direction, the frame's axes and the atom's vectors. The envelope comes last.
    """

    def __init__(self, hidden: int, n_radial: int, cutoff: float, n_vectors: int) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.n_radial = n_radial
        self.n_vectors = n_vectors
        self.n_gates = 4 + _CHANNELS  # pair direction, three frame axes, mixed atom vectors
        self.scale = _TYPICAL_RESIDUES**-0.5
        self.mix = VectorLinear(hidden, _CHANNELS)
        self.from_ligand = nn.Linear(hidden, hidden, bias=False)
        self.from_residue = nn.Linear(hidden, hidden)
        self.from_radial = nn.Linear(n_radial, hidden, bias=False)
        self.from_frame = nn.Linear(3 * (1 + _CHANNELS), hidden, bias=False)
        self.mlp = MLP([hidden, hidden, self.n_gates * n_vectors + hidden], last_scale=0.1)

    def forward(self, positions: Tensor, h: Tensor, vec: Tensor, protein: ProteinEmbedding) -> Tuple[Tensor, Tensor]:
        n_atoms = positions.shape[1]
        replica, atom, residue = find_pairs(positions, protein.ca, self.cutoff, False)
        receiver = replica * n_atoms + atom
        difference = positions.reshape(-1, 3)[receiver] - protein.ca[residue]
        distances = torch.sqrt((difference * difference).sum(-1) + 1e-12)
        units = (difference / distances.unsqueeze(-1)).unsqueeze(-1)
        radial = compute_radial_basis(distances, self.cutoff, self.n_radial)
        frames = protein.frames[residue]
        vectors = self.mix(vec)[receiver]
        projected = (frames @ torch.cat([units, vectors], dim=-1)).flatten(1)
        pairs = self.from_ligand(h)[receiver] + self.from_residue(protein.features)[residue]
        pairs = self.mlp(nn.functional.silu(pairs + self.from_radial(radial) + self.from_frame(projected)))
        pairs = pairs * (compute_envelope(distances, self.cutoff) * self.scale).unsqueeze(-1)
        gates = pairs[:, : self.n_gates * self.n_vectors].reshape(-1, self.n_gates, self.n_vectors)
        basis = torch.cat([units, frames.transpose(1, 2), vectors], dim=-1)
        n_targets = h.shape[0]
        scalars = pairs[:, self.n_gates * self.n_vectors :]
        return sum_at(basis @ gates, receiver, n_targets), sum_at(scalars, receiver, n_targets)
