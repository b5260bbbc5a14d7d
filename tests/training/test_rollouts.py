"""Rollouts in training and their score, theory (7.6): an energy score, against integrals known in closed form."""

import math

import pytest
import torch
from torch import Tensor

from openmm_neuralmd.models.losses.rollouts import N_SAMPLES, compute_path_score, sample_paths
from openmm_neuralmd.models.networks.interface import build_ligand_graph, build_protein_structure
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.molecule.constraints import settle
from tests.models.networks import make_net

SOFT = 2e-3  # [A] what softening at zero changes; (7.6) has two norms and half a one


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def move_rigidly(x: Tensor) -> Tensor:
    """Two atoms 3 A apart that move together along x by the numbers given, (..., 2, 3)."""
    atoms = torch.zeros(*x.shape, 2, 3, dtype=torch.float64)
    atoms[..., 0], atoms[..., 1, 1] = x.unsqueeze(-1), 3.0
    return atoms


def test_score_by_hand() -> None:
    """Samples at 1 and 4 A, the reference at 2 A: (1 + 2)/2 - 3/2 = 0; at 3 and 4 A: (1 + 2)/2 - 1/2 = 1."""
    paths = torch.tensor([[1.0, 3.0], [4.0, 4.0]], dtype=torch.float64)  # (2 samples, 2 windows)
    score = compute_path_score(move_rigidly(paths.unsqueeze(-1)), move_rigidly(torch.full((2, 1), 2.0)))
    assert score.tolist() == pytest.approx([0.0, 1.0], abs=SOFT)


def test_score_is_a_mean_over_snapshots() -> None:
    paths, reference = draw(2, 3, 5, 4, 3), draw(3, 5, 4, 3, seed=1)
    each = torch.stack([compute_path_score(paths[:, :, k : k + 1], reference[:, k : k + 1]) for k in range(5)])
    torch.testing.assert_close(compute_path_score(paths, reference), each.mean(0))


def test_score_as_it_is_written() -> None:
    """(7.6) for positions and, added, for the distances of all pairs."""
    paths, reference = 3.0 * draw(2, 2, 1, 4, 3), 3.0 * draw(2, 1, 4, 3, seed=1)

    def score(samples: Tensor, y: Tensor) -> Tensor:
        """Points are the rows of (..., n, D)."""

        def norm(x: Tensor) -> Tensor:
            return (x.square().sum(-1).mean(-1)).sqrt()

        return 0.5 * (norm(samples[0] - y) + norm(samples[1] - y)) - 0.5 * norm(samples[0] - samples[1])

    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]

    def measure(x: Tensor) -> Tensor:
        return torch.stack([(x[..., i, :] - x[..., j, :]).norm(dim=-1) for i, j in pairs], dim=-1).unsqueeze(-1)

    expected = score(paths, reference) + score(measure(paths), measure(reference))
    torch.testing.assert_close(compute_path_score(paths, reference), expected.squeeze(1), rtol=0, atol=2 * SOFT)


@pytest.mark.parametrize("spread", [0.3, 1.0, 2.5])
def test_expectation_for_normal_distributions(spread: float) -> None:
    """X ~ N(0, s^2), y ~ N(0, 1): E|X - y| = sqrt(2 (1 + s^2)/pi) and E|X - X'| = 2 s/sqrt(pi)."""
    n = 200_000
    paths, reference = spread * draw(2, n, 1), draw(n, 1, seed=1)
    expected = math.sqrt(2.0 * (1.0 + spread**2) / math.pi) - spread / math.sqrt(math.pi)
    found = compute_path_score(move_rigidly(paths), move_rigidly(reference)).mean().item()
    assert found == pytest.approx(expected, abs=0.01)


def test_score_is_proper() -> None:
    """Paths distributed as the data are score best, better than none with spread, too much of it, or a shift."""
    n = 20_000
    normals, reference = draw(2, n, 1, 4, 3), draw(n, 1, 4, 3, seed=1)
    best = compute_path_score(normals, reference).mean()
    wrong = {"still": 0.0 * normals, "narrow": 0.6 * normals, "wide": 1.6 * normals, "shifted": normals + 0.5}
    for name, paths in wrong.items():
        assert compute_path_score(paths, reference).mean() > best + 0.01, name


