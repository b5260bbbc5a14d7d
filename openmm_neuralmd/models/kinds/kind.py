"""What a kind of model is: its network, what it learns, how it moves a ligand, and what its files offer."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from openmm_neuralmd.dynamics.propagator import Propagator
from openmm_neuralmd.models.bound import Binding, BoundModel, BoundPropagator
from openmm_neuralmd.models.forms import Record
from openmm_neuralmd.models.losses.labels import FrameLabels
from openmm_neuralmd.models.networks.interface import LigandGraph, ProteinEmbedding, ProteinStructure

_POCKET_CUTOFF = 10.0  # [A], for networks whose configuration names none


class Fault(NamedTuple):
    """An entry of a network's configuration that cannot be: its name, what was found and what was expected."""

    entry: str
    found: Any
    expected: str


class Kind:
    """A kind of model; subclasses are in ``models.kinds``, or in packages that name one in an entry point.

    A kind says what must be different; the rest, from reading trajectories to writing runs, is the same for all.
    ``docs/extending.md`` has an example.

    Attributes:
        name: In model files and on the command line.
        label: In tables.
        summary: One line.
        config_form: Form of the network's arguments, in metadata too.
        default_config: Their values where nothing else is said.
        options: What else in training has an effect: "displacement", "rollout", or arguments of the network.
        labels: What it can learn besides trajectories: ``LABELS_OF_FORCE_FIELD``.
        label_config: Arguments of a network that learns those.
        is_force: Whether its bound model gives a force that OpenMM's integrator programs step; else displacements.
        is_random: Whether its paths depend on a seed.
        keeps_shape: Whether its rollouts, as it is defined, bring bonds back after each step.
        is_achiral: Whether its law is the same for a complex and its mirror image.
        exported: Methods that a model file offers besides ``forward``, of what ``wrap`` gives.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    summary: ClassVar[str]
    config_form: ClassVar[Record] = Record()
    default_config: ClassVar[Mapping[str, Any]] = {}
    options: ClassVar[tuple[str, ...]] = ()
    labels: ClassVar[tuple[str, ...]] = ()
    label_config: ClassVar[Mapping[str, Any]] = {}
    is_force: ClassVar[bool] = False
    is_random: ClassVar[bool] = False
    keeps_shape: ClassVar[bool] = False
    is_achiral: ClassVar[bool] = False
    exported: ClassVar[tuple[str, ...]] = ("embed_protein",)

    def build_network(self, config: Mapping[str, Any]) -> nn.Module:
        """A fresh network; weights and buffers float32, and a method ``embed_protein(ProteinStructure)``."""
        raise NotImplementedError

    def compute_loss(
        self,
        net: Any,
        window: Tensor,
        graph: LigandGraph,
        protein: ProteinEmbedding,
        generator: torch.Generator,
        displacement: float,
    ) -> Tensor:
        """What training minimises, a scalar.

        Args:
            net: The network.
            window: x_(t-1), x_t, x_(t+1), ... [A], (n, 3 or more, n_atoms, 3).
            graph, protein: Of the complex.
            generator: Of whatever is random, on the device of the windows.
            displacement: Largest strength of displaced inputs, see ``losses.perturbation``.
        """
        raise NotImplementedError

    def compute_law(
        self, net: Any, positions: Tensor, graph: LigandGraph, protein: ProteinEmbedding
    ) -> tuple[Tensor, Tensor]:
        """What decides how a snapshot moves, as ``testing`` checks it; what ``forward`` gives if nothing else is said.

        Returns:
            Vectors, (R, N, 3), and the covariance of the noise, (R, 3N, 3N).
        """
        n_replicas, n_atoms, _ = positions.shape
        return net(positions, graph, protein), positions.new_zeros(n_replicas, 3 * n_atoms, 3 * n_atoms)

    def make_propagator(self, binding: Binding) -> Propagator:
        """What advances replicas, without projection, for kinds that are no force."""
        raise NotImplementedError

    def bind(self, binding: Binding) -> BoundModel:
        """The model bound to a complex."""
        propagator = self.make_propagator(binding)
        return BoundPropagator(**binding.facts, propagator=propagator, variants=self.make_variants(binding))

    def make_variants(self, binding: Binding) -> Mapping[str, Propagator]:  # noqa: ARG002
        """Other propagators that an evaluation judges in rows of their own, by what is added to the label."""
        return {}

    def wrap(self, net: nn.Module) -> nn.Module:
        """What TorchScript compiles into a model file: a module that holds the network as ``net``."""
        return Offered(net)

    def find_config_fault(self, config: Mapping[str, Any]) -> Fault | None:  # noqa: ARG002
        """What of arguments that have the right form does not fit together."""
        return None

    def count_least_weights(self, config: Mapping[str, Any]) -> int:  # noqa: ARG002
        """Numbers that a network of this configuration has at least, told before it is built."""
        return 0

    def get_pocket_cutoff(self, config: Mapping[str, Any]) -> float:
        """How far from the ligand the network reads the protein [A]."""
        return float(config.get("pocket_cutoff", _POCKET_CUTOFF))

    def prepare_for_labels(self, net: Any, labels: FrameLabels) -> None:
        """Set what a fresh network must know of labels before training, their scale for example."""

    def compute_label_errors(
        self, net: Any, labels: FrameLabels, graph: LigandGraph, protein: ProteinEmbedding
    ) -> dict[str, Tensor]:
        """Mean squared relative errors of what labels say, by name; training adds them to the loss."""
        raise NotImplementedError(f"kind {self.name} learns no labels")


class Offered(nn.Module):
    """What a file offers of a network with the usual ``forward``: positions [A], (R, N, 3), in, one tensor out."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, positions: Tensor, graph: LigandGraph, protein: ProteinEmbedding) -> Tensor:
        return self.net(positions, graph, protein)

    def embed_protein(self, structure: ProteinStructure) -> ProteinEmbedding:
        return self.net.embed_protein(structure)  # type: ignore[operator]
