"""What training minimises, one function for each kind of model.

NeuralMD is fitted by the likelihood of the next snapshot under the leapfrog transition. With one step a snapshot and
v = x_t - x_(t-1) that transition is Gaussian about

    x_(t+1) = x_t + (1 - gamma) v + F(x_t)/m

(``likelihood`` has its covariance). The mean is fitted on clean and on displaced inputs, the covariance on clean inputs
only: displaced inputs would inflate it. Displaced inputs (``perturbation``) make rollouts contract, at a price: where
they overlap with clean ones the mean is pulled inwards. Windows of more than one step add the score of the model's own
rollouts (``rollouts``; mean squared error for a Newtonian model), which sees what one step cannot: errors that grow,
and the spread that a path reaches.

All take a window x_(t-1), x_t, x_(t+1), ... [A], (n, 3 or more, n_atoms, 3), and the largest strength of displacement.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from openmm_neuralmd.models.networks.baselines import DenoisingLD, VerletMD
from openmm_neuralmd.models.networks.bindingnet import BindingNet
from openmm_neuralmd.models.networks.interface import LigandGraph, ProteinEmbedding
from openmm_neuralmd.molecule.constraints import settle
from openmm_neuralmd.training.likelihood import compute_transition_loss, factor_covariances
from openmm_neuralmd.training.perturbation import perturb
from openmm_neuralmd.training.rollouts import compute_path_score, sample_paths

_SCORE_WEIGHT = 4.0  # [1/A]; brings scores, some 0.3 A, to the size of a likelihood per coordinate
_VIBRATION_WEIGHT = 0.1  # its few parameters occur nowhere else in the likelihood


class FrameLabels(NamedTuple):
    """What a force field says of single snapshots of one complex; see ``labels``."""

    positions: Tensor  # [A], (n, n_atoms, 3)
    forces: Tensor  # [Da A/snapshot^2], (n, n_atoms, 3)
    energies: Tensor  # [Da A^2/snapshot^2], (n,), up to a constant
    force_square: Tensor  # mean square of the training forces' components, a scalar
    energy_variance: Tensor  # of the training energies, a scalar

    def draw(self, n: int, generator: torch.Generator) -> "FrameLabels":
        """Some of them, with replacement."""
        device = self.positions.device
        chosen = torch.randint(len(self.positions), (n,), generator=generator, device=device)
        return self._replace(
            positions=self.positions[chosen], forces=self.forces[chosen], energies=self.energies[chosen]
        )


Objective = Callable[[Any, Tensor, LigandGraph, ProteinEmbedding, torch.Generator, float], Tensor]


def compute_transition(
    net: BindingNet, velocity: Tensor, current: Tensor, graph: LigandGraph, protein: ProteinEmbedding
) -> tuple[Tensor, Tensor]:
    """Mean [A], (n, n_atoms, 3), and noise fields [A], (n, 3 n_atoms, n_noise), of the next snapshot."""
    force, fields = net.compute_force_and_fields(current, graph, protein)
    return current + (1.0 - net.compute_friction()) * velocity + force / graph.masses[:, None], fields


def compute_langevin_loss(
    net: BindingNet,
    window: Tensor,
    graph: LigandGraph,
    protein: ProteinEmbedding,
    generator: torch.Generator,
    displacement: float,
) -> Tensor:
    """Negative log-likelihood of one transition and of bond vibrations; over longer windows, the score of rollouts."""
    mean, fields, following = _predict_clean_and_displaced(net, window, graph, protein, generator, displacement)
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


def compute_newtonian_loss(
    net: BindingNet,
    window: Tensor,
    graph: LigandGraph,
    protein: ProteinEmbedding,
    generator: torch.Generator,
    displacement: float,
) -> Tensor:
    """Mean squared error [A^2] over clean and displaced inputs; over longer windows, of the rollout as well."""
    mean, _, following = _predict_clean_and_displaced(net, window, graph, protein, generator, displacement)
    loss = (mean - following.repeat(2, 1, 1)).square().mean()
    current = window[:, 1]
    velocity = net.map_velocities(current, current - window[:, 0], graph)
    errors = []
    for target in window[:, 2:].unbind(1):
        mean, _ = compute_transition(net, velocity, current, graph, protein)
        following = settle(mean, graph.shape)
        velocity, current = following - current, following
        errors.append((current - target).square().mean())
    return loss if len(errors) == 1 else 0.5 * (loss + torch.stack(errors).mean())


def _predict_clean_and_displaced(
    net: BindingNet,
    window: Tensor,
    graph: LigandGraph,
    protein: ProteinEmbedding,
    generator: torch.Generator,
    displacement: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Transitions from x_t and from a displaced x_t with the same velocity, and the snapshot that followed."""
    previous, current, following = window[:, :3].unbind(1)
    displaced = perturb(current, graph, generator, displacement)
    both = torch.cat([current, displaced])
    velocity = net.map_velocities(both, (current - previous).repeat(2, 1, 1), graph)
    mean, fields = compute_transition(net, velocity, both, graph, protein)
    return mean, fields, following


