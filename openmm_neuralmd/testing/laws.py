"""Checkers of what every model's law promises: ``law(positions, graph, structure)`` -> (vectors, covariance).

``positions`` (R, N, 3) [A]; vectors (R, N, 3), a force, a score or a displacement; covariance of the noise
(R, 3N, 3N), zeros where there is none. A checker raises AssertionError where the promise is broken.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from openmm_neuralmd.models.networks.interface import LigandGraph, ProteinStructure

Law = Callable[[Tensor, LigandGraph, ProteinStructure], tuple[Tensor, Tensor]]
TIGHT = 1e-10  # float64: the same numbers in another order of summation


def assert_close(left: Tensor, right: Tensor, tolerance: float) -> None:
    """Relative to the largest entry of ``right``."""
    error = (left - right).abs().max() / right.abs().max().clamp(min=1e-12)
    assert error < tolerance, f"relative error {error:.1e}"


def draw_rotation(seed: int) -> Tensor:
    """A proper rotation, float64, (3, 3)."""
    generator = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    q = q * torch.sign(torch.diagonal(r))
    return q * torch.linalg.det(q)


def transform(structure: ProteinStructure, matrix: Tensor, shift: Tensor) -> ProteinStructure:
    """The protein turned (or mirrored) and shifted."""
    return structure._replace(
        backbone=structure.backbone @ matrix.T + shift, pocket_centroid=structure.pocket_centroid @ matrix.T + shift
    )


def rotate_covariance(covariance: Tensor, matrix: Tensor) -> Tensor:
    """Of turned coordinates."""
    blocks = torch.block_diag(*[matrix] * (covariance.shape[1] // 3))
    return blocks @ covariance @ blocks.T


def check_law_equivariance(law: Law, x: Tensor, graph: LigandGraph, structure: ProteinStructure) -> None:
    """Turned and shifted as a whole, the complex has turned vectors and noise."""
    matrix, shift = draw_rotation(1), torch.tensor([31.0, -17.0, 53.0], dtype=x.dtype)
    force, covariance = law(x, graph, structure)
    moved_force, moved_covariance = law(x @ matrix.T + shift, graph, transform(structure, matrix, shift))
    assert_close(moved_force, force @ matrix.T, TIGHT)
    assert_close(moved_covariance, rotate_covariance(covariance, matrix), TIGHT)


def check_mirror_differs(law: Law, x: Tensor, graph: LigandGraph, structure: ProteinStructure) -> None:
    """A chiral complex and its mirror image are told apart."""
    difference = _compare_with_mirror(law, x, graph, structure)
    assert difference > 1e-3, "a chiral ligand and its mirror image have mirrored vectors"


def check_mirror_equals(law: Law, x: Tensor, graph: LigandGraph, structure: ProteinStructure) -> None:
    """A complex and its mirror image have mirrored vectors, for kinds that say so."""
    difference = _compare_with_mirror(law, x, graph, structure)
    assert difference < TIGHT, f"vectors differ from mirrored ones by {difference:.1e}"


def check_law_atom_permutation(law: Law, x: Tensor, graph: LigandGraph, structure: ProteinStructure) -> None:
    """Atoms in another order have the same vectors and noise, in that order."""
    order = torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(2))
    place = torch.argsort(order)
    permuted = LigandGraph(
        elements=graph.elements[order],
        masses=graph.masses[order],
        separation=graph.separation[order][:, order],
        torsion_axes=place[graph.torsion_axes],
        torsion_sides=graph.torsion_sides[:, order],
        shape=graph.shape._replace(
            **{name: place[getattr(graph.shape, name)] for name in ("pairs", "quadruples", "lines", "heads", "tails")},
            slots=graph.shape.slots // len(order) * len(order) + place[graph.shape.slots % len(order)],
        ),
    )
    force, covariance = law(x, graph, structure)
    moved_force, moved_covariance = law(x[:, order], permuted, structure)
    assert_close(moved_force, force[:, order], TIGHT)
    coordinates = (3 * order[:, None] + torch.arange(3)).flatten()
    assert_close(moved_covariance, covariance[:, coordinates][:, :, coordinates], 1e-8)  # through a Cholesky factor


def check_law_chain_permutation(law: Law, x: Tensor, graph: LigandGraph, structure: ProteinStructure) -> None:
    """Chains in another order give the same force, so no vector frame reaches across a chain break."""
    first_break = int((~structure.is_linked).nonzero()[0]) + 1
    order = torch.cat([torch.arange(first_break, len(structure.is_linked)), torch.arange(first_break)])
    swapped = structure._replace(
        residue_types=structure.residue_types[order],
        backbone=structure.backbone[order],
        is_linked=structure.is_linked[order],
    )
    assert_close(law(x, graph, swapped)[0], law(x, graph, structure)[0], TIGHT)


def check_law_batch_equals_single(law: Law, x: Tensor, graph: LigandGraph, structure: ProteinStructure) -> None:
    """Replicas beside one another are as each alone."""
    batch = torch.cat([x, x + 0.3, x.flip(0) * 1.01 - 1.0])
    force, covariance = law(batch, graph, structure)
    for k in range(len(batch)):
        single_force, single_covariance = law(batch[k : k + 1], graph, structure)
        assert_close(force[k : k + 1], single_force, 1e-9)
        assert_close(covariance[k : k + 1], single_covariance, 1e-8)


def check_law_input_untouched(law: Law, x: Tensor, graph: LigandGraph, structure: ProteinStructure) -> None:
    """Positions that were handed in stay as they are."""
    copy = x.clone()
    law(x, graph, structure)
    assert torch.equal(copy, x)


def check_law_continuity(law: Law, path: Tensor, graph: LigandGraph, structure: ProteinStructure) -> None:
    """Along a path on which pairs cross the cutoffs, halving the step about halves the largest change of force."""
    forces = torch.cat([law(p[None], graph, structure)[0] for p in path])
    fine = (forces[1:] - forces[:-1]).abs().max()
    coarse = (forces[2::2] - forces[:-2:2]).abs().max()
    assert fine < 0.7 * coarse, f"largest change {fine:.2e} over a step, {coarse:.2e} over two: the force jumps"


def make_crossing_path(pose: Tensor, n_points: int = 81) -> Tensor:
    """A path on which the atoms drift by 0.4 A while the ligand stretches: many pairs cross 5 and 10 A.

    Args:
        pose: [A], (1, N, 3).

    Returns:
        (n_points, N, 3).
    """
    s = torch.linspace(0.0, 1.0, n_points, dtype=pose.dtype)[:, None, None]
    centre = pose.mean(1, keepdim=True)
    return pose + 0.04 * s * (pose - centre) + 0.4 * s * torch.tensor([0.6, 0.0, 0.8], dtype=pose.dtype)


def _compare_with_mirror(law: Law, x: Tensor, graph: LigandGraph, structure: ProteinStructure) -> float:
    mirror = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=x.dtype))
    force, _ = law(x, graph, structure)
    mirrored, _ = law(x @ mirror, graph, transform(structure, mirror, torch.zeros(3, dtype=x.dtype)))
    return float((mirrored - force @ mirror).abs().max() / force.abs().max())
