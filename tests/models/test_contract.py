"""Every registered model keeps the contract, and every checker fails on a law that breaks it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import AllChem
from torch import Tensor

from openmm_neuralmd.models.networks.interface import (
    MAX_ATOMIC_NUMBER,
    LigandGraph,
    ProteinStructure,
    build_ligand_graph,
)
from openmm_neuralmd.models.registry import get_kind, list_kinds
from openmm_neuralmd.molecule.complex import Ligand, load_bundled_complex
from openmm_neuralmd.molecule.constraints import settle
from openmm_neuralmd.molecule.geometry import build_residue_frames
from openmm_neuralmd.molecule.shape import build_shape, compute_shape_errors
from openmm_neuralmd.testing import laws
from tests.models.networks import make_net

VARIANTS = {"sde with velocity options": ("sde", {"velocity_mapping": True, "velocity_refinement": True})}


def make_law(kind: str) -> laws.Law:
    """What a model of this kind promises about one snapshot: its force, score or energy gradient, and its noise."""
    kind, config = VARIANTS.get(kind, (kind, {}))
    net = make_net(kind, **config)

    def law(x: Tensor, graph: LigandGraph, structure: ProteinStructure) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return get_kind(kind).compute_law(net, x, graph, net.embed_protein(structure))

    return law


@pytest.fixture(scope="module", params=sorted([*list_kinds(), *VARIANTS]))
def law(request: pytest.FixtureRequest) -> laws.Law:
    return make_law(request.param)


POINTWISE = [
    laws.check_law_equivariance,
    laws.check_mirror_differs,
    laws.check_law_atom_permutation,
    laws.check_law_chain_permutation,
    laws.check_law_batch_equals_single,
    laws.check_law_input_untouched,
]


@pytest.mark.parametrize("check", POINTWISE, ids=lambda check: check.__name__)
def test_contract(check, law, pose, graph, structure):
    check(law, pose, graph, structure)


def test_contract_continuity(law, pose, graph, structure):
    laws.check_law_continuity(law, laws.make_crossing_path(pose), graph, structure)


def test_path_crosses_both_cutoffs(pose, structure):
    path = laws.make_crossing_path(pose)
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


def chiral(x, graph, structure):
    """A pseudovector, which a mirror turns the other way."""
    return torch.linalg.cross(centred(x), centred(x).roll(1, 1)), no_noise(x)


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
        (laws.check_law_equivariance, wrong_frame),
        (laws.check_law_equivariance, origin_frame),
        (laws.check_law_equivariance, cartesian_noise),
        (laws.check_mirror_differs, achiral),
        (laws.check_mirror_equals, chiral),
        (laws.check_law_atom_permutation, order_dependent),
        (laws.check_law_chain_permutation, frames_in_file_order),
        (laws.check_law_batch_equals_single, batch_dependent),
        (laws.check_law_input_untouched, mutating),
    ],
    ids=lambda value: value.__name__,
)
def test_checker_can_fail(check, broken, pose, graph, structure):
    with pytest.raises(AssertionError):
        check(broken, pose.clone(), graph, structure)


def test_continuity_checker_can_fail(pose, graph, structure):
    with pytest.raises(AssertionError):
        laws.check_law_continuity(sharp_cutoff, laws.make_crossing_path(pose), graph, structure)


def test_first_step_has_gradient(pose, graph, structure):
    """x_1 after one leapfrog step depends on every part of the force network (the published Euler step did not)."""
    net = make_net("ode")
    force = net(pose, graph, net.embed_protein(structure))
    following = pose + force / graph.masses[:, None]
    following.square().sum().backward()
    without = {n for n, p in net.named_parameters() if p.grad is None or p.grad.abs().max() == 0.0}
    assert {
        n for n in without if not n.startswith(("diffusion", "vibration", "raw_friction", "log_bond_noise"))
    } == set()


def test_noise_leaves_bonds_alone_to_first_order(pose, graph, structure):
    """J B = 0: no noise field changes a bond or a 1-3 distance to first order."""
    net = make_net("sde")
    with torch.no_grad():
        _, fields = net.compute_force_and_fields(pose, graph, net.embed_protein(structure))
    _, jacobian = compute_shape_errors(pose, graph.shape)
    assert (jacobian @ fields).norm(dim=1).max() < 0.5 * 1e-4**0.5 * fields.norm(dim=1).max()  # root of the ridge


def test_collinear_atoms_give_finite_force(structure, pose):
    """Atoms in a line, where cross products vanish: no NaN, no patch."""
    net = make_net("sde")
    n = 5
    line = pose[:, :1] + torch.arange(n, dtype=pose.dtype)[None, :, None] * torch.tensor([1.3, 0.0, 0.0])
    bonds = torch.stack([torch.arange(n - 1), torch.arange(1, n)], dim=1)
    separation = (torch.arange(n)[:, None] - torch.arange(n)[None]).abs().clamp(max=4)
    graph = LigandGraph(
        torch.full((n,), 6), torch.full((n,), 12.0, dtype=pose.dtype), separation,
        torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0, n, dtype=pose.dtype),
        build_shape(line[0].numpy(), bonds.numpy()),
    )  # fmt: skip
    assert len(graph.shape.lines) == n - 2
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


def make_ligand_graph(smiles: str) -> tuple[LigandGraph, Tensor]:
    """Graph and coordinates [A], (1, N, 3), of a molecule that RDKit embeds, heavy atoms only."""
    molecule = Chem.MolFromSmiles(smiles)
    hydrogenated = Chem.AddHs(molecule)
    assert AllChem.EmbedMolecule(hydrogenated, randomSeed=1, useRandomCoords=True) == 0
    xyz = hydrogenated.GetConformer().GetPositions()[: molecule.GetNumAtoms()] / 10.0
    bonds = np.array([[b.GetBeginAtomIdx(), b.GetEndAtomIdx()] for b in molecule.GetBonds()])
    numbers = np.array([a.GetAtomicNum() for a in molecule.GetAtoms()])
    masses = np.array([a.GetMass() for a in molecule.GetAtoms()])
    nothing = np.zeros(0, dtype=np.int64)
    ligand = Ligand(
        "LIG", numbers, masses, bonds, None, xyz, xyz, np.arange(len(numbers)), nothing, nothing, ("",) * len(numbers)
    )
    complex_ = replace(load_bundled_complex(), ligand=ligand)
    return build_ligand_graph(complex_, torch.float64), torch.from_numpy(10.0 * xyz)[None]


EVERY_ELEMENT = "FC(Cl)(Br)C(I)[Si](C)(C)OP(=O)(S)[Se]CB(O)N"
LIGANDS = {
    "5 atoms": "CC(=O)NC",
    "every element": EVERY_ELEMENT,
    "metal": "[Pt](N)(N)(Cl)Cl",
    "150 atoms": "C" + "C(=O)NC(CO)" * 24 + "CCCCC",
}


@pytest.mark.parametrize("name", LIGANDS)
def test_ligands_of_all_sizes_and_elements(name, pose, structure):
    graph, x = make_ligand_graph(LIGANDS[name])
    assert x.shape[1] == {"5 atoms": 5, "metal": 5, "150 atoms": 150}.get(name, x.shape[1])
    x = (x - x.mean(1, keepdim=True) + pose.mean(1, keepdim=True)).requires_grad_(True)
    net = make_net("sde")
    protein = net.embed_protein(structure)
    normals = torch.randn(1, 3 * x.shape[1], dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    force, fields = net.compute_force_and_fields(x, graph, protein)
    vibration = net.compute_vibration(x, normals, graph)
    assert fields.shape == (1, 3 * x.shape[1], net.count_noise(graph))
    (force.sum() + fields.sum() + vibration.sum()).backward()
    for tensor in (force, fields, vibration, x.grad):
        assert torch.isfinite(tensor).all()
    assert force.abs().max() > 0.0


def test_elements_differ_up_to_iodine_and_metals_share_an_embedding(pose, structure):
    """Two graphs that differ in one element feel different forces, unless both are heavier than iodine."""
    graph, x = make_ligand_graph(LIGANDS["metal"])
    net = make_net("ode")
    protein = net.embed_protein(structure)
    x = x - x.mean(1, keepdim=True) + pose.mean(1, keepdim=True)

    def compute_force(number: int) -> Tensor:
        elements = graph.elements.clone()
        elements[0] = min(number, MAX_ATOMIC_NUMBER + 1)
        return net(x, graph._replace(elements=elements), protein)

    assert graph.elements[0] == MAX_ATOMIC_NUMBER + 1
    assert (compute_force(34) - compute_force(53)).abs().max() > 1e-6
    torch.testing.assert_close(compute_force(78), compute_force(79))


def test_settling_brings_pairs_back(pose, graph):
    generator = torch.Generator().manual_seed(0)
    moved = pose + 0.05 * torch.randn(50, *pose.shape[1:], dtype=pose.dtype, generator=generator)

    def measure(x: Tensor) -> Tensor:
        return compute_shape_errors(x, graph.shape)[0].abs()

    settled = settle(moved, graph.shape)
    assert measure(settled).mean() < 0.1 * measure(moved).mean()
