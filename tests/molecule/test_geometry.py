"""Searches for pairs against a loop, products on vector frames against a matrix product."""

import torch

from openmm_neuralmd.models.networks.layers import append_bias, project_on_frames, sum_at
from openmm_neuralmd.molecule.geometry import compute_radial_basis, find_nearby, find_pairs

GENERATOR = torch.Generator().manual_seed(0)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


def test_pairs_are_those_of_a_loop() -> None:
    first, second = 4.0 * draw(3, 6, 3), 4.0 * draw(9, 3)
    expected = [
        (r, i, k) for r in range(3) for i in range(6) for k in range(9) if (first[r, i] - second[k]).norm() < 5.0
    ]
    assert list(zip(*(t.tolist() for t in find_pairs(first, second, 5.0, False)), strict=True)) == expected
    assert 0 < len(expected) < 3 * 6 * 9


def test_an_atom_is_no_pair_with_itself() -> None:
    x = draw(2, 5, 3)
    replica, first, second = find_pairs(x, x, 100.0, True)
    assert len(replica) == 2 * 5 * 4
    assert not (first == second).any()


def test_nothing_within_the_cutoff_is_far() -> None:
    points, positions = 15.0 * draw(200, 3), 3.0 * draw(4, 7, 3)
    nearby = find_nearby(points, positions, 10.0).tolist()
    _, _, used = find_pairs(positions, points, 10.0, False)
    assert set(used.tolist()) <= set(nearby)
    assert len(nearby) < 200


def test_components_on_vector_frames() -> None:
    frames, vectors = draw(11, 3, 3), draw(11, 3, 5)
    found = project_on_frames(frames.permute(1, 2, 0).contiguous(), vectors)
    torch.testing.assert_close(found, (frames @ vectors).flatten(1))


def test_bias_as_a_column_commutes_with_weights_and_sums() -> None:
    layer = torch.nn.Linear(4, 3, dtype=torch.float64)
    x, w, index = draw(10, 4), draw(10, 1), torch.arange(10) // 4
    expected = sum_at(layer(x) * w, index, 3)
    found = sum_at(torch.cat([x * w, w], dim=1), index, 3) @ append_bias(layer.weight, layer.bias).t()
    torch.testing.assert_close(found, expected)


def test_radial_functions_hold_no_subnormal_numbers() -> None:
    values = compute_radial_basis(torch.linspace(0.0, 10.0, 500), 10.0, 96)
    assert values.min() >= torch.finfo(torch.float32).tiny
    assert values.max() > 0.9


def test_a_broken_replica_hides_no_point_from_the_others() -> None:
    points = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [50.0, 0.0, 0.0]])
    positions = torch.tensor([[[1.0, 0.0, 0.0]], [[torch.nan, 0.0, 0.0]]])
    assert {0, 1} <= set(find_nearby(points, positions, 4.0).tolist())
