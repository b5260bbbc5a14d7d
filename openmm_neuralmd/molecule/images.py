"""Periodic images: which one is nearest, molecules made whole, and molecules brought next to each other.

A cell is three vectors, the rows of (3, 3) [nm]; positions that differ by whole cell vectors are images of each other.
The component of a vector along the normal of a cell's face changes by the cell's width there with every turn. Rounding
finds the number of turns for one cell vector after the other, so it finds the nearest image of every vector shorter
than half the smallest width, which bonds and other neighbours are, in any triclinic cell. Of longer vectors it finds
some image; the nearest of those takes a search among the neighbours (``find_nearest_image``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

if TYPE_CHECKING:
    from openmm_neuralmd.molecule.complex import Complex
    from openmm_neuralmd.molecule.ligand import Ligand

_POCKET_NM = 1.0  # from the ligand: the CA atoms of residues that touch it are nearer
_LARGE_MOLECULE = 200  # atoms; the nearest image of a larger one is that of its nearest atom, not of its centre
_NEIGHBOURS = np.stack(np.meshgrid(*[[0, -1, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
_LEAST_WEIGHT = 1e-9  # of an edge; sparse graphs take 0 for no edge


def count_turns(vectors: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Cell vectors that lie between vectors and their nearest images, whole numbers, of the vectors' shape.

    Right for vectors whose nearest image is shorter than half the cell's smallest width.

    Args:
        vectors: [nm], (..., 3); with a cell for each frame (n_frames, ..., 3).
        cells: [nm], (3, 3) or (n_frames, 3, 3).
    """
    if np.any(cells[..., (0, 0, 1), (1, 2, 2)]):  # turn the cell until a lies along x and b in the xy plane
        axes, triangle = np.linalg.qr(np.swapaxes(cells, -1, -2))
        vectors, cells = _multiply(vectors, axes), np.swapaxes(triangle, -1, -2)
    per_frame = cells.ndim == 3
    rest = vectors
    turns = np.empty_like(vectors)
    for k in (2, 1, 0):  # only c has a component along z, and of a and b only b along y
        cell = cells[:, k] if per_frame else cells[k]
        if per_frame:
            cell = cell.reshape(len(cell), *[1] * (vectors.ndim - 2), 3)
        turns[..., k] = np.round(rest[..., k] / cell[..., k])
        rest = rest - turns[..., k : k + 1] * cell
    return turns


def shift_to_nearest_image(vectors: np.ndarray, cells: np.ndarray | None) -> np.ndarray:
    """Vectors [nm], (..., 3), less whole cell vectors, as in ``count_turns``; unchanged without a cell."""
    return vectors if cells is None else vectors - _multiply(count_turns(vectors, cells), cells)


