"""BindingNet: the force on a ligand in a rigid protein, and the noise of its Langevin equation.

    dx/dt = v,    dv = (F(x)/m - gamma v) dt + B(x) dW,    F_i = internal_i + sum_k external_ik

Eqs. 3-11 of Liu et al. (2025), doi:10.1038/s41467-025-67808-z, in a form that is SE(3)-equivariant and continuous;
theory, sections 1, 2 and 5.
"""

from typing import Tuple

import torch
from torch import Tensor, nn

from openmm_neuralmd.models.networks.diffusion import FIRST_TORSION_FIELD, Diffusion
from openmm_neuralmd.models.networks.interaction import InteractionNetwork
from openmm_neuralmd.models.networks.interface import LigandGraph, ProteinEmbedding, ProteinStructure
from openmm_neuralmd.models.networks.layers import MLP, VectorLinear
from openmm_neuralmd.models.networks.ligand import LigandNetwork
from openmm_neuralmd.models.networks.protein import ProteinNetwork
from openmm_neuralmd.models.networks.velocity import VelocityMapping, VelocityRefinement
from openmm_neuralmd.models.networks.vibration import Vibration
from openmm_neuralmd.molecule.constraints import project_to_tangent

FORCE_SCALE = 12.0
"""[Da A/snapshot^2] for an output of 1: moves a carbon by 1 A in one snapshot, the scale of MD at 80 ps."""


class Backbone(nn.Module):
    """Ligand, protein and interaction networks joined: invariants and vectors of each ligand atom.

    Args:
        hidden: Channels H.
        n_layers: Message-passing layers of the ligand network.
        n_radial: Radial functions.
        ligand_cutoff, pocket_cutoff: [A].
        n_vectors: Equivariant vectors for each atom.
    """

    def __init__(
        self,
        *,
        hidden: int = 128,
        n_layers: int = 4,
        n_radial: int = 96,
        ligand_cutoff: float = 5.0,
        pocket_cutoff: float = 10.0,
        n_vectors: int = 1,
    ) -> None:
        super().__init__()
        self.ligand = LigandNetwork(hidden, n_layers, n_radial, ligand_cutoff)
        self.protein = ProteinNetwork(hidden, n_radial)
        self.interaction = InteractionNetwork(hidden, n_radial, pocket_cutoff, n_vectors)
        self.gate = MLP([hidden, hidden, hidden])
        self.readout = VectorLinear(hidden, n_vectors, 0.1)  # small forces to begin with

    def embed_protein(self, structure: ProteinStructure) -> ProteinEmbedding:
        """What the rigid protein contributes; once per structure."""
        return self.protein(structure)

    def forward(self, positions: Tensor, graph: LigandGraph, protein: ProteinEmbedding) -> Tuple[Tensor, Tensor]:
        """Invariants (R, N, H) and vectors (R, N, 3, n_vectors) for positions [A], (R, N, 3)."""
        n_replicas, n_atoms, _ = positions.shape
        h, vec = self.ligand(positions, graph)
        external, scalars = self.interaction(positions, h, vec, protein)
        vectors = self.readout(vec * self.gate(h).unsqueeze(1)) + external
        return (h + scalars).reshape(n_replicas, n_atoms, -1), vectors.reshape(n_replicas, n_atoms, 3, -1)