def test_distances_see_what_rigid_motion_hides() -> None:
    """Rotating a rollout leaves its pair distances; stretching it by as much does not."""
    reference = 3.0 * draw(1, 1, 5, 3)
    angle = torch.tensor(0.3, dtype=torch.float64)
    turn = torch.eye(3, dtype=torch.float64)
    turn[0, 0], turn[0, 1], turn[1, 0], turn[1, 1] = angle.cos(), -angle.sin(), angle.sin(), angle.cos()
    centre = reference.mean(-2, keepdim=True)
    turned = (reference - centre) @ turn.T + centre
    stretched = centre + (reference - centre) * (1.0 + (turned - reference).norm() / (reference - centre).norm())
    moved = [torch.stack([x, x]) for x in (turned, stretched)]
    assert (moved[0] - reference).norm() == pytest.approx((moved[1] - reference).norm().item())
    assert compute_path_score(moved[0], reference) < compute_path_score(moved[1], reference) - 0.1


def test_gradient_exists_where_rollouts_meet_the_reference() -> None:
    reference = draw(2, 3, 4, 3)
    paths = reference.expand(2, -1, -1, -1, -1).clone().requires_grad_(True)
    compute_path_score(paths, reference).sum().backward()
    assert torch.isfinite(paths.grad).all()


@pytest.fixture(scope="module")
def parts(tiny_complex: Complex):
    net = make_net("sde")
    with torch.no_grad():
        net.log_bond_noise.fill_(-3.0)
        structure = build_protein_structure(tiny_complex, pocket_cutoff=10.0, dtype=torch.float64)
        protein = net.embed_protein(structure)
    pose = torch.from_numpy(10.0 * tiny_complex.ligand.positions)
    window = pose + 0.05 * draw(3, 5, *pose.shape)
    return net, window, build_ligand_graph(tiny_complex, torch.float64), protein


class TestSamples:
    """Rollouts that start from two snapshots and see nothing else of a window."""

    @staticmethod
    @torch.no_grad()
    def sample(parts, window: Tensor | None = None, seed: int = 0) -> Tensor:
        net, own, graph, protein = parts
        return sample_paths(net, own if window is None else window, graph, protein, torch.Generator().manual_seed(seed))

    def test_shape_and_seed(self, parts) -> None:
        paths = self.sample(parts)
        assert paths.shape == (N_SAMPLES, 3, 3, *parts[1].shape[2:])
        assert torch.equal(paths, self.sample(parts))
        assert not torch.equal(paths, self.sample(parts, seed=1))
        assert (paths[0] - paths[1]).abs().amax((1, 2, 3)).min() > 0.1

    def test_what_followed_is_not_looked_at(self, parts) -> None:
        window = parts[1].clone()
        window[:, 2:] += 5.0
        assert torch.equal(self.sample(parts), self.sample(parts, window))

    @torch.no_grad()
    def test_first_step_is_the_transition_settled_and_vibrating(self, parts) -> None:
        """(1.3) with h = 1, then the projection of training, then (6.2)."""
        net, window, graph, protein = parts
        x, v = window[:, 1], window[:, 1] - window[:, 0]
        n_noise = net.count_noise(graph)
        generator = torch.Generator().manual_seed(0)
        normals = torch.randn(6, n_noise + x[0].numel(), generator=generator, dtype=torch.float64)
        force, fields = net.compute_force_and_fields(x, graph, protein)
        paths = self.sample(parts, window[:, :3])
        for sample, xi, z in zip(paths, normals[:, :n_noise].chunk(2), normals[:, n_noise:].chunk(2), strict=True):
            noise = (fields @ xi.unsqueeze(-1)).reshape(x.shape)
            mean = x + (1.0 - net.compute_friction()) * v + force / graph.masses[:, None]
            settled = settle(mean + noise, graph.shape)
            torch.testing.assert_close(sample[:, 0], settled + net.compute_vibration(settled, z, graph))
