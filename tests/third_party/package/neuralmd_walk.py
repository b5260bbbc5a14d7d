"""A kind that is no force: a random walk of the ligand, pulled and pushed by the CA atoms of its pocket.

    x <- x + d(x) + s z + S Z,    d_i = sum over CA atoms k of g(|x_i - x_k|, element of i, residue k) (x_i - x_k)

with standard normals z of each atom and Z of the whole ligand. It is fitted by the likelihood of the next snapshot.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from openmm_neuralmd.dynamics.noise import draw_normals
from openmm_neuralmd.dynamics.propagator import begin
from openmm_neuralmd.models.forms import Record, integer, number
from openmm_neuralmd.models.kinds.kind import Kind
from openmm_neuralmd.models.networks.interface import N_ELEMENTS, LigandGraph, ProteinEmbedding, ProteinStructure
from openmm_neuralmd.molecule.geometry import compute_envelope, compute_radial_basis

N_RESIDUE_TYPES = 21


class WalkNetwork(nn.Module):
    def __init__(self, n_radial: int, pocket_cutoff: float) -> None:
        super().__init__()
        self.n_radial, self.cutoff = n_radial, pocket_cutoff
        self.residue = nn.Embedding(N_RESIDUE_TYPES, n_radial)
        self.element = nn.Embedding(N_ELEMENTS, n_radial)
        self.log_spreads = nn.Parameter(torch.tensor([-1.5, -1.5]))  # of each atom, of the whole ligand [A]

    def embed_protein(self, structure: ProteinStructure) -> ProteinEmbedding:
        ca = structure.backbone[:, 1]
        frames = torch.zeros_like(structure.backbone)  # not used
        return ProteinEmbedding(ca, frames, self.residue(structure.residue_types))

    def forward(self, positions: Tensor, graph: LigandGraph, protein: ProteinEmbedding) -> Tensor:
        """Displacements d [A], (R, N, 3)."""
        arms = positions.unsqueeze(2) - protein.ca
        distances = torch.sqrt((arms * arms).sum(-1) + 1e-6)
        radial = compute_radial_basis(distances, self.cutoff, self.n_radial)
        gates = (radial * self.element(graph.elements).unsqueeze(1) * protein.features).sum(-1)
        gates = gates * compute_envelope(distances, self.cutoff) * (1e-2 / self.n_radial)
        return (gates.unsqueeze(-1) * arms).sum(2)


class WalkKind(Kind):
    name, label, summary = "walk", "Random walk", "a random walk in the field of the pocket's CA atoms"
    config_form = Record({"n_radial": integer(1, 64), "pocket_cutoff": number(4.0, 20.0, " A")}, is_closed=True)
    default_config = {"n_radial": 8, "pocket_cutoff": 10.0}  # noqa: RUF012
    is_random = True
    is_achiral = True

    def build_network(self, config):
        return WalkNetwork(**config)

    def compute_loss(self, net, window, graph, protein, generator, displacement):
        current, following = window[:, 1], window[:, 2]
        residual = following - current - net(current, graph, protein)
        common = residual.mean(1)  # of variance S^2 + s^2/N; what is left of each atom has s^2
        own, whole = torch.exp(2.0 * net.log_spreads)
        n = residual.shape[1]
        wide = whole + own / n
        around = (residual - common.unsqueeze(1)).square().sum((1, 2)) / own + 3 * (n - 1) * own.log()
        return (around + common.square().sum(1) / wide + 3 * wide.log()).mean() / (6 * n)

    def compute_law(self, net, positions, graph, protein):
        n_replicas, n_atoms, _ = positions.shape
        own, whole = torch.exp(2.0 * net.log_spreads)
        unit = torch.eye(3, dtype=positions.dtype).repeat(n_atoms, n_atoms)
        covariance = own * torch.eye(3 * n_atoms, dtype=positions.dtype) + whole * unit
        return net(positions, graph, protein), covariance.expand(n_replicas, -1, -1)

    def make_propagator(self, binding):
        net, graph, protein = binding.net, binding.graph, binding.protein
        return Walk(binding.adapt(lambda x: net(x, graph, protein)), torch.exp(net.log_spreads).tolist())


class Walk:
    n_history, is_random = 1, True

    def __init__(self, compute_displacement, spreads):
        self.compute_displacement, self.spreads = compute_displacement, spreads

    def start(self, history, seeds):
        return begin(history, seeds)

    def advance(self, state):
        x = state.fill().positions
        normals = draw_normals(state.seeds, state.step, x[0].numel() + 3, device=x.device).to(x)
        own, whole = normals[:, 3:].reshape(x.shape), normals[:, None, :3]
        moved = self.compute_displacement(x) + self.spreads[0] * own + self.spreads[1] * whole
        state = replace(state, positions=x + moved, velocities=moved, step=state.step + 1).fail_non_finite()
        return state, state.positions.unsqueeze(0)


KIND = WalkKind()