class BindingNet(nn.Module):
    """Force and noise: Newtonian, or Langevin where ``stochastic``.

    Args:
        stochastic: Whether there is noise.
        n_twists, n_fields: Learned rigid and learned free noise fields.
        velocity_mapping, velocity_refinement: The paper's options, see ``velocity``.
        hidden, n_layers, n_radial, ligand_cutoff, pocket_cutoff: Of ``Backbone``.
    """

    def __init__(
        self,
        *,
        stochastic: bool = True,
        n_twists: int = 4,
        n_fields: int = 2,
        velocity_mapping: bool = False,
        velocity_refinement: bool = False,
        hidden: int = 128,
        n_layers: int = 4,
        n_radial: int = 96,
        ligand_cutoff: float = 5.0,
        pocket_cutoff: float = 10.0,
    ) -> None:
        super().__init__()
        self.stochastic = stochastic
        self.n_rigid = FIRST_TORSION_FIELD
        self.n_collective = n_twists + n_fields
        self.force_scale = FORCE_SCALE
        self.backbone = Backbone(
            hidden=hidden,
            n_layers=n_layers,
            n_radial=n_radial,
            ligand_cutoff=ligand_cutoff,
            pocket_cutoff=pocket_cutoff,
            n_vectors=1 + (n_twists + n_fields if stochastic else 0),
        )
        self.diffusion = Diffusion(hidden, n_twists, n_fields)
        self.vibration = Vibration()
        sizes = (hidden, n_layers, n_radial, ligand_cutoff)
        self.mapping = VelocityMapping(*sizes) if velocity_mapping else None
        self.refinement = VelocityRefinement(*sizes) if velocity_refinement else None
        self.raw_friction = nn.Parameter(torch.tensor(1.0))
        self.log_bond_noise = nn.Parameter(torch.tensor(-1.2))

    def embed_protein(self, structure: ProteinStructure) -> ProteinEmbedding:
        """What the rigid protein contributes; once per structure."""
        return self.backbone.embed_protein(structure)

    def compute_friction(self) -> Tensor:
        """gamma [1/snapshot], a scalar >= 0; exactly zero is within reach."""
        return nn.functional.relu(self.raw_friction)

    def forward(self, positions: Tensor, graph: LigandGraph, protein: ProteinEmbedding) -> Tensor:
        """Force [Da A/snapshot^2], (R, N, 3), for positions [A], (R, N, 3)."""
        _, vectors = self.backbone(positions, graph, protein)
        return self._read_force(positions, vectors, graph)

    def map_velocities(self, positions: Tensor, velocities: Tensor, graph: LigandGraph) -> Tensor:
        """Initial velocities [A/snapshot], (R, N, 3), from those at hand: the same ones without velocity mapping."""
        if self.mapping is not None:
            return self.mapping(positions, velocities, graph)
        return velocities

    def compute_force_and_fields(
        self, positions: Tensor, graph: LigandGraph, protein: ProteinEmbedding
    ) -> Tuple[Tensor, Tensor]:
        """Force as in ``forward`` and noise fields B(x) [A/snapshot^1.5], (R, 3N, n_noise), n_noise 0 without noise."""
        force, fields = self._compute_force_and_free_fields(positions, graph, protein)
        return force, project_to_tangent(positions, graph.shape, fields)

    def compute_force_and_noise(
        self, positions: Tensor, increments: Tensor, graph: LigandGraph, protein: ProteinEmbedding
    ) -> Tuple[Tensor, Tensor]:
        """Force and B(x) xi [A/snapshot^1.5], (R, N, 3), for increments xi (R, n_noise); projects one vector only."""
        force, fields = self._compute_force_and_free_fields(positions, graph, protein)
        noise = project_to_tangent(positions, graph.shape, fields @ increments.unsqueeze(-1))
        return force, noise.reshape(positions.shape)

    def count_noise(self, graph: LigandGraph) -> int:
        """Independent normals that one step's noise takes."""
        if not self.stochastic:
            return 0
        return self.n_rigid + graph.torsion_axes.shape[0] + self.n_collective + 3 * graph.elements.shape[0]

    def compute_vibration(self, positions: Tensor, normals: Tensor, graph: LigandGraph) -> Tensor:
        """What bonds and angles vibrate [A], (R, N, 3); see ``Vibration``.

        Args:
            positions: With ideal bonds and 1-3 distances [A], (R, N, 3).
            normals: Standard normals, (R, 3N).
        """
        return self.vibration(positions, normals, graph)

    def _compute_force_and_free_fields(
        self, positions: Tensor, graph: LigandGraph, protein: ProteinEmbedding
    ) -> Tuple[Tensor, Tensor]:
        h, vectors = self.backbone(positions, graph, protein)
        force = self._read_force(positions, vectors, graph)
        if not self.stochastic:
            return force, torch.zeros(positions.shape[0], 3 * positions.shape[1], 0, dtype=h.dtype, device=h.device)
        return force, self.diffusion(positions, h, vectors[..., 1:], graph)

    def _read_force(self, positions: Tensor, vectors: Tensor, graph: LigandGraph) -> Tensor:
        force = vectors[..., 0] * self.force_scale
        if self.refinement is not None:
            force = force + graph.masses[:, None] * self.refinement(positions, graph)
        return force
