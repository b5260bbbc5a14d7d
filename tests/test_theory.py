"""Equations of docs/theory.md as they are written there, against the code; each test names its equations.

Others are tested where their code is: gradients and angles (3.5-3.8) in molecule/test_shape.py, orders of schemes in
dynamics/test_order.py, equivariance (5.5) in models/test_contract.py, the likelihood in training/test_likelihood.py.
"""

import re

import numpy as np
import pytest
import torch
from scipy.linalg import solve_discrete_lyapunov
from scipy.spatial.transform import Rotation
from torch import Tensor

from openmm_neuralmd import units
from openmm_neuralmd.dynamics.equation import Dynamics
from openmm_neuralmd.dynamics.noise import draw_normals
from openmm_neuralmd.dynamics.schemes.leapfrog import integrate_leapfrog
from openmm_neuralmd.models.networks.diffusion import Diffusion, remove_rigid_motion
from openmm_neuralmd.models.networks.interaction import InteractionNetwork
from openmm_neuralmd.models.networks.interface import (
    LigandGraph,
    ProteinEmbedding,
    build_ligand_graph,
    build_protein_structure,
)
from openmm_neuralmd.models.networks.protein import ProteinNetwork
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.molecule.constraints import compute_normal_projector, project_to_tangent, settle
from openmm_neuralmd.molecule.geometry import compute_envelope, compute_radial_basis
from openmm_neuralmd.molecule.shape import build_shape, compute_shape_errors, fit_geometry, separate_angles
from openmm_neuralmd.molecule.superposition import find_superposition
from tests.helpers import ROOT, displace, make_complex
from tests.models.networks import make_net

THEORY = (ROOT / "docs" / "theory.md").read_text()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def complex_() -> Complex:
    """A line, a centre, a flat ring and torsions."""
    return make_complex()


@pytest.fixture(scope="module")
def graph(complex_: Complex) -> LigandGraph:
    return build_ligand_graph(complex_, torch.float64)


@pytest.fixture(scope="module")
def moved(complex_: Complex) -> Tensor:
    """Out of shape [A], (2, N, 3)."""
    return torch.from_numpy(np.stack([displace(10.0 * complex_.ligand.geometry, 0.2, seed=k) for k in (1, 2)]))


@pytest.fixture(scope="module")
def in_shape(complex_: Complex) -> Tensor:
    return torch.from_numpy(10.0 * complex_.ligand.geometry)[None]


def test_numbers_of_equations_occur_once_and_in_order() -> None:
    numbers = [tuple(map(int, number)) for number in re.findall(r"\\tag\{(\d)\.(\d+)\}", THEORY)]
    assert len(numbers) == THEORY.count(r"\tag")
    sections = [section for section, _ in numbers]
    assert numbers == [(s, k + 1) for s in range(1, 8) for k in range(sections.count(s))]


def test_code_cites_equations_that_exist() -> None:
    cited = {
        (path.name, number)
        for path in (ROOT / "openmm_neuralmd").rglob("*.py")
        for number in re.findall(r"theory \((\d\.\d+)\)", path.read_text())
    }
    assert cited
    assert {name for name, number in cited if rf"\tag{{{number}}}" not in THEORY} == set()


def test_units() -> None:
    """(1.2): a carbon that gains 1 A/snapshot in 80 ps feels 12 Da 0.1 nm / (80 ps)^2."""
    assert units.compute_velocity_factor(80.0) == pytest.approx(0.1 / 80.0)
    assert 12.0 * units.compute_force_factor(80.0) == pytest.approx(12.0 * 0.1 / 80.0**2)


def step_spring(x: Tensor, v: Tensor, xi: Tensor, *, k: float, gamma: float, s: float, h: float):
    """One leapfrog step of a(x) = -k x with noise of size s; xi has the shape of x."""
    dynamics = Dynamics(lambda y: -k * y, lambda y, z: (-k * y, s * z.reshape(y.shape)), gamma, x[0].numel())
    return integrate_leapfrog(dynamics, x, v, timestep=h, increments=xi.flatten(1)[None])


