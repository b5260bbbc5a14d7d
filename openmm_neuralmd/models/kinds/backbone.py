"""What the kinds of this package have in common: the backbone's arguments, and BindingNet with what its files offer."""

from collections.abc import Mapping
from typing import Any, ClassVar, Tuple

from torch import Tensor, nn

from openmm_neuralmd.models.forms import FLAG, Form, Record, integer, number
from openmm_neuralmd.models.kinds.kind import Fault, Kind
from openmm_neuralmd.models.networks.bindingnet import BindingNet
from openmm_neuralmd.models.networks.interface import LigandGraph, ProteinEmbedding, ProteinStructure

# Upper bounds are far beyond what is useful; they keep a wrong file from taking all memory. Below the lower ones of
# cutoffs a network has hardly a pair to learn from: bonds are 1.1 to 2.1 A long, CA atoms stand 4 A from a ligand's.
BACKBONE: Mapping[str, Form] = {
    "hidden": integer(2, 1024),
    "n_layers": integer(1, 64),
    "n_radial": integer(1, 1024),
    "ligand_cutoff": number(2.0, 100.0, " A"),
    "pocket_cutoff": number(4.0, 100.0, " A"),
}
"""Arguments of ``networks.bindingnet.Backbone``."""
DEFAULT_BACKBONE: Mapping[str, Any] = {
    "hidden": 64,
    "n_layers": 2,
    "n_radial": 32,
    "ligand_cutoff": 5.0,
    "pocket_cutoff": 10.0,
}


class BackboneKind(Kind):
    """A kind on NeuralMD's backbone."""

    config_form: ClassVar[Record] = Record(BACKBONE, is_closed=True)
    default_config: ClassVar[Mapping[str, Any]] = DEFAULT_BACKBONE

    def count_least_weights(self, config: Mapping[str, Any]) -> int:
        """Each layer mixes its channels, several times."""
        return int(config["n_layers"] * config["hidden"] ** 2)


class BindingNetKind(BackboneKind):
    """A kind whose network is a BindingNet; metadata may say ``stochastic``, which the kind decides."""

    config_form: ClassVar[Record] = Record(
        BACKBONE,
        {
            "stochastic": FLAG,
            "n_twists": integer(0, 256),
            "n_fields": integer(0, 256),
            "velocity_mapping": FLAG,
            "velocity_refinement": FLAG,
        },
        is_closed=True,
    )
    exported: ClassVar[tuple[str, ...]] = (
        "embed_protein",
        "compute_force_and_fields",
        "compute_force_and_noise",
        "compute_vibration",
        "map_velocities",
        "count_noise",
        "compute_friction",
    )
    network: ClassVar[type[BindingNet]] = BindingNet

    def build_network(self, config: Mapping[str, Any]) -> nn.Module:
        """A fresh BindingNet, with noise or without."""
        return self.network(**{**config, "stochastic": self.is_random})

    def compute_law(
        self, net: Any, positions: Tensor, graph: LigandGraph, protein: ProteinEmbedding
    ) -> tuple[Tensor, Tensor]:
        """The force with the map of a velocity, here the distance from the centre; noise and vibration."""
        force, fields = net.compute_force_and_fields(positions, graph, protein)
        velocity = net.map_velocities(positions, positions - positions.mean(1, keepdim=True), graph)
        covariance = fields @ fields.transpose(1, 2)
        if self.is_random:
            covariance = covariance + net.vibration.compute_covariance(positions, graph)
        return force + velocity, covariance

    def wrap(self, net: nn.Module) -> nn.Module:
        """Its methods."""
        return OfferedForce(net)

    def find_config_fault(self, config: Mapping[str, Any]) -> Fault | None:
        """``stochastic`` is as the kind is."""
        if config.get("stochastic", self.is_random) == self.is_random:
            return None
        return Fault("stochastic", config["stochastic"], f"what a model of kind {self.name} is")


class OfferedForce(nn.Module):
    """The methods of a BindingNet that a model file offers."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, positions: Tensor, graph: LigandGraph, protein: ProteinEmbedding) -> Tensor:
        return self.net(positions, graph, protein)

    def embed_protein(self, structure: ProteinStructure) -> ProteinEmbedding:
        return self.net.embed_protein(structure)

    def compute_force_and_fields(
        self, positions: Tensor, graph: LigandGraph, protein: ProteinEmbedding
    ) -> Tuple[Tensor, Tensor]:
        return self.net.compute_force_and_fields(positions, graph, protein)

    def compute_force_and_noise(
        self, positions: Tensor, increments: Tensor, graph: LigandGraph, protein: ProteinEmbedding
    ) -> Tuple[Tensor, Tensor]:
        return self.net.compute_force_and_noise(positions, increments, graph, protein)

    def compute_vibration(self, positions: Tensor, normals: Tensor, graph: LigandGraph) -> Tensor:
        return self.net.compute_vibration(positions, normals, graph)

    def map_velocities(self, positions: Tensor, velocities: Tensor, graph: LigandGraph) -> Tensor:
        return self.net.map_velocities(positions, velocities, graph)

    def count_noise(self, graph: LigandGraph) -> int:
        return self.net.count_noise(graph)

    def compute_friction(self) -> Tensor:
        return self.net.compute_friction()
