"""Every registered model keeps the contract, and every checker fails on a law that breaks it."""

import pytest
import torch
from torch import Tensor

from openmm_neuralmd.complex import Complex, load_bundled_complex
from openmm_neuralmd.geometry import build_residue_frames
from openmm_neuralmd.models.interface import (
    LigandGraph,
    ProteinStructure,
    build_ligand_graph,
    build_protein_structure,
)
from openmm_neuralmd.models.registry import KINDS, build_network
from tests.models import contract

SMALL = {"hidden": 32, "n_layers": 2, "n_radial": 16}


@pytest.fixture(scope="module")
def bundled() -> Complex:
    return load_bundled_complex()


@pytest.fixture(scope="module")
def graph(bundled: Complex) -> LigandGraph:
    return build_ligand_graph(bundled, torch.float64)


@pytest.fixture(scope="module")
def structure(bundled: Complex) -> ProteinStructure:
    return build_protein_structure(bundled, pocket_cutoff=10.0, dtype=torch.float64)


@pytest.fixture(scope="module")
def pose(bundled: Complex) -> Tensor:
    return torch.from_numpy(bundled.ligand.positions * 10.0)[None]


def make_net(kind: str) -> torch.nn.Module:
    torch.manual_seed(3)
    net = build_network(kind, SMALL).double()
    with torch.no_grad():  # far from the gentle start, so that no term hides behind a zero
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def make_law(kind: str) -> contract.Law:
    """What a model of this kind promises about one snapshot: its force, score or energy gradient, and its noise."""
    net = make_net(kind)

    def law(x: Tensor, graph: LigandGraph, structure: ProteinStructure) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            protein = net.embed_protein(structure)
            if kind == "denoising":
                return net.compute_score(x, 0.2, graph, protein), no_noise(x)
            if kind == "verlet":
                return net.compute_force(x, graph, protein), no_noise(x)
            force, fields = net.compute_force_and_fields(x, graph, protein)
        return force, fields @ fields.transpose(1, 2)

    return law


@pytest.fixture(scope="module", params=sorted(KINDS))
def law(request: pytest.FixtureRequest) -> contract.Law:
    return make_law(request.param)


POINTWISE = [
    contract.check_equivariance,
    contract.check_mirror_differs,
    contract.check_atom_permutation,
    contract.check_chain_permutation,
    contract.check_batch_equals_single,
    contract.check_input_untouched,
]


@pytest.mark.parametrize("check", POINTWISE, ids=lambda check: check.__name__)
def test_contract(check, law, pose, graph, structure):
    check(law, pose, graph, structure)


def make_crossing_path(pose: Tensor, n_points: int = 81) -> Tensor:
    """A path on which the atoms drift by 0.4 A while the ligand stretches: many pairs cross 5 and 10 A."""
    s = torch.linspace(0.0, 1.0, n_points, dtype=pose.dtype)[:, None, None]
    centre = pose.mean(1, keepdim=True)
    return pose + 0.04 * s * (pose - centre) + 0.4 * s * torch.tensor([0.6, 0.0, 0.8], dtype=pose.dtype)


def test_contract_continuity(law, pose, graph, structure):
    contract.check_continuity(law, make_crossing_path(pose), graph, structure)


def test_path_crosses_both_cutoffs(pose, structure):
    path = make_crossing_path(pose)
    inner = (torch.cdist(path, path) < 5.0).flatten(1).sum(1)
    outer = (torch.cdist(path, structure.backbone[:, 1].expand(len(path), -1, -1)) < 10.0).flatten(1).sum(1)
    assert len(inner.unique()) > 3
    assert len(outer.unique()) > 3


# Laws that break the contract, one for each checker.


def centred(x: Tensor) -> Tensor:
    return x - x.mean(1, keepdim=True)


def no_noise(x: Tensor) -> Tensor:
    return torch.zeros(x.shape[0], 3 * x.shape[1], 3 * x.shape[1], dtype=x.dtype)


def wrong_frame(x, graph, structure):
    """The residue frame contracted on the wrong index, as in the published code."""
    frames = build_residue_frames(structure.backbone, structure.is_linked, structure.pocket_centroid)
    return torch.einsum("rni,ij->rnj", centred(x), frames[:40].sum(0)), no_noise(x)


def origin_frame(x, graph, structure):
    """A vector frame from absolute coordinates: equivariant about the origin only."""
    return torch.linalg.cross(x, x.roll(1, 1)), no_noise(x)


def cartesian_noise(x, graph, structure):
    """Learned amplitudes for each Cartesian axis."""
    amplitude = torch.tensor([1.0, 2.0, 3.0], dtype=x.dtype).repeat(x.shape[1])
    return centred(x), torch.diag(amplitude).expand(x.shape[0], -1, -1)


