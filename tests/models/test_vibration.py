"""Vibration: its distribution is the one that training sees, and no draw breaks a molecule."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from openmm_neuralmd.models.export import load_bundled_model
from openmm_neuralmd.models.networks.interface import build_ligand_graph
from tests.helpers import make_complex
from tests.models.networks import make_net


@pytest.mark.physics
def test_vibration_has_its_spreads(pose, graph):
    """Drawn displacements have the covariance that training sees, and stiff bonds hardly feel the soft part."""
    net = make_net("sde")
    with torch.no_grad():
        covariance = net.vibration.compute_covariance(pose, graph)[0]
        normals = torch.randn(20000, 81, dtype=pose.dtype, generator=torch.Generator().manual_seed(0))
        drawn = net.compute_vibration(pose.expand(20000, -1, -1), normals, graph).flatten(1)
        assert ((drawn.T @ drawn) / len(drawn) - covariance).abs().max() < 0.05 * covariance.abs().max()
        jacobian = net.vibration.compute_jacobian(pose, graph)[1][0]
        marginal = (jacobian @ covariance @ jacobian.T).diagonal().sqrt()
        spreads = net.vibration.compute_spreads(graph)
        assert (marginal <= spreads).all()
        assert (marginal > 0.3 * spreads).all()


def test_vibration_leaves_rigid_motion_and_torsions_to_the_dynamics(pose, graph):
    """Nothing of a displacement lies along what no spring holds."""
    net = make_net("sde")
    with torch.no_grad():
        _, jacobian = net.vibration.compute_jacobian(pose, graph)
        root = net.vibration.compute_root(jacobian, graph)[0]
    *_, rows = torch.linalg.svd(jacobian[0])
    free = rows[torch.linalg.matrix_rank(jacobian[0], rtol=1e-2) :]
    assert len(free) > 6
    assert (free @ root).norm() < 0.02 * root.norm()


def test_vibration_follows_its_springs_round_their_arcs(pose, graph):
    """What springs are off is what was drawn, nearer than along a straight displacement."""
    net = make_net("sde")
    normals = torch.randn(50, 81, dtype=pose.dtype, generator=torch.Generator().manual_seed(0))
    x = pose.expand(50, -1, -1)
    with torch.no_grad():
        errors, jacobian = net.vibration.compute_jacobian(x, graph)
        factor = net.vibration.compute_factor(jacobian, net.vibration.compute_spreads(graph))
        straight = net.vibration.draw(factor, normals.unsqueeze(-1))
        wanted = (jacobian @ straight).squeeze(-1)
        bent = net.compute_vibration(x, normals, graph)
        off = [
            (net.vibration.compute_jacobian(x + d.reshape(x.shape), graph)[0] - errors - wanted).square().mean().sqrt()
            for d in (straight, bent)
        ]
    assert off[1] < 0.5 * off[0]


def test_springs_know_what_is_around_them(graph):
    """Spreads depend on both ends, on the atom between them and on what is bonded to any of these; on nothing else."""
    vibration = make_net("sde").vibration
    torch.nn.init.normal_(vibration.mlp.layers[-1].weight, std=0.1)
    bonded = graph.separation == 1
    atom = int(bonded.sum(1).argmax())
    elements = graph.elements.clone()
    elements[atom] = 16 if elements[atom] != 16 else 7
    with torch.no_grad():
        before, after = (vibration.compute_spreads(graph._replace(elements=e)) for e in (graph.elements, elements))
    first, second = graph.shape.pairs.T
    near = bonded[atom] | (torch.arange(len(elements)) == atom)
    pairs = near[first] | near[second] | (bonded[first] & bonded[second] & near).any(1)
    assert (bonded[atom][first] & bonded[atom][second]).any()
    lines = near[graph.shape.lines].any(1).repeat_interleave(3)
    concerned = torch.cat([pairs, near[graph.shape.quadruples].any(1), lines])
    assert (before != after)[concerned].all()
    assert torch.equal(before[~concerned], after[~concerned])
    assert (~concerned).any()


def test_loss_does_not_depend_on_where_axes_point(graph, pose):
    """Lines too are scored alike however the complex is turned."""
    net = make_net("sde")
    assert len(graph.shape.lines) > 0
    generator = torch.Generator().manual_seed(0)
    x = pose + 0.05 * torch.randn(20, *pose.shape[1:], dtype=pose.dtype, generator=generator)
    turn = torch.from_numpy(Rotation.random(random_state=0).as_matrix())
    with torch.no_grad():
        before, after = (net.vibration.compute_deviation_loss(y, graph).item() for y in (x, x @ turn.T))
    assert after == pytest.approx(before, rel=1e-9)


def test_loss_is_the_likelihood_of_what_is_drawn(graph, bundled):
    """Of spreads scaled up and down, those that the sample was drawn with are the most likely."""
    net = make_net("sde")
    in_shape = torch.from_numpy(10.0 * bundled.ligand.geometry)
    normals = torch.randn(400, in_shape.numel(), dtype=in_shape.dtype, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        moved = in_shape + net.compute_vibration(in_shape.expand(400, -1, -1), normals, graph)
        losses = []
        for scale in (0.7, 1.0, 1.4):
            shifted = make_net("sde")
            shifted.vibration.log_typical += np.log(scale)
            losses.append(shifted.vibration.compute_deviation_loss(moved, graph).item())
    assert losses[1] < min(losses[0], losses[2])


def test_loss_of_a_ligand_without_lines():
    complex_ = make_complex("CC(=O)NC")
    graph = build_ligand_graph(complex_, torch.float64)
    assert len(graph.shape.lines) == 0
    x = torch.from_numpy(10.0 * complex_.ligand.geometry)[None]
    assert torch.isfinite(make_net("sde").vibration.compute_deviation_loss(x, graph))


RINGS = {
    "1,3-cyclohexadiene": "CC1=CC=CCC1",
    "cycloheptatriene": "CC1C=CC=CC=C1",
    "dihydropyran": "CC1=COCCC1",
    "twisted cyclohexene": "CC1CC=CCC1C",
    "steroid": "C[C@]12CC[C@H]3[C@@H](CC[C@@H]4CC(=O)CC[C@]34C)[C@@H]1CC[C@@H]2O",
    "benzodiazepine": "CN1C(=O)CN=C(c2ccccc2)c2ccccc21",
}


@pytest.mark.parametrize("smiles", RINGS.values(), ids=RINGS.keys())
def test_no_draw_breaks_a_ring(smiles):
    """Springs hardly hold the pucker of some rings; a long draw along it must not stretch their bonds."""
    complex_ = make_complex(smiles)
    graph = build_ligand_graph(complex_, torch.float64)
    net = load_bundled_model("sde").restore_network().double()
    geometry = torch.from_numpy(10.0 * complex_.ligand.geometry)
    normals = torch.randn(300, geometry.numel(), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        x = geometry + net.compute_vibration(geometry.expand(300, -1, -1), normals, graph)
    i, j = complex_.ligand.bonds.T
    lengths = (x[:, i] - x[:, j]).norm(dim=-1)
    off = (lengths - (geometry[i] - geometry[j]).norm(dim=-1)).abs()
    assert off.max() < 0.2  # five times what a bond spreads
    assert off.square().mean().sqrt() > 0.02  # and the others vibrate on
