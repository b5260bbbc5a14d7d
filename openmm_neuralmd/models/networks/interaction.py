"""Interaction network: what each residue near the ligand does to each of its atoms."""

from typing import NamedTuple, Tuple

import torch
from torch import Tensor, nn

from openmm_neuralmd.models.networks.interface import ProteinEmbedding
from openmm_neuralmd.models.networks.layers import MLP, VectorLinear, append_bias, project_on_frames, sum_at
from openmm_neuralmd.molecule.geometry import compute_envelope, compute_radial_basis, find_nearby, find_pairs

_TYPICAL_RESIDUES = 25.0  # CA atoms within 10 A of a bound ligand's atom
_CHANNELS = 8  # mixtures of an atom's vectors that a residue sees: 3 (1 + 8) components on its frame


class Contacts(NamedTuple):
    """Pairs of a ligand atom and a CA within the cutoff; n is their number."""

    receiver: Tensor  # int64, (n,): atoms of all replicas, one replica after the other
    residue: Tensor  # int64, (n,)
    distances: Tensor  # [A], (n,)
    units: Tensor  # u, from the CA to the atom, (n, 3)


class InteractionNetwork(nn.Module):
    """External vectors (R N, 3, n_vectors) and scalars (R N, H) from pairs of a ligand atom and a CA.

    Eq. 8 of Liu et al. (2025), doi:10.1038/s41467-025-67808-z, with the distance in it: the pair's invariants
    (distance, direction and atom vectors in the residue's frame, features of both) pass through an MLP whose outputs
    multiply the pair direction, the frame's axes and the atom's vectors. The envelope comes last.

    Theory (2.7) to (2.9):

        p        features of a pair             ``_describe``, with the envelope already
        g        gates: direction (0), axes (1-3), atom's vectors (the rest)
        [G g_0]  last linear map                ``last``
        c        scale                          ``scale``
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
        """External vectors and scalars at positions [A], (R, N, 3), from the ligand's h (R N, H), vec (R N, 3, H)."""
        contacts = self._find_contacts(positions, protein)
        axes = protein.frames.index_select(0, contacts.residue).permute(1, 2, 0).contiguous()
        vectors = self.mix(vec)
        pairs = self._describe(contacts, axes, vectors, h, protein)

        # The last linear map acts on pairs where its outputs multiply what belongs to the pair, and on sums over pairs
        # where they multiply what belongs to the atom.
        last = append_bias(self.mlp.layers[2].weight, self.mlp.layers[2].bias)  # type: ignore[arg-type]
        n_pair_gates, n_gates = 4 * self.n_vectors, self.n_gates * self.n_vectors
        n_targets = h.shape[0]
        from_pairs = self._gate_pairs(contacts, axes, pairs, last[:n_pair_gates])
        summed = nn.functional.linear(sum_at(pairs, contacts.receiver, n_targets), last[n_pair_gates:])
        atom_gates = summed[:, : n_gates - n_pair_gates].reshape(-1, self.n_gates - 4, self.n_vectors)
        external = sum_at(from_pairs, contacts.receiver, n_targets).reshape(-1, 3, self.n_vectors)
        return external + vectors @ atom_gates, summed[:, n_gates - n_pair_gates :]

    def _find_contacts(self, positions: Tensor, protein: ProteinEmbedding) -> Contacts:
        nearby = find_nearby(protein.ca, positions, self.cutoff)
        replica, atom, found = find_pairs(positions, protein.ca.index_select(0, nearby), self.cutoff, False)
        receiver, residue = replica * positions.shape[1] + atom, nearby.index_select(0, found)
        difference = positions.reshape(-1, 3).index_select(0, receiver) - protein.ca.index_select(0, residue)
        distances = torch.sqrt((difference * difference).sum(-1) + 1e-12)
        return Contacts(receiver, residue, distances, difference / distances.unsqueeze(-1))

    def _describe(
        self, contacts: Contacts, axes: Tensor, vectors: Tensor, h: Tensor, protein: ProteinEmbedding
    ) -> Tensor:
        """Features of pairs times c E, and c E itself, (n, H + 1); theory (2.7) and the column of (2.9).

        Args:
            axes: Of the residues' frames, (3 axes, 3 components, n).
            vectors: Of the atoms, mixed, (R N, 3, channels).
        """
        radial = compute_radial_basis(contacts.distances, self.cutoff, self.n_radial)
        directions = torch.cat([contacts.units.unsqueeze(-1), vectors.index_select(0, contacts.receiver)], dim=-1)
        projected = project_on_frames(axes, directions)
        pairs = self.from_ligand(h).index_select(0, contacts.receiver)
        pairs = pairs + self.from_residue(protein.features).index_select(0, contacts.residue)
        pairs = pairs + self.from_radial(radial) + self.from_frame(projected)
        pairs = nn.functional.silu(self.mlp.layers[0](nn.functional.silu(pairs)))
        envelope = (compute_envelope(contacts.distances, self.cutoff) * self.scale).unsqueeze(-1)
        return torch.cat([pairs * envelope, envelope], dim=1)

    def _gate_pairs(self, contacts: Contacts, axes: Tensor, pairs: Tensor, weight: Tensor) -> Tensor:
        """Direction and axes of each pair times their gates, (n, 3 n_vectors); first part of theory (2.8)."""
        gates = (weight @ pairs.t()).reshape(4, 1, self.n_vectors, -1)
        directions = torch.cat([contacts.units.t().unsqueeze(0), axes])
        return (directions.unsqueeze(2) * gates).sum(0).flatten(0, 1).t()