def find_nearest_image(vectors: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """The nearest image of vectors [nm], (..., 3), of any length in cells of any form; see ``count_turns``."""
    images = _list_images(vectors, _reduce_all(cells))
    best = np.linalg.norm(images, axis=-1).argmin(axis=-1)
    return np.asarray(np.take_along_axis(images, best[..., None, None], axis=-2)[..., 0, :])


def _reduce_all(cells: np.ndarray) -> np.ndarray:
    """Reduced cells; those of several frames differ by little, so what reduces the first reduces all."""
    first = cells if cells.ndim == 2 else cells[0]
    return np.asarray(np.round(reduce_cell(first) @ np.linalg.inv(first)) @ cells)


def _list_images(vectors: np.ndarray, reduced: np.ndarray) -> np.ndarray:
    """The 27 images of each vector among which the nearest is, (..., 27, 3), in reduced cells."""
    near = shift_to_nearest_image(vectors, reduced)
    neighbours = _NEIGHBOURS @ reduced
    if reduced.ndim == 3:
        neighbours = neighbours.reshape(len(reduced), *[1] * (vectors.ndim - 2), len(_NEIGHBOURS), 3)
    return np.asarray(near[..., None, :] + neighbours)


def reduce_cell(cell: np.ndarray) -> np.ndarray:
    """Three shortest vectors of the same lattice [nm], (3, 3): the nearest image is then among the 27 around any one.

    Source: reduction of Minkowski and Semaev (2001), doi:10.1007/3-540-44670-2_13: the longest vector is shortened by
    the nearest point of the plane of the two others until it is no longer the longest.
    """
    vectors = np.array(cell, dtype=np.float64)
    while True:
        vectors = vectors[np.argsort(np.linalg.norm(vectors, axis=1), kind="stable")]
        a, b = _reduce_pair(vectors[0], vectors[1])
        c = vectors[2]
        fractions = np.linalg.lstsq(np.stack([a, b], axis=1), c, rcond=None)[0]
        corners = np.floor(fractions) + np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
        rests = c - corners @ np.stack([a, b])
        shortest = rests[np.linalg.norm(rests, axis=1).argmin()]
        vectors = np.stack([a, b, shortest])
        if np.linalg.norm(shortest) >= np.linalg.norm(b) * (1.0 - 1e-9):
            return vectors


def _reduce_pair(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two shortest vectors of a plane lattice, the shorter one first (Lagrange and Gauss)."""
    while True:
        if np.linalg.norm(a) > np.linalg.norm(b):
            a, b = b, a
        turns = np.round(a @ b / (a @ a))
        if not np.abs(turns) >= 1.0:
            return a, b
        b = b - turns * a


def _multiply(vectors: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Rows (..., 3) times (3, 3), or (n_frames, ..., 3) times (n_frames, 3, 3)."""
    if matrices.ndim == 2:
        return np.asarray(vectors @ matrices)
    return np.asarray((vectors.reshape(len(vectors), -1, 3) @ matrices).reshape(vectors.shape))


@dataclass(frozen=True)
class Tree:
    """Along which points are made whole; a root for each part that nothing joins to the others.

    Attributes:
        n_points: Number of points.
        children, parents: Ends of each edge, every parent before its children, int64, (n_edges,).
    """

    n_points: int
    children: np.ndarray
    parents: np.ndarray


def span_edges(n_points: int, edges: np.ndarray, weights: np.ndarray | None = None) -> Tree:
    """The tree of least weight among edges; breadth first, from the first point of each part.

    Args:
        n_points: Number of points.
        edges: Pairs of points, int64, (n_edges, 2).
        weights: (n_edges,); where None the shortest way from each root.
    """
    first, second = np.asarray(edges, dtype=np.int64).reshape(-1, 2).T
    values = np.ones(len(first)) if weights is None else np.maximum(weights, _LEAST_WEIGHT)
    graph = coo_matrix((values, (first, second)), shape=(n_points, n_points)).tocsr()
    if weights is not None:
        graph = minimum_spanning_tree(graph)
    return _walk(graph.tocoo(), n_points)


def span_points(points: np.ndarray, cell: np.ndarray | None = None) -> Tree:
    """The tree that joins points [nm], (n_points, 3), by the shortest distances; in a cell, of nearest images."""
    if cell is None:
        distances = cdist(points, points)
    else:
        distances = np.linalg.norm(shift_to_nearest_image(points[None] - points[:, None], cell), axis=-1)
    tree = minimum_spanning_tree(np.maximum(distances, _LEAST_WEIGHT))
    return _walk(tree.tocoo(), len(points))


def _walk(graph: coo_matrix, n_points: int) -> Tree:
    """From one more point, joined to the first of each part, so that one walk reaches all."""
    owners = connected_components(graph, directed=False)[1]
    starts = np.unique(owners, return_index=True)[1]
    rows = np.concatenate([graph.row, np.full(len(starts), n_points)])
    columns = np.concatenate([graph.col, starts])
    size = n_points + 1
    joined = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(size, size)).tocsr()
    order, parents = breadth_first_order(joined, n_points, directed=False)
    children = order[~np.isin(order, starts)][1:].astype(np.int64)
    return Tree(n_points, children, parents[children].astype(np.int64))


def make_whole(positions: np.ndarray, cells: np.ndarray, tree: Tree) -> np.ndarray:
    """Positions in which each child is in the image nearest to its parent, roots where they are.

    Args:
        positions: [nm], (n_frames, n_points, 3).
        cells: [nm], (n_frames, 3, 3).
        tree: Its edges shorter than half the cell's smallest width.
    """
    if not len(tree.children):
        return positions
    turns = np.zeros_like(positions)
    turns[:, tree.children] = count_turns(positions[:, tree.children] - positions[:, tree.parents], cells)
    if not turns.any():
        return positions
    above = np.arange(tree.n_points)
    above[tree.children] = tree.parents
    while (above[above] != above).any():  # add up the turns of all ancestors, twice as many each time
        turns += turns[:, above]
        above = above[above]
    turns += turns[:, above]  # those of the roots are none
    return positions - _multiply(turns, cells)


def bring_together(
    positions: np.ndarray, cells: np.ndarray, parts: Sequence[np.ndarray], target: np.ndarray
) -> np.ndarray:
    """Positions with each part in its image nearest to a point: by its centre, a large one by its nearest atom.

    Args:
        positions: [nm], (n_frames, n_atoms, 3); parts whole.
        cells: [nm], (n_frames, 3, 3).
        parts: Atoms of each.
        target: Of each frame [nm], (n_frames, 3).
    """
    moved, reduced = positions.copy(), _reduce_all(cells)
    for part in parts:
        offset = positions[:, part].mean(axis=1) - target
        images = _list_images(offset, reduced) - offset[:, None]  # what each image is moved by, (n_frames, 27, 3)
        if len(part) < _LARGE_MOLECULE:
            best = np.linalg.norm(offset[:, None] + images, axis=-1).argmin(axis=1)
        else:
            frames = zip(positions[:, part], target, images, strict=True)
            best = np.array([cKDTree(x).query(t - i)[0].argmin() for x, t, i in frames])
        moved[:, part] += images[np.arange(len(positions)), best][:, None]
    return moved


def remove_jumps(positions: np.ndarray, cells: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Frames [nm], (n_frames, n_atoms, 3), each in the image whose centre is nearest to that of the frame before.

    Args:
        cells: [nm], (n_frames, 3, 3).
        place: Centre before the first frame [nm], (3,).
    """
    moved = positions.copy()
    for xyz, cell in zip(moved, cells, strict=True):
        offset = xyz.mean(axis=0) - place
        xyz += find_nearest_image(offset, cell) - offset
        place = xyz.mean(axis=0)
    return moved


class LigandImage:
    """Brings ligand positions to the image that is whole and nearest to the pose.

    Args:
        ligand: Its bonds make it whole, its pose is next to the protein.

    Attributes:
        children, parents: Atoms of the tree of bonds, int64, (n_atoms - 1,).
        paths: 1 where a bond of the tree lies between the first atom and another, (n_atoms, n_atoms - 1).
    """

    def __init__(self, ligand: "Ligand") -> None:
        tree = span_edges(ligand.n_atoms, ligand.bonds)
        self.children, self.parents = tree.children, tree.parents
        self.paths = np.zeros((ligand.n_atoms, len(tree.children)))
        for k, (atom, parent) in enumerate(zip(tree.children, tree.parents, strict=True)):
            self.paths[atom] = self.paths[parent]
            self.paths[atom, k] = 1.0
        self._centre = ligand.positions.mean(axis=0)

    def restore(self, positions: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Positions [nm], (n_atoms, 3), moved by multiples of the box vectors [nm], (3, 3)."""
        bonds = positions[self.children] - positions[self.parents]
        whole = positions[0] + self.paths @ shift_to_nearest_image(bonds, box)
        offset = whole.mean(axis=0) - self._centre
        return np.asarray(whole + (shift_to_nearest_image(offset, box) - offset))


def bring_ligand_to_protein(complex_: "Complex") -> "Complex":
    """The complex with its ligand in the periodic image that has most CA atoms within 1 nm.

    Unchanged where the topology has no box or the ligand is in the best image already.
    """
    box = read_box(complex_.topology)
    if box is None:
        return complex_
    ligand, ca = complex_.ligand, complex_.protein.backbone[:, 1]
    shifts = _NEIGHBOURS @ box
    contacts = [_count_contacts(ligand.positions + shift, ca) for shift in shifts]
    best = shifts[int(np.argmax(contacts))]
    if not best.any():
        return complex_
    positions = complex_.positions.copy()
    positions[np.concatenate([ligand.atom_indices, ligand.hydrogen_indices])] += best
    return replace(complex_, positions=positions, ligand=replace(ligand, positions=ligand.positions + best))


def read_box(topology: Any) -> np.ndarray | None:
    """Box vectors [nm], (3, 3), of an OpenMM topology; None where it has none."""
    vectors = None if topology is None else topology.getPeriodicBoxVectors()
    return None if vectors is None else np.array([list(v) for v in vectors._value], dtype=np.float64)


def _count_contacts(positions: np.ndarray, ca: np.ndarray) -> int:
    near = ca[np.linalg.norm(ca - positions.mean(axis=0), axis=1) < 10 * _POCKET_NM]
    return int(
        (np.linalg.norm(near[:, None] - positions[None], axis=-1).min(axis=1, initial=np.inf) < _POCKET_NM).sum()
    )
