"""The likelihood of a transition, theory (7.1) to (7.4): a mixture of two normal distributions, against scipy."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor

from openmm_neuralmd.models.losses.likelihood import compute_transition_loss, factor_covariances
from openmm_neuralmd.models.networks.bindingnet import BindingNet
from openmm_neuralmd.models.networks.interface import LigandGraph, build_ligand_graph, build_protein_structure
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.molecule.shape import compute_shape_errors
from tests.models.networks import make_net

TURNS, TENFOLD, MISS = 0.02, 10.0, 0.5  # of theory (7.3)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make_factors(n: int, size: int) -> tuple[Tensor, Tensor]:
    """Cholesky factors of random covariances, the second with larger ones."""
    return tuple(
        scale * (0.3 * draw(n, size, size, seed=seed).tril(-1) + torch.eye(size, dtype=torch.float64))
        for seed, scale in ((1, 0.2), (2, 1.5))
    )


def compute_expected(residual: Tensor, factors: tuple[Tensor, Tensor]) -> list[float]:
    """-log p per coordinate, by scipy."""
    found = []
    for k, y in enumerate(residual.flatten(1).numpy()):
        ordinary, turning = (multivariate_normal(cov=(f[k] @ f[k].T).numpy()).logpdf(y) for f in factors)
        found.append(-np.logaddexp(np.log(1.0 - TURNS) + ordinary, np.log(TURNS) + turning) / len(y))
    return found


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0], ids=["ordinary", "either", "turns"])
def test_mixture_is_that_of_scipy(scale: float) -> None:
    factors, residual = make_factors(8, 6), scale * draw(8, 2, 3)
    assert compute_transition_loss(residual, factors).tolist() == pytest.approx(compute_expected(residual, factors))


def test_mixture_is_a_density() -> None:
    """It integrates to 1 over one coordinate, and to the density of the others, standard normals at zero: 1/(2 pi)."""
    factors = tuple(torch.diag(torch.tensor(d, dtype=torch.float64))[None] for d in ((0.3, 1.0, 1.0), (3.0, 1.0, 1.0)))
    grid = torch.linspace(-40.0, 40.0, 16001, dtype=torch.float64)
    residual = torch.zeros(len(grid), 1, 3, dtype=torch.float64)
    residual[:, 0, 0] = grid
    density = torch.exp(-3.0 * compute_transition_loss(residual, tuple(f.expand(len(grid), -1, -1) for f in factors)))
    assert torch.trapezoid(density, grid).item() == pytest.approx(1.0 / (2.0 * math.pi), rel=1e-6)


def test_no_residual_is_too_far() -> None:
    """A part whose density is zero in double precision leaves the other one."""
    factors, residual = make_factors(4, 6), 1e4 * draw(4, 2, 3)
    loss = compute_transition_loss(residual.requires_grad_(True), factors)
    assert loss.detach().tolist() == pytest.approx(compute_expected(residual.detach(), factors))
    (gradient,) = torch.autograd.grad(loss.sum(), residual)
    assert torch.isfinite(gradient).all()


def test_a_likely_turn_says_nothing_of_ordinary_noise() -> None:
    """(7.4): the gradient by the ordinary factor is its own, times the probability that the transition was ordinary."""
    factors, residual = make_factors(3, 6), draw(3, 2, 3) * torch.tensor([0.1, 0.7, 30.0])[:, None, None]
    ordinary = factors[0].requires_grad_(True)
    n = residual[0].numel()
    y = residual.flatten(1)
    parts = [
        torch.distributions.MultivariateNormal(torch.zeros(n, dtype=torch.float64), scale_tril=f).log_prob(y)
        for f in (ordinary, factors[1])
    ]
    weights = torch.stack([math.log(1.0 - TURNS) + parts[0], math.log(TURNS) + parts[1]]).softmax(0)[0].detach()
    assert weights[0] > 0.99
    assert weights[2] < 1e-6
    (alone,) = torch.autograd.grad(-parts[0].sum() / n, ordinary)
    (found,) = torch.autograd.grad(compute_transition_loss(residual, (ordinary, factors[1])).sum(), ordinary)
    torch.testing.assert_close(found.tril(), weights[:, None, None] * alone.tril())


@pytest.fixture(scope="module")
def net() -> BindingNet:
    return make_net("sde")


@pytest.fixture(scope="module")
def graph(tiny_complex: Complex) -> LigandGraph:
    return build_ligand_graph(tiny_complex, torch.float64)


@pytest.fixture(scope="module")
def positions(tiny_complex: Complex) -> Tensor:
    pose = torch.from_numpy(10.0 * tiny_complex.ligand.positions)
    return pose + 0.1 * draw(2, *pose.shape)


@pytest.fixture(scope="module")
def fields(net: BindingNet, graph: LigandGraph, positions: Tensor, tiny_complex: Complex) -> Tensor:
    structure = build_protein_structure(tiny_complex, pocket_cutoff=10.0, dtype=torch.float64)
    with torch.no_grad():
        return net.compute_force_and_fields(positions, graph, net.embed_protein(structure))[1]


class TestCovariances:
    """(7.1) and (7.3) of a network at positions out of shape."""

    def test_are_sums_of_their_parts(
        self, net: BindingNet, graph: LigandGraph, positions: Tensor, fields: Tensor
    ) -> None:
        with torch.no_grad():
            found = [f @ f.mT for f in factor_covariances(net, positions, fields, graph)]
            vibration = net.vibration.compute_covariance(positions, graph)
            _, jacobian = compute_shape_errors(positions, graph.shape)
            ridge = 1e-4 * torch.eye(jacobian.shape[1], dtype=torch.float64)
            normal = jacobian.mT @ torch.linalg.solve(jacobian @ jacobian.mT + ridge, jacobian)
            ordinary = fields @ fields.mT + vibration + torch.exp(net.log_bond_noise) ** 2 * normal
        torsions = fields[..., 6 : 6 + len(graph.torsion_axes)]
        assert torsions.shape[2] > 1
        identity = torch.eye(fields.shape[1], dtype=torch.float64)
        turning = ordinary + TENFOLD**2 * torsions @ torsions.mT + MISS**2 * identity
        torch.testing.assert_close(found[0], ordinary)
        torch.testing.assert_close(found[1], turning)

    def test_only_what_ordinary_noise_is_made_of_is_fitted(
        self, net: BindingNet, graph: LigandGraph, positions: Tensor, fields: Tensor
    ) -> None:
        fields = fields.clone().requires_grad_(True)
        ordinary, turning = factor_covariances(net, positions, fields, graph)
        assert not turning.requires_grad
        spreads = list(net.vibration.parameters())
        gradients = torch.autograd.grad(
            ordinary.sum(), [fields, net.log_bond_noise, *spreads], allow_unused=True, retain_graph=True
        )
        assert all(g is not None and g.abs().max() > 0 for g in gradients[:2])
        assert all(g is None for g in gradients[2:])

    def test_a_turn_is_likelier_than_as_much_free_motion(
        self, net: BindingNet, graph: LigandGraph, positions: Tensor, fields: Tensor
    ) -> None:
        """A step of six spreads along a torsion costs less than one of the same length along a bond."""
        factors = factor_covariances(net, positions, fields, graph)
        turn = 6.0 * fields[..., 6]
        _, jacobian = compute_shape_errors(positions, graph.shape)
        stretch = torch.nn.functional.normalize(jacobian[:, 0], dim=1) * turn.norm(dim=1, keepdim=True)
        with torch.no_grad():
            losses = [compute_transition_loss(d.reshape(positions.shape), factors) for d in (turn, stretch)]
        assert (losses[0] < losses[1]).all()