def test_leapfrog_in_positions_only() -> None:
    """(1.3) and (1.4)."""
    k, gamma, s, h = 0.7, 0.9, 0.4, 0.5
    x, v, xi = draw(1, 2, 3), draw(1, 2, 3, seed=1), draw(3, 1, 2, 3, seed=2)
    path, velocity = [x - h * v, x], v
    for z in xi:
        following, velocity = step_spring(path[-1], velocity, z, k=k, gamma=gamma, s=s, h=h)
        path.append(following)
    for before, now, after, z in zip(path[:-2], path[1:-1], path[2:], xi, strict=True):
        expected = now + (1 - gamma * h) * (now - before) - h**2 * k * now + h**1.5 * s * z
        torch.testing.assert_close(after, expected)


@pytest.mark.parametrize(("k", "gamma"), [(0.5, 1.2), (0.3, 0.2), (1.5, 1.0)])
def test_stationary_variance_of_a_spring(k: float, gamma: float) -> None:
    """(1.5), from the matrix of the code's own step; and the border of stability."""

    def linearize(stiffness: float) -> np.ndarray:
        """Columns: what a step makes of x = 1, of v = 1 and of xi = 1."""
        x, v, xi = torch.eye(3, dtype=torch.float64).reshape(3, 3, 1, 1)
        following = step_spring(x, v, xi, k=stiffness, gamma=gamma, s=0.3, h=1.0)
        return torch.stack(following).flatten(1).numpy()

    step = linearize(k)
    variance = solve_discrete_lyapunov(step[:, :2], np.outer(step[:, 2], step[:, 2]))[0, 0]
    assert variance == pytest.approx((2 - gamma) * 0.3**2 / (gamma * k * (4 - 2 * gamma - k)))
    border = 4.0 - 2.0 * gamma
    assert abs(np.linalg.eigvals(linearize(border - 0.01)[:, :2])).max() < 1.0
    assert abs(np.linalg.eigvals(linearize(border + 0.01)[:, :2])).max() > 1.0


def test_envelope_ends_smoothly() -> None:
    """(2.4): value, slope and curvature are 0 at the cutoff, and the value is 1 at 0."""
    rho = torch.tensor([0.0, 5.0 - 1e-7, 7.0], dtype=torch.float64, requires_grad=True)
    value = compute_envelope(rho, 5.0)
    (slope,) = torch.autograd.grad(value.sum(), rho, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), rho)
    assert value.tolist() == pytest.approx([1.0, 0.0, 0.0], abs=1e-12)
    assert slope[1:].abs().max() < 1e-9
    assert curvature[1:].abs().max() < 1e-5


def test_interaction_is_a_sum_over_pairs(complex_: Complex, moved: Tensor) -> None:
    """(2.7) and (2.8), pair by pair as written, against the code, which sums first where it may (2.9)."""
    torch.manual_seed(0)
    hidden, n_vectors, cutoff = 8, 2, 10.0
    network = InteractionNetwork(hidden, 6, cutoff, n_vectors).double()
    structure = build_protein_structure(complex_, pocket_cutoff=cutoff, dtype=torch.float64)
    protein: ProteinEmbedding = ProteinNetwork(hidden, 6).double()(structure)
    n_replicas, n_atoms, _ = moved.shape
    h, vec = draw(n_replicas * n_atoms, hidden), draw(n_replicas * n_atoms, 3, hidden, seed=1)
    n_channels = network.n_gates - 4
    expected = torch.zeros(len(h), 3, n_vectors, dtype=torch.float64)
    scalars = torch.zeros(len(h), hidden, dtype=torch.float64)
    with torch.no_grad():
        found = network(moved, h, vec, protein)
        mixed = vec @ network.mix.weight
        for row, x in enumerate(moved.reshape(-1, 3)):
            for k, ca in enumerate(protein.ca):
                rho = (x - ca).norm()
                if rho >= cutoff:
                    continue
                u, axes = (x - ca) / rho, protein.frames[k]
                seen = axes @ torch.cat([u[:, None], mixed[row]], dim=1)
                p = network.from_ligand(h[row]) + network.from_residue(protein.features[k])
                p = p + network.from_radial(compute_radial_basis(rho, cutoff, 6)) + network.from_frame(seen.flatten())
                silu = torch.nn.functional.silu
                output = network.mlp.layers[2](silu(network.mlp.layers[0](silu(p))))
                output = output * compute_envelope(rho, cutoff) * network.scale
                gates = output[: network.n_gates * n_vectors].reshape(4 + n_channels, n_vectors)
                scalars[row] += output[network.n_gates * n_vectors :]
                expected[row] += u[:, None] * gates[0] + axes.T @ gates[1:4] + mixed[row] @ gates[4:]
    torch.testing.assert_close(found[0], expected)
    torch.testing.assert_close(found[1], scalars)


