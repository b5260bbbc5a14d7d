"""A kind that is a force: NeuralMD's two, Newtonian and Langevin, differ in noise and loss alone."""

from typing import ClassVar

from openmm_neuralmd.models.bound import Binding, BoundForce
from openmm_neuralmd.models.kinds.backbone import BindingNetKind


class ForceKind(BindingNetKind):
    """BindingNet's force, stepped and projected; snapshots show its vibration where there is noise."""

    options: ClassVar[tuple[str, ...]] = ("displacement", "rollout", "velocity_mapping", "velocity_refinement")
    is_force: ClassVar[bool] = True
    keeps_shape: ClassVar[bool] = True

    def bind(self, binding: Binding) -> BoundForce:
        """The compiled network with ligand and protein in it."""
        frozen = binding.freeze()
        return BoundForce(
            **binding.facts,
            n_noise=frozen.n_noise,
            friction=frozen.friction,
            masses=binding.graph.masses,
            module=frozen.module,
            origin=binding.origin,
        )