def compute_next_position_loss(
    net: BindingNet,
    window: Tensor,
    graph: LigandGraph,
    protein: ProteinEmbedding,
    _generator: torch.Generator,
    _displacement: float,
) -> Tensor:
    """GNN-MD: mean squared error [A^2] of the next positions, from clean inputs as in its paper."""
    previous, current, following = window[:, :3].unbind(1)
    mean, _ = compute_transition(net, current - previous, current, graph, protein)
    return (mean - following).square().mean()


def compute_denoising_loss(
    net: DenoisingLD,
    window: Tensor,
    graph: LigandGraph,
    protein: ProteinEmbedding,
    generator: torch.Generator,
    _displacement: float,
) -> Tensor:
    """DenoisingLD: mean squared error of the noise that was added to x_t, levels drawn evenly in their logarithm."""
    clean = window[:, 1]
    draw = torch.rand(len(clean), generator=generator, dtype=clean.dtype, device=clean.device)
    highest, lowest = math.log(net.levels[0]), math.log(net.levels[-1])
    levels = torch.exp(lowest + (highest - lowest) * draw)
    noise = torch.randn(clean.shape, generator=generator, dtype=clean.dtype, device=clean.device)
    predicted = net.predict_noise(clean + levels[:, None, None] * noise, levels, graph, protein)
    return (predicted - noise).square().mean()


def compute_acceleration_loss(
    net: VerletMD,
    window: Tensor,
    graph: LigandGraph,
    protein: ProteinEmbedding,
    _generator: torch.Generator,
    _displacement: float,
) -> Tensor:
    """VerletMD: mean squared error [A^2/snapshot^4] of the accelerations x_(t+1) - 2 x_t + x_(t-1)."""
    previous, current, following = window[:, :3].unbind(1)
    acceleration = following - 2.0 * current + previous
    return (net.compute_force(current, graph, protein) / graph.masses[:, None] - acceleration).square().mean()


def compute_force_field_errors(
    net: VerletMD, labels: FrameLabels, graph: LigandGraph, protein: ProteinEmbedding
) -> tuple[Tensor, Tensor]:
    """VerletMD: squared errors of forces and of energy differences within the batch, relative to their own size.

    Both are 1 for a constant energy, whatever the units; accelerations, about 1 A/snapshot^2, are of that order too.
    """
    energies, forces = net.compute_force_field(labels.positions, graph, protein)
    offsets = energies - labels.energies
    return (
        (forces - labels.forces).square().mean() / labels.force_square,
        (offsets - offsets.mean()).square().mean() / labels.energy_variance,
    )


OBJECTIVES: dict[str, Objective] = {
    "ode": compute_newtonian_loss,
    "sde": compute_langevin_loss,
    "gnn": compute_next_position_loss,
    "denoising": compute_denoising_loss,
    "verlet": compute_acceleration_loss,
}