def test_heights_are_distances_from_planes(complex_: Complex) -> None:
    """(3.2) and (3.3)."""
    shape = build_shape(complex_.ligand.geometry, complex_.ligand.bonds)
    x = torch.from_numpy(complex_.ligand.geometry)
    assert len(shape.quadruples) > 6
    for (zero, *others), height, area in zip(
        shape.quadruples.tolist(), shape.heights.tolist(), shape.areas.tolist(), strict=True
    ):
        r = x[others] - x[zero]
        normal = torch.linalg.cross(r[1] - r[0], r[2] - r[0])
        assert area == pytest.approx(normal.norm().item())
        assert height == pytest.approx((r[0] @ normal / normal.norm()).item(), abs=1e-12)


def test_lines_divide_as_their_bonds_do(complex_: Complex) -> None:
    """(3.4)."""
    shape = build_shape(complex_.ligand.geometry, complex_.ligand.bonds)
    x = complex_.ligand.geometry
    assert len(shape.lines) == 2
    for (a, b, c), weights in zip(shape.lines.tolist(), shape.line_weights.tolist(), strict=True):
        ab, bc = np.linalg.norm(x[a] - x[b]), np.linalg.norm(x[c] - x[b])
        w = ab / (ab + bc)
        assert weights == pytest.approx([w - 1.0, 1.0, -w])


def test_fit_ends_where_least_squares_do(complex_: Complex) -> None:
    """(3.9): J^T S C vanishes at the end, although the shape cannot be met."""
    ligand = complex_.ligand
    shape = build_shape(ligand.geometry, ligand.bonds)
    wanted = shape._replace(distances=shape.distances * (1.0 + 0.02 * draw(len(shape.distances))))
    is_stiff = torch.zeros(len(shape.distances) + len(shape.heights) + 3 * len(shape.lines), dtype=torch.bool)
    is_stiff[len(shape.distances) :] = True
    fitted = torch.from_numpy(fit_geometry(ligand.geometry, wanted, is_stiff))
    errors, gradients = (v[0] for v in compute_shape_errors(fitted[None], wanted))
    assert errors.abs().max() > 1e-4
    assert (gradients.t() @ (torch.where(is_stiff, 1e6, 1.0) * errors)).abs().max() < 1e-6


def test_both_forms_of_a_damped_step() -> None:
    """(4.2), (4.3) and (4.4), with constraints that depend on one another."""
    jacobian, errors = draw(7, 12), draw(7, seed=1)
    jacobian[5], jacobian[6] = jacobian[0] + jacobian[1], jacobian[2]
    jacobian = jacobian - jacobian.reshape(7, 4, 3).mean(1).repeat(1, 4)  # that translations leave alone
    masses, mu = (1.0 + draw(4, seed=2).abs()).repeat_interleave(3), 0.3
    identity, inverse = torch.eye(7, dtype=torch.float64), torch.diag(1.0 / masses)
    first = -torch.linalg.solve(jacobian.T @ jacobian + mu * torch.diag(masses), jacobian.T @ errors)
    second = -inverse @ jacobian.T @ torch.linalg.solve(jacobian @ inverse @ jacobian.T + mu * identity, errors)
    sigma = inverse.sqrt()
    y = torch.linalg.solve(sigma @ jacobian.T @ jacobian @ sigma + mu * torch.eye(12), sigma @ jacobian.T @ errors)
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(first, -sigma @ y)
    assert (masses * first).reshape(4, 3).sum(0).abs().max() < 1e-12