def achiral(x, graph, structure):
    return centred(x), no_noise(x)


def order_dependent(x, graph, structure):
    return centred(x) * torch.arange(x.shape[1], dtype=x.dtype)[:, None], no_noise(x)


def frames_in_file_order(x, graph, structure):
    """Frames that run on across chain breaks."""
    ca = structure.backbone[:, 1]
    return centred(x) + torch.linalg.cross(ca[1:] - ca[:-1], structure.backbone[:-1, 0] - ca[:-1]).sum(0), no_noise(x)


def batch_dependent(x, graph, structure):
    return centred(x) * x.shape[0], no_noise(x)


def mutating(x, graph, structure):
    x += 1.0
    return centred(x), no_noise(x)


def sharp_cutoff(x, graph, structure):
    near = torch.cdist(x, structure.backbone[:, 1].expand(len(x), -1, -1)) < 10.0
    return centred(x) * near.sum(-1, keepdim=True), no_noise(x)


@pytest.mark.parametrize(
    ("check", "broken"),
    [
        (contract.check_equivariance, wrong_frame),
        (contract.check_equivariance, origin_frame),
        (contract.check_equivariance, cartesian_noise),
        (contract.check_mirror_differs, achiral),
        (contract.check_atom_permutation, order_dependent),
        (contract.check_chain_permutation, frames_in_file_order),
        (contract.check_batch_equals_single, batch_dependent),
        (contract.check_input_untouched, mutating),
    ],
    ids=lambda value: value.__name__,
)
def test_checker_can_fail(check, broken, pose, graph, structure):
    with pytest.raises(AssertionError):
        check(broken, pose.clone(), graph, structure)


def test_continuity_checker_can_fail(pose, graph, structure):
    with pytest.raises(AssertionError):
        contract.check_continuity(sharp_cutoff, make_crossing_path(pose), graph, structure)


def test_first_step_has_gradient(pose, graph, structure):
    """x_1 after one leapfrog step depends on every part of the force network (the published Euler step did not)."""
    net = make_net("ode")
    force = net(pose, graph, net.embed_protein(structure))
    following = pose + force / graph.masses[:, None]
    following.square().sum().backward()
    without = {n for n, p in net.named_parameters() if p.grad is None or p.grad.abs().max() == 0.0}
    assert {n for n in without if not n.startswith(("diffusion", "raw_friction", "log_bond_noise"))} == set()


def test_noise_leaves_bonds_alone_to_first_order(pose, graph, structure):
    """J B = 0: no noise field changes a bond or a 1-3 distance to first order."""
    from openmm_neuralmd.models.constraints import compute_stretch

    net = make_net("sde")
    with torch.no_grad():
        _, fields = net.compute_force_and_fields(pose, graph, net.embed_protein(structure))
    change = compute_stretch(pose, graph.constraint_pairs, fields)
    assert change.abs().max() < 1e-3 * fields.abs().max()


def test_collinear_atoms_give_finite_force(structure, pose):
    """Atoms in a line, where cross products vanish: no NaN, no patch."""
    net = make_net("sde")
    n = 5
    line = pose[:, :1] + torch.arange(n, dtype=pose.dtype)[None, :, None] * torch.tensor([1.3, 0.0, 0.0])
    bonds = torch.stack([torch.arange(n - 1), torch.arange(1, n)], dim=1)
    separation = (torch.arange(n)[:, None] - torch.arange(n)[None]).abs().clamp(max=4)
    graph = LigandGraph(
        torch.full((n,), 6), torch.full((n,), 12.0, dtype=pose.dtype), separation,
        torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0, n, dtype=pose.dtype), bonds,
    )  # fmt: skip
    line.requires_grad_(True)
    force, fields = net.compute_force_and_fields(line, graph, net.embed_protein(structure))
    (force.sum() + fields.sum()).backward()
    assert torch.isfinite(force).all()
    assert torch.isfinite(fields).all()
    assert torch.isfinite(line.grad).all()


def test_verlet_force_is_minus_the_energy_gradient(pose, graph, structure):
    """Central differences of the energy along random directions."""
    net = make_net("verlet")
    protein = net.embed_protein(structure)
    with torch.no_grad():
        force = net.compute_force(pose, graph, protein)
        for seed in range(3):
            d = torch.randn(pose.shape, generator=torch.Generator().manual_seed(seed), dtype=pose.dtype)
            slope = (
                net.compute_energy(pose + 1e-5 * d, graph, protein)
                - net.compute_energy(pose - 1e-5 * d, graph, protein)
            ) / 2e-5
            torch.testing.assert_close(slope[0], -(force * d).sum(), rtol=1e-6, atol=1e-8)
