"""The transition from one snapshot to the next, as ODE, SDE and GNN-MD predict it.

With one step a snapshot and v = x_t - x_(t-1) the leapfrog transition is Gaussian about

    x_(t+1) = x_t + (1 - gamma) v + F(x_t)/m

(``likelihood`` has its covariance). The mean is fitted on clean and on displaced inputs, the covariance on clean inputs
only: displaced inputs would inflate it. Displaced inputs (``perturbation``) make rollouts contract, at a price: where
they overlap with clean ones the mean is pulled inwards. Windows of more than one step add the model's own rollouts
(``rollouts``), which see what one step cannot: errors that grow, and the spread that a path reaches.
"""

import torch
from torch import Tensor

from openmm_neuralmd.models.losses.perturbation import perturb
from openmm_neuralmd.models.networks.bindingnet import BindingNet
from openmm_neuralmd.models.networks.interface import LigandGraph, ProteinEmbedding


def compute_transition(
    net: BindingNet, velocity: Tensor, current: Tensor, graph: LigandGraph, protein: ProteinEmbedding
) -> tuple[Tensor, Tensor]:
    """Mean [A], (n, n_atoms, 3), and noise fields [A], (n, 3 n_atoms, n_noise), of the next snapshot."""
    force, fields = net.compute_force_and_fields(current, graph, protein)
    return current + (1.0 - net.compute_friction()) * velocity + force / graph.masses[:, None], fields


def predict_clean_and_displaced(
    net: BindingNet,
    window: Tensor,
    graph: LigandGraph,
    protein: ProteinEmbedding,
    generator: torch.Generator,
    displacement: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Transitions from x_t and from a displaced x_t with the same velocity, and the snapshot that followed.

    Args:
        window: x_(t-1), x_t, x_(t+1), ... [A], (n, 3 or more, n_atoms, 3).
        displacement: Largest strength of displacement.

    Returns:
        Means, (2 n, n_atoms, 3), those of the displaced inputs last, noise fields of both, and x_(t+1).
    """
    previous, current, following = window[:, :3].unbind(1)
    displaced = perturb(current, graph, generator, displacement)
    both = torch.cat([current, displaced])
    velocity = net.map_velocities(both, (current - previous).repeat(2, 1, 1), graph)
    mean, fields = compute_transition(net, velocity, both, graph, protein)
    return mean, fields, following