def test_settling_is_a_damped_step(graph: LigandGraph, moved: Tensor) -> None:
    """(4.2) with equal masses and mu = 0.01."""
    errors, jacobian = compute_shape_errors(moved, graph.shape)
    matrix = jacobian @ jacobian.mT + 0.01 * torch.eye(jacobian.shape[1])
    expected = moved - (jacobian.mT @ torch.linalg.solve(matrix, errors.unsqueeze(-1))).reshape(moved.shape)
    torch.testing.assert_close(settle(moved, graph.shape, 1), expected)


def test_both_forms_of_the_tangent_projector(graph: LigandGraph, moved: Tensor) -> None:
    """(4.8), and what it leaves of directions that change the shape."""
    _, jacobian = compute_shape_errors(moved, graph.shape)
    n = moved[0].numel()
    fields, identity = draw(2, n, 4), torch.eye(jacobian.shape[1], dtype=torch.float64)
    normal = jacobian.mT @ torch.linalg.solve(jacobian @ jacobian.mT + 1e-4 * identity, jacobian)
    torch.testing.assert_close(project_to_tangent(moved, graph.shape, fields), fields - normal @ fields)
    torch.testing.assert_close(compute_normal_projector(moved, graph.shape), normal)
    kappa, directions = torch.linalg.eigh(jacobian.mT @ jacobian)
    left = project_to_tangent(moved, graph.shape, directions)
    torch.testing.assert_close(left, directions * (1e-4 / (kappa + 1e-4)).unsqueeze(1), rtol=1e-5, atol=1e-8)


def test_superposition() -> None:
    """(4.7) against the code and scipy, for an image that only a reflection would fit as well."""
    rows, weights = draw(6, 3).numpy(), draw(6, seed=1).abs().numpy()
    for targets in (rows * [1.0, 1.0, -1.0], draw(6, 3, seed=2).numpy()):
        x, y = (v - np.average(v, axis=0, weights=weights) for v in (rows, targets))
        u, _, vt = np.linalg.svd((x * weights[:, None]).T @ y)
        rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
        np.testing.assert_allclose(find_superposition(rows, targets, weights).rotations, rotation, rtol=0, atol=1e-12)
        expected = Rotation.align_vectors(y, x, weights=weights)[0].as_matrix().T
        np.testing.assert_allclose(rotation, expected, rtol=0, atol=1e-9)


def test_fields_without_rigid_part(moved: Tensor) -> None:
    """(5.3): neither net translation nor net rotation is left, up to the 1e-3 A^2 that the code adds."""
    relative = moved - moved.mean(1, keepdim=True)
    left = remove_rigid_motion(relative, draw(2, 5, *moved.shape[1:]))
    around = relative.unsqueeze(1).expand_as(left)
    assert left.mean(2).abs().max() < 1e-12
    assert torch.linalg.cross(around, left).sum(2).abs().max() < 1e-3
    axes = torch.eye(3, dtype=torch.float64).reshape(1, 3, 1, 3).expand(2, 3, moved.shape[1], 3)
    rigid = axes + torch.linalg.cross(axes, relative.unsqueeze(1).expand_as(axes))
    assert remove_rigid_motion(relative, rigid).abs().max() < 1e-3


def test_either_side_of_a_bond_may_be_said_to_turn(graph: LigandGraph, moved: Tensor) -> None:
    """(5.2): the torsion field of the other side is the same with the other sign."""
    diffusion = Diffusion(8, 2, 1).double()
    relative, h = moved - moved.mean(1, keepdim=True), draw(*moved.shape[:2], 8)
    others = graph._replace(torsion_sides=1.0 - graph.torsion_sides)
    with torch.no_grad():
        found, opposite = (diffusion.build_torsion_fields(relative, h, g) for g in (graph, others))
    assert found.abs().max() > 0.5
    torch.testing.assert_close(found, -opposite, rtol=0, atol=1e-3)


