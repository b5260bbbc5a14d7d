"""Ligand network: SE(3)-equivariant message passing between ligand atoms (BindingNet-Ligand)."""

from typing import Optional, Tuple

import torch
from torch import Tensor, nn

from openmm_neuralmd.models.networks.interface import N_ELEMENTS, LigandGraph
from openmm_neuralmd.models.networks.layers import MLP, VectorLinear, append_bias, project_on_frames, sum_at
from openmm_neuralmd.molecule.chemistry import MAX_SEPARATION
from openmm_neuralmd.molecule.geometry import (
    build_pair_frames,
    compute_envelope,
    compute_norm,
    compute_radial_basis,
    find_pairs,
)

_TYPICAL_NEIGHBOURS = 12.0  # heavy atoms within 5 A of a drug-like ligand's atom; keeps sums of messages near 1
_FRAME_CHANNELS = 16  # summed directions of each end of a pair that are seen from its frame


class LigandLayer(nn.Module):
    """One message and one update step; theory (2.6).

    Message (eq. 6 of Liu et al. 2025, doi:10.1038/s41467-025-67808-z), with filters Phi_ij that vanish at the cutoff:
    (m1, m2, m3) = MLP(h_j) * Phi_ij;  h_i += sum_j m1;  vec_i += sum_j vec_j m2 + u_ij m3.
    Update, after Schuett et al. (2021), arXiv:2102.03150, eqs. 9-10: mixes vector channels and gates them.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.scale = _TYPICAL_NEIGHBOURS**-0.5
        self.message = MLP([hidden, hidden, 3 * hidden])
        self.filter = nn.Linear(hidden, 3 * hidden)
        self.mix = VectorLinear(hidden, 2 * hidden)
        self.update = MLP([2 * hidden, hidden, 3 * hidden])

    def forward(
        self, h: Tensor, vec: Optional[Tensor], pairs: Tensor, units: Tensor, receiver: Tensor, sender: Tensor
    ) -> Tuple[Tensor, Tensor]:
        """New h (n, H) and vec (n, 3, H); vec None stands for zero.

        Args:
            pairs: Pair invariants times the envelope, and the envelope itself, (n_pairs, H + 1).
            units: (n_pairs, 3).
        """
        width = h.shape[1]
        weight = self.scale * append_bias(self.filter.weight, self.filter.bias)
        sent = self.message(h)
        if vec is None:  # nothing to multiply m2 with
            weight = torch.cat([weight[:width], weight[2 * width :]])
            sent = torch.cat([sent[:, :width], sent[:, 2 * width :]], dim=1)
        messages = sent.index_select(0, sender) * nn.functional.linear(pairs, weight)
        h = h + sum_at(messages[:, :width], receiver, h.shape[0])
        moved = units.unsqueeze(-1) * messages[:, -width:].unsqueeze(1)
        if vec is None:
            vec = sum_at(moved, receiver, h.shape[0])
        else:
            moved = torch.addcmul(moved, vec.index_select(0, sender), messages[:, width : 2 * width].unsqueeze(1))
            vec = vec + sum_at(moved, receiver, h.shape[0])
        left, right = self.mix(vec).chunk(2, dim=-1)
        g1, g2, g3 = self.update(torch.cat([h, compute_norm(right.transpose(1, 2))], dim=-1)).chunk(3, dim=-1)
        return h + g1 + g2 * (left * right).sum(1), vec + g3.unsqueeze(1) * left


class LigandNetwork(nn.Module):
    """h_i (R N, H) and vec_i (R N, 3, H) of every ligand atom from the ligand alone."""

    def __init__(self, hidden: int, n_layers: int, n_radial: int, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.n_radial = n_radial
        self.scale = _TYPICAL_NEIGHBOURS**-0.5
        self.atom_embedding = nn.Embedding(N_ELEMENTS, hidden)
        self.neighbour_embedding = nn.Embedding(N_ELEMENTS, hidden)
        self.separation_embedding = nn.Embedding(MAX_SEPARATION + 1, hidden)
        self.neighbour_filter = MLP([n_radial, hidden, hidden])
        self.frame_filter = nn.Linear(n_radial, hidden)
        self.frame_mix = VectorLinear(hidden, _FRAME_CHANNELS)
        self.pair_from_radial = nn.Linear(n_radial, hidden)
        self.pair_from_frame = nn.Linear(6 * _FRAME_CHANNELS, hidden, bias=False)
        self.pair_mlp = MLP([hidden, hidden])
        self.layers = nn.ModuleList([LigandLayer(hidden) for _ in range(n_layers)])

    def forward(self, positions: Tensor, graph: LigandGraph) -> Tuple[Tensor, Tensor]:
        """h and vec for positions [A], (R, N, 3)."""
        n_replicas, n_atoms, _ = positions.shape
        replica, first, second = find_pairs(positions, positions, self.cutoff, True)
        receiver, sender = replica * n_atoms + first, replica * n_atoms + second
        relative = (positions - positions.mean(1, keepdim=True)).reshape(-1, 3)
        at_receiver, at_sender = relative.index_select(0, receiver), relative.index_select(0, sender)
        difference = at_receiver - at_sender
        distances = torch.sqrt((difference * difference).sum(-1) + 1e-12)
        units = difference / distances.unsqueeze(-1)
        envelope = compute_envelope(distances, self.cutoff).unsqueeze(-1)
        radial = compute_radial_basis(distances, self.cutoff, self.n_radial)

        elements = graph.elements.repeat(n_replicas)
        neighbour = self.neighbour_embedding(elements)
        h = self.atom_embedding(elements)
        filters = self.neighbour_filter(radial) * (envelope * self.scale)
        h = h + sum_at(filters * neighbour.index_select(0, sender), receiver, h.shape[0])

        directions = self._sum_directions(units, radial, envelope, neighbour, receiver, sender)
        axes = build_pair_frames(units, at_receiver, at_sender).permute(1, 2, 0).contiguous()
        ends = torch.cat([directions.index_select(0, receiver), directions.index_select(0, sender)], dim=-1)
        pairs = self.pair_from_radial(radial) + self.pair_from_frame(project_on_frames(axes, ends))
        separation = graph.separation.reshape(-1).index_select(0, first * n_atoms + second)
        pairs = pairs + self.separation_embedding(separation)
        pairs = self.pair_mlp(nn.functional.silu(pairs))
        pairs = torch.cat([pairs * envelope, envelope], dim=1)

        vec: Optional[Tensor] = None
        for layer in self.layers:
            h, vec = layer(h, vec, pairs, units, receiver, sender)
        if vec is None:
            vec = torch.zeros(h.shape[0], 3, h.shape[1], dtype=h.dtype, device=h.device)
        return h, vec

    def _sum_directions(
        self, units: Tensor, radial: Tensor, envelope: Tensor, neighbour: Tensor, receiver: Tensor, sender: Tensor
    ) -> Tensor:
        """Directions of each atom's neighbours, summed with weights by distance and element, (R N, 3, channels).

        They are what pairs see on their vector frames. Channels are mixed before the sum, which commutes with it and is
        narrower.
        """
        weighted = torch.cat([radial * envelope, envelope], dim=1)
        weight = self.scale * append_bias(self.frame_filter.weight, self.frame_filter.bias)
        directed = nn.functional.linear(weighted, weight)
        directed = self.frame_mix(directed * nn.functional.silu(neighbour).index_select(0, sender))
        return sum_at(units.unsqueeze(-1) * directed.unsqueeze(1), receiver, neighbour.shape[0])
