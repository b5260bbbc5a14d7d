"""Counter-based noise: the same words everywhere, and standard normals of them."""

import numpy as np
import pytest
import torch

from openmm_neuralmd.dynamics.noise import _draw_raw, compute_words, draw_normals, make_normals

SEEDS = [0, 1, 3, 2**63, 2**64 - 1]


@pytest.mark.parametrize("step", [0, 1, 2**40])
@pytest.mark.parametrize("n", [1, 4, 203])
def test_words_from_torch_are_numpys_to_the_bit(step: int, n: int) -> None:
    """NumPy's Philox stands for the published algorithm; it passes the authors' known answers."""
    assert np.array_equal(compute_words(SEEDS, step, n).numpy().view(np.uint64), _draw_raw(SEEDS, step, n))


def test_words_do_not_depend_on_the_batch_or_on_how_many_follow() -> None:
    together = compute_words(SEEDS, 5, 100)
    assert torch.equal(together[2:3, :40], compute_words(SEEDS[2:3], 5, 40))


@pytest.mark.parametrize("n", [1, 2, 203])
def test_normals_are_those_of_the_words(n: int) -> None:
    """On the CPU NumPy transforms the words, elsewhere torch: to the rounding of logarithm and cosine the same."""
    expected = make_normals(compute_words(SEEDS, 7, n + n % 2))[:, :n]
    torch.testing.assert_close(draw_normals(SEEDS, 7, n), expected, rtol=1e-13, atol=1e-13)


def test_normals_depend_on_seed_and_step_only() -> None:
    first = draw_normals([3], 5, 100)
    assert torch.equal(first, draw_normals([1, 3], 5, 100)[1:])
    for other in (draw_normals([4], 5, 100), draw_normals([3], 6, 100), draw_normals([5], 3, 100)):
        assert abs(np.corrcoef(first[0], other[0])[0, 1]) < 0.35


def test_normals_are_standard_over_seeds_steps_and_places() -> None:
    drawn = torch.stack([draw_normals(range(50), step, 21) for step in range(40)])
    n = drawn.numel()
    assert abs(float(drawn.mean())) < 4 / n**0.5
    assert float(drawn.var()) == pytest.approx(1.0, abs=4 * (2 / n) ** 0.5)
    assert float(drawn.pow(4).mean()) == pytest.approx(3.0, abs=4 * (96 / n) ** 0.5)
    flat = drawn.flatten(0, 1)
    correlations = np.corrcoef(flat.T.numpy()) - np.eye(21)
    assert np.abs(correlations).max() < 5 / len(flat) ** 0.5


def test_normals_of_extreme_words_are_finite() -> None:
    words = torch.tensor([[0, 0, -1, -1, 0, -1, -1, 0]])
    assert torch.isfinite(make_normals(words)).all()
    assert float(make_normals(words).abs().max()) < 8.6  # sqrt(2 ln 2^53)
