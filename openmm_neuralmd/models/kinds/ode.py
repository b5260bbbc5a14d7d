"""NeuralMD's Newtonian model: dx = v dt, dv = (F(x)/m - gamma v) dt."""

import torch
from torch import Tensor

from openmm_neuralmd.models.kinds.force import ForceKind
from openmm_neuralmd.models.losses.rollouts import make_training_step, roll_out
from openmm_neuralmd.models.losses.transition import predict_clean_and_displaced
from openmm_neuralmd.models.networks.bindingnet import BindingNet
from openmm_neuralmd.models.networks.interface import LigandGraph, ProteinEmbedding


class OdeKind(ForceKind):
    """Newtonian BindingNet."""

    name = "ode"
    label = "NeuralMD ODE"
    summary = "Newton's equation with friction, the same path for every seed"

    def compute_loss(
        self,
        net: BindingNet,
        window: Tensor,
        graph: LigandGraph,
        protein: ProteinEmbedding,
        generator: torch.Generator,
        displacement: float,
    ) -> Tensor:
        """Mean squared error [A^2] over clean and displaced inputs; over longer windows, of the rollout as well."""
        mean, _, following = predict_clean_and_displaced(net, window, graph, protein, generator, displacement)
        loss = (mean - following.repeat(2, 1, 1)).square().mean()
        if window.shape[1] == 3:
            return loss
        step = make_training_step(net, graph, protein, generator)
        path = roll_out(step, window[:, :2], window.shape[1] - 2)
        return 0.5 * (loss + (path - window[:, 2:]).square().mean())


KIND = OdeKind()
