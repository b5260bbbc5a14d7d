"""NeuralMD's Langevin model: dx = v dt, dv = (F(x)/m - gamma v) dt + B(x) dW."""

import torch
from torch import Tensor

from openmm_neuralmd.models.kinds.force import ForceKind
from openmm_neuralmd.models.losses.likelihood import compute_transition_loss, factor_covariances
from openmm_neuralmd.models.losses.rollouts import compute_path_score, sample_paths
from openmm_neuralmd.models.losses.transition import predict_clean_and_displaced
from openmm_neuralmd.models.networks.bindingnet import BindingNet
from openmm_neuralmd.models.networks.interface import LigandGraph, ProteinEmbedding

_SCORE_WEIGHT = 4.0  # [1/A]; brings scores, some 0.3 A, to the size of a likelihood per coordinate
_VIBRATION_WEIGHT = 0.1  # its few parameters occur nowhere else in the likelihood


class SdeKind(ForceKind):
    """Langevin BindingNet."""

    name = "sde"
    label = "NeuralMD SDE"
    summary = "Langevin's equation with collective noise, another path for every seed"
    is_random = True

    def compute_loss(
        self,
        net: BindingNet,
        window: Tensor,
        graph: LigandGraph,
        protein: ProteinEmbedding,
        generator: torch.Generator,
        displacement: float,
    ) -> Tensor:
        """Negative log-likelihood of a transition and of bond vibrations; over longer windows, the rollouts' score."""
        mean, fields, following = predict_clean_and_displaced(net, window, graph, protein, generator, displacement)
        clean, moved = mean.chunk(2)
        factors = factor_covariances(net, window[:, 1], fields.chunk(2)[0], graph)
        fixed = (factors[0].detach(), factors[1].detach())
        likelihood = compute_transition_loss(following - clean, factors)
        loss = 0.5 * (likelihood + compute_transition_loss(following - moved, fixed)).mean()
        loss = loss + _VIBRATION_WEIGHT * net.vibration.compute_deviation_loss(window[:, 1], graph)
        if window.shape[1] == 3:
            return loss
        half = window[::2]  # a rollout of two samples costs as much as several transitions
        paths = sample_paths(net, half, graph, protein, generator)
        return loss + _SCORE_WEIGHT * compute_path_score(paths, half[:, 2:]).mean()


KIND = SdeKind()
