"""Two options of the paper's Methods, built equivariantly, each on a ligand network (BindingNet-Ligand) of its own.

Velocity mapping turns the initial velocity that is at hand, a difference of two snapshots or zero, into one that
predicts. Velocity refinement adds alpha u(x) to the velocity at every step, with u of the ligand alone; over one
snapshot that is an acceleration of alpha u(x), the form it has here, which every scheme integrates alike.

Source: Liu et al. (2025), doi:10.1038/s41467-025-67808-z. Its code gives displacements to the ligand network as if
they were positions, which is not equivariant under rotations and shifts together; here velocities enter as vectors,
gated by invariants of the positions.
"""

import torch
from torch import Tensor, nn

from openmm_neuralmd.models.networks.interface import LigandGraph
from openmm_neuralmd.models.networks.layers import MLP, VectorLinear
from openmm_neuralmd.models.networks.ligand import LigandNetwork


class VelocityMapping(nn.Module):
    """v_i -> (1 + a_i) v_i + b_i <v> + c_i u_i(x), with invariants a, b, c of each atom, zero before training."""

    def __init__(self, hidden: int, n_layers: int, n_radial: int, cutoff: float) -> None:
        super().__init__()
        self.ligand = LigandNetwork(hidden, n_layers, n_radial, cutoff)
        self.readout = VectorLinear(hidden, 1)
        self.gates = MLP([hidden, hidden, 3], last_scale=0.0)

    def forward(self, positions: Tensor, velocities: Tensor, graph: LigandGraph) -> Tensor:
        """Velocities [A/snapshot], (R, N, 3), for positions [A] and velocities of the same shape."""
        h, vec = self.ligand(positions, graph)
        own = self.readout(vec).reshape(positions.shape)
        gates = self.gates(h).reshape(positions.shape)
        mean = velocities.mean(1, keepdim=True)
        return velocities + gates[..., :1] * velocities + gates[..., 1:2] * mean + gates[..., 2:] * own


class VelocityRefinement(nn.Module):
    """alpha u(x) [A/snapshot^2], with alpha zero before training."""

    def __init__(self, hidden: int, n_layers: int, n_radial: int, cutoff: float) -> None:
        super().__init__()
        self.ligand = LigandNetwork(hidden, n_layers, n_radial, cutoff)
        self.readout = VectorLinear(hidden, 1)
        self.alpha = nn.Parameter(torch.tensor(0.0))

    def forward(self, positions: Tensor, graph: LigandGraph) -> Tensor:
        """(R, N, 3) for positions [A], (R, N, 3)."""
        _, vec = self.ligand(positions, graph)
        return self.alpha * self.readout(vec).reshape(positions.shape)
