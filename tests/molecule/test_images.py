"""Nearest images and whole molecules, in cells of every form, against brute force."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import nn

from openmm_neuralmd.models.export import _WholeSystem
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.molecule.images import (
    LigandImage,
    bring_together,
    count_turns,
    find_nearest_image,
    make_whole,
    reduce_cell,
    remove_jumps,
    shift_to_nearest_image,
    span_edges,
    span_points,
)

CUBE = np.diag([4.0, 4.0, 4.0])
DODECAHEDRON = np.array([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [2.0, 2.0, 2.0 * np.sqrt(2.0)]])
OCTAHEDRON = 4.0 * np.array([[1.0, 0.0, 0.0], [-1 / 3, np.sqrt(8) / 3, 0.0], [-1 / 3, -np.sqrt(2) / 3, np.sqrt(2 / 3)]])
SKEWED = np.array([[3.0, 0.0, 0.0], [4.5, 3.5, 0.0], [-5.0, 6.0, 4.0]])  # not reduced
TURNED = DODECAHEDRON @ Rotation.random(random_state=1).as_matrix()
CELLS = {"cube": CUBE, "dodecahedron": DODECAHEDRON, "octahedron": OCTAHEDRON, "skewed": SKEWED, "turned": TURNED}


@pytest.fixture(params=CELLS)
def cell(request: pytest.FixtureRequest) -> np.ndarray:
    return CELLS[request.param]


def compute_width(cell: np.ndarray) -> float:
    return float(1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0).max())


def search(vectors: np.ndarray, cell: np.ndarray, reach: int = 6) -> np.ndarray:
    turns = np.array(list(itertools.product(range(-reach, reach + 1), repeat=3)))
    images = vectors[:, None] + turns @ cell
    return images[np.arange(len(vectors)), np.linalg.norm(images, axis=-1).argmin(axis=1)]


def scatter(cell: np.ndarray, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-2, 3, size=(*shape, 3)) @ cell


def test_vectors_shorter_than_half_the_width(cell: np.ndarray) -> None:
    short = np.random.default_rng(2).normal(size=(200, 3))
    short *= 0.499 * compute_width(cell) / np.linalg.norm(short, axis=1, keepdims=True)
    moved = short + scatter(cell, (200,))
    assert np.abs(shift_to_nearest_image(moved, cell) - short).max() < 1e-9
    fractions = moved @ np.linalg.inv(cell)  # the other formula, right for the same vectors
    assert np.abs((fractions - np.round(fractions)) @ cell - short).max() < 1e-9
    per_frame = shift_to_nearest_image(moved[:, None], np.repeat(cell[None], 200, axis=0))
    assert np.abs(per_frame[:, 0] - short).max() < 1e-9
    turns = count_turns(moved, cell)
    assert np.array_equal(turns, np.round(turns))


def test_rounding_does_not_find_the_nearest_of_long_vectors() -> None:
    """Why there is a search as well."""
    vectors = np.random.default_rng(3).uniform(-4.0, 4.0, size=(500, 3))
    rounded, nearest = (np.linalg.norm(f(vectors, DODECAHEDRON), axis=1) for f in (shift_to_nearest_image, search))
    assert (rounded > nearest + 1e-6).mean() > 0.02


def test_vectors_of_any_length(cell: np.ndarray) -> None:
    vectors = np.random.default_rng(4).uniform(-8.0, 8.0, size=(200, 3))
    expected = np.linalg.norm(search(vectors, reduce_cell(cell)), axis=1)
    assert np.linalg.norm(find_nearest_image(vectors, cell), axis=1) == pytest.approx(expected)
    cells = np.repeat(cell[None], 200, axis=0)
    assert np.linalg.norm(find_nearest_image(vectors, cells), axis=1) == pytest.approx(expected)


def test_a_reduced_cell_has_the_same_lattice(cell: np.ndarray) -> None:
    reduced = reduce_cell(cell)
    turns = reduced @ np.linalg.inv(cell)
    assert turns == pytest.approx(np.round(turns), abs=1e-9)
    assert abs(np.linalg.det(reduced)) == pytest.approx(abs(np.linalg.det(cell)))
    lengths = np.linalg.norm(reduced, axis=1)
    assert (np.diff(lengths) > -1e-9).all()
    combined = np.array(list(itertools.product((-1, 0, 1), repeat=2))) @ reduced[:2]
    assert np.linalg.norm(reduced[2] + combined, axis=1).min() == pytest.approx(lengths[2])


@pytest.fixture
def chain() -> np.ndarray:
    """A chain much longer than the cells, in steps of 0.3 nm."""
    steps = np.random.default_rng(5).normal(size=(120, 3))
    steps *= 0.3 / np.linalg.norm(steps, axis=1, keepdims=True)
    return np.cumsum(steps + [0.1, 0.0, 0.05], axis=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_molecules_are_made_whole(chain: np.ndarray, cell: np.ndarray, dtype: type) -> None:
    cells = np.stack([cell, 1.01 * cell, 0.99 * cell])
    wrapped = np.stack([chain + scatter(c, (len(chain),), seed=k) for k, c in enumerate(cells)]).astype(dtype)
    order = np.random.default_rng(6).permutation(len(chain))
    bonds = np.stack([order[:-1], order[1:]], axis=1)
    shuffled = np.empty_like(wrapped)
    shuffled[:, order] = wrapped
    for tree in (span_edges(len(chain), bonds), span_edges(len(chain), bonds, np.full(len(bonds), 0.3))):
        whole = make_whole(shuffled, cells.astype(dtype), tree)[:, order]
        relative = whole - whole[:, :1] - (chain - chain[0])
        assert np.abs(relative).max() < (2e-5 if dtype is np.float32 else 1e-9)
        assert whole.dtype == dtype
        assert np.array_equal(make_whole(shuffled, cells.astype(dtype), tree)[:, 0], shuffled[:, 0])  # the root


def test_points_without_bonds(cell: np.ndarray) -> None:
    points = np.random.default_rng(7).uniform(0.0, 1.5, size=(40, 3))
    moved = points + scatter(cell, (40,))
    whole = make_whole(moved[None], cell[None], span_points(points))[0]
    assert np.abs(whole - whole[0] - (points - points[0])).max() < 1e-9
    assert span_points(moved, cell).n_points == 40
    seen = make_whole(moved[None], cell[None], span_points(moved, cell))[0]
    assert np.abs(seen - seen[0] - (points - points[0])).max() < 1e-9


def test_parts_that_nothing_joins_have_a_root_each() -> None:
    tree = span_edges(7, np.array([[4, 2], [2, 6], [1, 3]]))
    assert set(range(7)) - set(tree.children.tolist()) == {0, 1, 2, 5}
    assert sorted(zip(tree.children.tolist(), tree.parents.tolist(), strict=True)) == [(3, 1), (4, 2), (6, 2)]
    assert len(span_edges(3, np.empty((0, 2))).children) == 0


@pytest.mark.parametrize("size", [5, 300])
def test_parts_are_brought_next_to_a_point(cell: np.ndarray, size: int) -> None:
    rng = np.random.default_rng(8)
    part = rng.normal(scale=0.1, size=(size, 3)) + 0.3
    cells = np.repeat(cell[None], 4, axis=0)
    frames = np.concatenate([np.zeros((4, 1, 3)), part + scatter(cell, (4, 1))], axis=1)
    found = bring_together(frames, cells, [np.arange(1, size + 1)], frames[:, 0])
    assert np.abs(found[:, 1:] - part).max() < 1e-9


def test_jumps_are_removed(cell: np.ndarray) -> None:
    path = np.cumsum(np.random.default_rng(9).normal(scale=0.1, size=(30, 1, 3)), axis=0) + np.zeros((30, 4, 3))
    found = remove_jumps(path + scatter(cell, (30, 1)), np.repeat(cell[None], 30, axis=0), np.zeros(3))
    assert np.abs(found - path).max() < 1e-9


@pytest.mark.parametrize("name", ["cube", "dodecahedron", "octahedron"])
def test_exported_models_restore_the_same_image(tiny_complex: Complex, name: str) -> None:
    """TorchScript has the formula once more, because it compiles it."""
    ligand = replace(tiny_complex.ligand, positions=tiny_complex.ligand.positions + 1.7)
    image = LigandImage(ligand)
    tree = tuple(torch.from_numpy(part) for part in (image.children, image.parents, image.paths))
    compiled = _WholeSystem(
        nn.Identity(), torch.zeros(1), tree, torch.from_numpy(ligand.positions), 1.0, torch.zeros(3)
    )
    cell = CELLS[name]
    rng = np.random.default_rng(10)
    for k in range(50):
        moved = ligand.positions + rng.normal(scale=0.03, size=ligand.positions.shape) + rng.uniform(-6, 6, size=3)
        moved += scatter(cell, (ligand.n_atoms,), seed=k)
        found = image.restore(moved, cell)
        expected = compiled.restore_image(torch.from_numpy(moved), torch.from_numpy(cell)).numpy()
        assert np.abs(found - expected).max() < 1e-9
        bonds = [np.linalg.norm(x[ligand.bonds[:, 0]] - x[ligand.bonds[:, 1]], axis=1) for x in (found, expected)]
        assert bonds[0].max() < 0.4
