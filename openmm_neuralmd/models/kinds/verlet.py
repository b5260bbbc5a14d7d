"""VerletMD: an energy whose negative gradient is the force, stepped by velocity Verlet, one step a snapshot.

A baseline of Liu et al. (2025), doi:10.1038/s41467-025-67808-z, on NeuralMD's own backbone. Where a force field is at
hand it learns that energy besides, which an evaluation judges in a row of its own
(docs/decisions/0006-force-field-labels.md).
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from openmm_neuralmd.dynamics.propagator import Propagator
from openmm_neuralmd.dynamics.verlet import VelocityVerlet
from openmm_neuralmd.models.bound import Binding
from openmm_neuralmd.models.forms import FLAG, Record
from openmm_neuralmd.models.kinds.backbone import BACKBONE, BackboneKind
from openmm_neuralmd.models.losses.labels import LABELS_OF_FORCE_FIELD, FrameLabels
from openmm_neuralmd.models.networks.baselines import VerletMD
from openmm_neuralmd.models.networks.interface import LigandGraph, ProteinEmbedding, ProteinStructure


class VerletKind(BackboneKind):
    """Velocity Verlet of a learned energy."""

    name = "verlet"
    label = "VerletMD"
    summary = "a baseline: velocity Verlet of a learned energy"
    config_form: ClassVar[Record] = Record(BACKBONE, {"has_force_field": FLAG}, is_closed=True)
    labels: ClassVar[tuple[str, ...]] = (LABELS_OF_FORCE_FIELD,)
    label_config: ClassVar[Mapping[str, Any]] = {"has_force_field": True}

    def build_network(self, config: Mapping[str, Any]) -> nn.Module:
        """A fresh VerletMD."""
        return VerletMD(**config)

    def compute_loss(
        self,
        net: VerletMD,
        window: Tensor,
        graph: LigandGraph,
        protein: ProteinEmbedding,
        generator: torch.Generator,  # noqa: ARG002
        displacement: float,  # noqa: ARG002
    ) -> Tensor:
        """Mean squared error [A^2/snapshot^4] of the accelerations x_(t+1) - 2 x_t + x_(t-1)."""
        previous, current, following = window[:, :3].unbind(1)
        acceleration = following - 2.0 * current + previous
        return (net.compute_force(current, graph, protein) / graph.masses[:, None] - acceleration).square().mean()

    def prepare_for_labels(self, net: VerletMD, labels: FrameLabels) -> None:
        """The force field's forces are orders of magnitude larger: their size is the scale of the second energy."""
        net.force_field_scale.copy_(labels.force_square.sqrt())

    def compute_label_errors(
        self, net: VerletMD, labels: FrameLabels, graph: LigandGraph, protein: ProteinEmbedding
    ) -> dict[str, Tensor]:
        """Squared errors of forces and of energy differences within the batch, relative to their own size.

        Both are 1 for a constant energy, whatever the units; accelerations, about 1 A/snapshot^2, are of that order
        too.
        """
        energies, forces = net.compute_force_field(labels.positions, graph, protein)
        offsets = energies - labels.energies
        return {
            "relative_force_error": (forces - labels.forces).square().mean() / labels.force_square,
            "relative_energy_error": (offsets - offsets.mean()).square().mean() / labels.energy_variance,
        }

    def make_propagator(self, binding: Binding) -> Propagator:
        """Velocity Verlet by the energy of a snapshot interval."""
        net: Any = binding.net
        return self._make_verlet(binding, net.compute_force)

    def make_variants(self, binding: Binding) -> Mapping[str, Propagator]:
        """Velocity Verlet by the force field's energy, where it was learned."""
        net: Any = binding.net
        if not net.has_force_field:
            return {}
        propagator = self._make_verlet(binding, lambda x, graph, protein: net.compute_force_field(x, graph, protein)[1])
        return {"force field's energy": propagator}

    def _make_verlet(self, binding: Binding, compute_force: Callable[..., Tensor]) -> "VelocityVerlet":
        masses = binding.graph.masses[:, None]

        def compute_acceleration(x: Tensor) -> Tensor:
            with torch.inference_mode(False):  # the force is a gradient
                return compute_force(x.clone(), binding.graph, binding.protein).detach() / masses

        return VelocityVerlet(binding.adapt(compute_acceleration))

    def compute_law(
        self, net: Any, positions: Tensor, graph: LigandGraph, protein: ProteinEmbedding
    ) -> tuple[Tensor, Tensor]:
        """The force."""
        n_replicas, n_atoms, _ = positions.shape
        return net.compute_force(positions, graph, protein), positions.new_zeros(n_replicas, 3 * n_atoms, 3 * n_atoms)

    def wrap(self, net: nn.Module) -> nn.Module:
        """The energy."""
        return OfferedEnergy(net)


class OfferedEnergy(nn.Module):
    """What a file of VerletMD offers."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, positions: Tensor, graph: LigandGraph, protein: ProteinEmbedding) -> Tensor:
        return self.net.compute_energy(positions, graph, protein)

    def embed_protein(self, structure: ProteinStructure) -> ProteinEmbedding:
        return self.net.embed_protein(structure)


KIND = VerletKind()