def test_normals_of_a_step() -> None:
    """(5.6) and (5.7), from NumPy's own generator."""
    seed, step = 2**64 - 5, 7
    words = [int(w) for w in np.random.Philox(key=np.array([seed, step], dtype=np.uint64)).random_raw(8)]
    expected = []
    for first, second in zip(words[::2], words[1::2], strict=True):
        u, angle = 2.0**-53 * (first // 2**11 + 1), 2.0 * np.pi * 2.0**-53 * (second // 2**11)
        expected += [np.sqrt(-2.0 * np.log(u)) * f(angle) for f in (np.cos, np.sin)]
    assert draw_normals([seed], step, 7)[0].tolist() == pytest.approx(expected[:7], rel=1e-12)


def decompose_springs(graph: LigandGraph, x: Tensor):
    """The net, and c, s, C and J of its springs, and A^-1 and Q, as section 6 has them."""
    vibration = make_net("sde").vibration
    errors, jacobian = compute_shape_errors(x, graph.shape)
    errors = separate_angles(errors.unsqueeze(-1), graph.shape).squeeze(-1)
    jacobian = separate_angles(jacobian, graph.shape)
    s = vibration.compute_spreads(graph)
    identity = torch.eye(jacobian.shape[2], dtype=torch.float64)
    inverse = torch.linalg.inv(jacobian.mT @ (jacobian / s[:, None] ** 2) + identity / vibration.free**2)
    return vibration, s, errors, jacobian, inverse, identity - inverse / vibration.free**2


@torch.no_grad()
def test_covariance_of_the_vibration(graph: LigandGraph, in_shape: Tensor) -> None:
    """(6.1) to (6.3); Q is close to the projector on what springs hold."""
    vibration, _, _, jacobian, inverse, left = decompose_springs(graph, in_shape)
    torch.testing.assert_close(vibration.compute_covariance(in_shape, graph), left @ inverse @ left)
    free = torch.linalg.svd(jacobian[0])[2][torch.linalg.matrix_rank(jacobian[0], rtol=1e-3) :]
    assert (left[0] @ free.T).abs().max() < 1e-6


@torch.no_grad()
@pytest.mark.parametrize("scale", [0.5, 4.0])
def test_draw_is_bent_and_shortened(graph: LigandGraph, in_shape: Tensor, scale: float) -> None:
    """(6.2) and (6.5) to (6.7), with a draw that is short and one that has to be shortened."""
    vibration, s, errors, jacobian, inverse, left = decompose_springs(graph, in_shape)
    z = scale * draw(1, in_shape.numel())
    lower = torch.linalg.cholesky(torch.linalg.inv(inverse))
    d = (left @ torch.linalg.inv(lower).mT @ z.unsqueeze(-1)).squeeze(-1)
    there, _ = vibration.compute_jacobian(in_shape + d.reshape(in_shape.shape), graph)
    beyond = there - errors - (jacobian @ d.unsqueeze(-1)).squeeze(-1)
    b = (inverse @ jacobian.mT @ (beyond / s**2).unsqueeze(-1)).squeeze(-1)
    f = min(1.0, (vibration.largest_bend / b.reshape(-1, 3).norm(dim=1).max().item()) ** 0.5)
    assert (f < 1.0) == (scale > 1.0)
    expected = (f * d - f**2 * b).reshape(in_shape.shape)
    torch.testing.assert_close(vibration(in_shape, z, graph), expected, rtol=0, atol=1e-8)


@torch.no_grad()
def test_loss_of_springs(graph: LigandGraph, moved: Tensor) -> None:
    """(6.8)."""
    vibration, _, errors, jacobian, inverse, left = decompose_springs(graph, moved)
    spread = jacobian @ left @ inverse @ left @ jacobian.mT
    n_single, n_springs = errors.shape[1] - 3 * len(graph.shape.lines), errors.shape[1]
    total = 0.0
    for c, sigma in zip(errors, spread, strict=True):
        single = sigma.diagonal()[:n_single]
        total += (c[:n_single] ** 2 / single + single.log()).sum()
        for k in range(n_single, n_springs, 3):
            block = sigma[k : k + 3, k : k + 3]
            total += c[k : k + 3] @ torch.linalg.solve(block, c[k : k + 3]) + torch.logdet(block)
    found = vibration.compute_deviation_loss(moved, graph)
    torch.testing.assert_close(found, total / (2 * n_springs * len(moved)))
