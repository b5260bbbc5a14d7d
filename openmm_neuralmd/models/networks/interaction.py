"""Interaction network: what each residue near the ligand does to each of its atoms."""

from typing import Tuple

import torch
from torch import Tensor, nn

from openmm_neuralmd.models.networks.interface import ProteinEmbedding
from openmm_neuralmd.models.networks.layers import MLP, VectorLinear, append_bias, project_on_frames, sum_at
from openmm_neuralmd.molecule.geometry import compute_envelope, compute_radial_basis, find_nearby, find_pairs

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
        nearby = find_nearby(protein.ca, positions, self.cutoff)
        replica, atom, found = find_pairs(positions, protein.ca.index_select(0, nearby), self.cutoff, False)
        receiver, residue = replica * n_atoms + atom, nearby.index_select(0, found)
        difference = positions.reshape(-1, 3).index_select(0, receiver) - protein.ca.index_select(0, residue)
        distances = torch.sqrt((difference * difference).sum(-1) + 1e-12)
        units = difference / distances.unsqueeze(-1)
        radial = compute_radial_basis(distances, self.cutoff, self.n_radial)
        axes = protein.frames.index_select(0, residue).permute(1, 2, 0).contiguous()
        vectors = self.mix(vec)
        directions = torch.cat([units.unsqueeze(-1), vectors.index_select(0, receiver)], dim=-1)
        projected = project_on_frames(axes, directions)
        pairs = self.from_ligand(h).index_select(0, receiver)
        pairs = pairs + self.from_residue(protein.features).index_select(0, residue)
        pairs = pairs + self.from_radial(radial) + self.from_frame(projected)
        pairs = nn.functional.silu(self.mlp.layers[0](nn.functional.silu(pairs)))
        envelope = (compute_envelope(distances, self.cutoff) * self.scale).unsqueeze(-1)
        pairs = torch.cat([pairs * envelope, envelope], dim=1)

        # The last linear map acts on pairs where its outputs multiply what belongs to the pair, and on sums over pairs
        # where they multiply what belongs to the atom.
        last = append_bias(self.mlp.layers[2].weight, self.mlp.layers[2].bias)  # type: ignore[arg-type]
        n_pair_gates, n_gates = 4 * self.n_vectors, self.n_gates * self.n_vectors
        gates = (last[:n_pair_gates] @ pairs.t()).reshape(4, 1, self.n_vectors, -1)
        axes = torch.cat([units.t().unsqueeze(0), axes])
        external = (axes.unsqueeze(2) * gates).sum(0).flatten(0, 1).t()
        summed = nn.functional.linear(sum_at(pairs, receiver, h.shape[0]), last[n_pair_gates:])
        atom_gates = summed[:, : n_gates - n_pair_gates].reshape(-1, self.n_gates - 4, self.n_vectors)
        external = sum_at(external, receiver, h.shape[0]).reshape(-1, 3, self.n_vectors) + vectors @ atom_gates
        return external, summed[:, n_gates - n_pair_gates :]
