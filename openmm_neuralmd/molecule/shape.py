"""What holds a ligand in shape: bonds and 1-3 distances, written so that no gradient vanishes; theory, section 3.

Distances alone would not do. Where atoms lie in a line or in a plane, they change only with the square of a
displacement out of it, so a projection would converge slowly, to a point that rounding decides. To first order the
shape is held by

    distances   |x_i - x_j| - d            of bonds, and of 1-3 pairs that are not the ends of a line
    heights     r_1 . (r_2 x r_3) / A - h  of an atom above the plane of three others: of each centre with three
                                           neighbours or more, which fixes its chirality, and around nearly flat rings
    lines       x_b - (1 - w) x_a - w x_c  three components for each straight a-b-c

with d, h and w from the ligand's geometry, and A twice the area of the three atoms' triangle there. Heights and lines
say nothing that bonds and 1-3 distances do not, except for the sign of a height: it tells a centre from its mirror
image, and the two sides to which a small or nearly flat ring may pucker. Larger rings that pucker have distances only.
"""

from collections.abc import Sequence
from typing import NamedTuple, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from openmm_neuralmd.molecule.chemistry import build_graph, find_constrained_pairs, find_lines, list_neighbours
from openmm_neuralmd.molecule.superposition import compute_superposed_rmsd

_FLAT_CENTRE_NM = 0.02  # height of a centre above its neighbours that makes it flat; 0.05 for a tetrahedral carbon
_FLAT_RING_NM = 0.04  # height of an aromatic ring's atom that makes it flat; a torsion of about 20 degrees
_HELD_RING_NM = 0.02  # of any ring that heights hold
_SMALL_RING = 5  # atoms; bonds and angles are more than its internal motions
_LEAST_AREA_NM2 = 0.002  # of a triangle that has a plane; 0.03 in a ring of six
_STRAIGHT_COSINE = -0.99999  # angle of a line, above 179.7 degrees
_STIFFNESS = 1e6  # of what is made flat or straight, for 1 of a distance: S of theory (3.9)
_DAMPING = 1e-4  # holds what no constraint holds, torsions: lambda of theory (3.9)
_MAX_ITERATIONS = 50  # of the fit; four are usual
_CONVERGED_NM = 1e-9  # longest move of a coordinate in the last iteration; formats of files hold 1e-4 nm or so
_LARGEST_CHANGE_NM = 0.01  # of a distance by idealizing; more says that the molecule is strained
_LARGEST_RMSD_NM = 0.04  # of all atoms by being made flat; more says so too


class Shape(NamedTuple):
    """A ligand's distances, heights and lines, in the unit of length of its geometry; P, Q and L are their numbers.

    The first six fields are the shape itself. Heads, tails, slots and blocks are tables for ``compute_shape_errors``:
    which atoms to subtract from which (see ``_list_differences``), and where the gradients' blocks belong in a matrix
    of (constraint, atom).
    """

    pairs: Tensor  # int64, (P, 2)
    distances: Tensor  # (P,)
    quadruples: Tensor  # int64, (Q, 4): an atom, and those whose plane it stands above
    heights: Tensor  # (Q,)
    areas: Tensor  # (Q,)
    lines: Tensor  # int64, (L, 3)
    heads: Tensor  # int64, (P + 7 Q,)
    tails: Tensor  # int64, (P + 7 Q,)
    slots: Tensor  # int64, (2 P + 4 Q + 9 L,)
    line_weights: Tensor  # (L, 3): w - 1, 1, -w
    angle_bonds: Tensor  # int64, (P, 2): the pairs that are the bonds of a 1-3 pair's angle
    angle_weights: Tensor  # (P, 2): how much the 1-3 distance changes with each at a constant angle; 0 for bonds
    line_blocks: Tensor  # (9 L, 3)

    def convert(self, factor: float, dtype: torch.dtype) -> "Shape":
        """The same in a unit of length that the factor converts to, and in another precision."""
        return self._replace(
            distances=(factor * self.distances).to(dtype),
            heights=(factor * self.heights).to(dtype),
            areas=(factor**2 * self.areas).to(dtype),
            line_weights=self.line_weights.to(dtype),
            line_blocks=self.line_blocks.to(dtype),
            angle_weights=self.angle_weights.to(dtype),
        )


def build_shape(geometry: np.ndarray, bonds: np.ndarray) -> Shape:
    """The shape of a geometry, in float64.

    Args:
        geometry: [nm], (n_atoms, 3); see ``idealize_geometry``.
        bonds: Atom pairs, int64, (n_bonds, 2).
    """
    xyz = torch.from_numpy(np.array(geometry, dtype=np.float64))
    lines = find_lines(geometry, bonds)
    a, b, c = (xyz[atoms] for atoms in lines.T)
    cosines = (nn.functional.normalize(a - b, dim=-1) * nn.functional.normalize(c - b, dim=-1)).sum(-1)
    lines = lines[(cosines < _STRAIGHT_COSINE).numpy()]  # a bent one has its 1-3 distance
    return _measure_shape(xyz, bonds, lines, [ring for ring in _list_rings(xyz, bonds) if _is_held(xyz, ring)])


def _measure_shape(xyz: Tensor, bonds: np.ndarray, lines: np.ndarray, rings: Sequence[Tensor]) -> Shape:
    """The shape with these lines, int64, (L, 3), and the heights of centres and of these rings' quadruples."""
    ends = {(min(a, c), max(a, c)) for a, _, c in lines.tolist()}
    kept = [pair for pair in find_constrained_pairs(len(xyz), bonds).tolist() if tuple(pair) not in ends]
    pairs = torch.tensor(kept, dtype=torch.int64).reshape(-1, 2)
    quadruples = torch.cat([_list_centres(xyz, bonds), *rings])
    return _tabulate(xyz, bonds, pairs, quadruples, torch.from_numpy(lines))


def _tabulate(xyz: Tensor, bonds: np.ndarray, pairs: Tensor, quadruples: Tensor, lines: Tensor) -> Shape:
    """The shape with these constraints, their sizes measured and the computation's tables laid out."""
    heights, areas = _measure_heights(xyz, quadruples)
    line_weights = _weigh_lines(xyz, lines)
    angle_bonds, angle_weights = _list_angles(xyz, pairs, bonds)
    heads, tails = _list_differences(pairs, quadruples)
    identity = torch.eye(3, dtype=xyz.dtype)
    return Shape(
        pairs=pairs,
        distances=(xyz[pairs[:, 0]] - xyz[pairs[:, 1]]).norm(dim=-1),
        quadruples=quadruples,
        heights=heights,
        areas=areas,
        lines=lines,
        heads=heads,
        tails=tails,
        slots=_list_slots(len(xyz), pairs, quadruples, lines),
        line_weights=line_weights,
        angle_bonds=angle_bonds,
        angle_weights=angle_weights,
        line_blocks=(line_weights[:, None, :, None] * identity[:, None]).reshape(-1, 3),
    )


def _measure_heights(xyz: Tensor, quadruples: Tensor) -> Tuple[Tensor, Tensor]:
    """Heights and areas, both (Q,); theory (3.2) and (3.3)."""
    arms = xyz[quadruples[:, 1:]] - xyz[quadruples[:, :1]]  # r_1, r_2, r_3
    normals = torch.linalg.cross(arms.roll(-1, 1), arms.roll(-2, 1))  # r_2 x r_3, r_3 x r_1, r_1 x r_2
    areas = normals.sum(1).norm(dim=-1)
    return (arms[:, 0] * normals[:, 0]).sum(-1) / areas, areas


def _weigh_lines(xyz: Tensor, lines: Tensor) -> Tensor:
    """w - 1, 1, -w for the atoms a, b, c of each line, (L, 3); theory (3.4)."""
    lengths = (xyz[lines[:, ::2]] - xyz[lines[:, 1:2]]).norm(dim=-1)  # of a-b and c-b
    w = lengths[:, 0] / lengths.sum(1)
    return torch.stack([w - 1.0, torch.ones_like(w), -w], dim=1)


def _list_differences(pairs: Tensor, quadruples: Tensor) -> Tuple[Tensor, Tensor]:
    """Heads and tails, (P + 7 Q,) each: x[heads] - x[tails] are the pairs' differences, and then the arms

        r_1  |  r_2, r_3, r_1  |  r_3, r_1, r_2

    of all heights, each of the seven (Q,). The second group crossed with the third gives the normals (3.3).
    """
    first, second = pairs.t()
    zero, one, two, three = quadruples.t()
    heads = torch.cat([first, one, two, three, one, three, one, two])
    return heads, torch.cat([second, zero.repeat(7)])


def _list_slots(n_atoms: int, pairs: Tensor, quadruples: Tensor, lines: Tensor) -> Tensor:
    """Where the blocks of the gradients belong, (2 P + 4 Q + 9 L,), in the order that ``compute_shape_errors`` has.

    A block is the derivative of one constraint by one atom, and its slot is constraint * n_atoms + atom.
    """
    numbers = [len(pairs), len(quadruples), 3 * len(lines)]
    of_pairs, of_heights, of_lines = (n_atoms * torch.arange(sum(numbers))).split(numbers)
    slots = [of_pairs + atoms for atoms in pairs.t()]
    slots += [of_heights + atoms for atoms in quadruples.t()]
    slots.append((of_lines.reshape(-1, 3, 1) + lines.unsqueeze(1)).flatten())  # three components, each by three atoms
    return torch.cat(slots)


def compute_shape_errors(positions: Tensor, shape: Shape) -> Tuple[Tensor, Tensor]:
    """What distances, heights and lines are off, (R, P + Q + 3 L), and the gradients, (R, P + Q + 3 L, 3 N).

    Theory (3.1), (3.2), (3.4) and, for the gradients, (3.5) and (3.6):

        u            directions of pairs               units     (R, P, 3)
        r_1          first arms of heights             arm       (R, Q, 3)
        n_k / A      normals of heights                normals   (R, 3, Q, 3)

    Args:
        positions: (R, N, 3).
    """
    n_replicas, n_atoms, _ = positions.shape
    n_pairs, n_heights = shape.distances.shape[0], shape.heights.shape[0]
    differences = positions.index_select(1, shape.heads) - positions.index_select(1, shape.tails)
    apart, arm, following, last = differences.split([n_pairs, n_heights, 3 * n_heights, 3 * n_heights], dim=1)

    length = torch.sqrt((apart * apart).sum(-1) + 1e-24)  # no pair is as near as 1e-12, and none divides by zero
    units = apart / length.unsqueeze(-1)
    normals = torch.linalg.cross(following, last).reshape(n_replicas, 3, n_heights, 3) / shape.areas[:, None]
    height = (arm * normals[:, 0]).sum(-1)
    line = (positions[:, shape.lines] * shape.line_weights.unsqueeze(2)).sum(2).flatten(1)
    errors = torch.cat([length - shape.distances, height - shape.heights, line], dim=1)

    by_pairs = [units, -units]
    by_heights = [-normals.sum(1), normals.flatten(1, 2)]
    by_lines = [shape.line_blocks.expand(n_replicas, -1, -1)]
    blocks = torch.cat(by_pairs + by_heights + by_lines, dim=1)
    gradients = torch.zeros(n_replicas, errors.shape[1] * n_atoms, 3, dtype=units.dtype, device=units.device)
    gradients = gradients.index_copy(1, shape.slots, blocks)  # in place, nothing would be frozen
    return errors, gradients.reshape(n_replicas, errors.shape[1], 3 * n_atoms)


def separate_angles(rows: Tensor, shape: Shape) -> Tensor:
    """Errors or gradients, (R, P + Q + 3 L, n), with angles in place of 1-3 distances: less what the bonds change.

    Theory (3.8).
    """
    n_pairs = shape.distances.shape[0]
    pairs = rows[:, :n_pairs]
    first, second = shape.angle_bonds[:, 0], shape.angle_bonds[:, 1]
    pairs = pairs - shape.angle_weights[:, :1] * rows.index_select(1, first)
    pairs = pairs - shape.angle_weights[:, 1:] * rows.index_select(1, second)
    return torch.cat([pairs, rows[:, n_pairs:]], dim=1)


def idealize_geometry(geometry: np.ndarray, bonds: np.ndarray, orders: Sequence[float] | None = None) -> np.ndarray:
    """The geometry with its nearly straight lines straight, its sp2 centres and aromatic rings flat [nm], (n_atoms, 3).

    Bends and puckers of a few degrees are the vibration of a single frame. Kept, a bend would be one more torsion, a
    very fast one, and a pucker a bias. Distances change little (0.003 A for a bend of 6 degrees). A strained molecule
    (a cyclic alkyne, a helicene) keeps bends that are its own: nothing is made straight or flat that would change a
    distance by 0.1 A, nothing flat that would move atoms by 0.4 A (root mean square).

    Args:
        geometry: [nm], (n_atoms, 3).
        bonds: Atom pairs, int64, (n_bonds, 2).
        orders: Bond orders (1.5 for aromatic), which tell sp2 centres; None where unknown: nothing is made flat then,
            because nitrogen between flat and pyramidal looks alike.
    """
    xyz = torch.from_numpy(np.array(geometry, dtype=np.float64))
    is_sp2 = _find_sp2(len(geometry), bonds, orders)
    rings = [ring for ring in _list_rings(xyz, bonds) if _is_held(xyz, ring) or _is_nearly_flat(xyz, ring, is_sp2)]
    shape = _measure_shape(xyz, bonds, find_lines(geometry, bonds), rings)
    ideal = xyz.numpy()

    straight = _fit_straight_and_flat(geometry, shape, torch.zeros(len(shape.heights), dtype=torch.bool))
    if not _is_acceptable(straight, geometry, shape):
        return ideal
    is_flat = _choose_flat(shape, is_sp2, n_in_rings=sum(map(len, rings)))
    flat = _fit_straight_and_flat(geometry, shape, is_flat)
    if not _is_acceptable(flat, geometry, shape):
        return straight
    if is_flat.any() and compute_superposed_rmsd(flat, straight) > _LARGEST_RMSD_NM:
        return straight
    return flat


def _find_sp2(n_atoms: int, bonds: np.ndarray, orders: Sequence[float] | None) -> Tensor:
    """Whether an atom has a double or an aromatic bond, bool, (n_atoms,); of none where the orders are unknown."""
    is_sp2 = torch.zeros(n_atoms, dtype=torch.bool)
    if orders is not None:
        is_sp2[bonds[np.isin(orders, (1.5, 2.0))].flatten()] = True
    return is_sp2


def _is_nearly_flat(xyz: Tensor, ring: Tensor, is_sp2: Tensor) -> bool:
    """Whether a ring, int64, (n, 4), is of sp2 atoms only and no further from flat than one frame of MD may be."""
    return bool(is_sp2[ring].all() and (_measure_heights(xyz, ring)[0].abs() < _FLAT_RING_NM).all())


def _choose_flat(shape: Shape, is_sp2: Tensor, n_in_rings: int) -> Tensor:
    """Which heights to make zero, bool, (Q,): of sp2 centres that are nearly flat, and, last in the shape, of rings."""
    quadruples = shape.quadruples
    is_flat = is_sp2[quadruples[:, 0]] & (shape.heights.abs() < _FLAT_CENTRE_NM)
    first_in_ring = len(is_flat) - n_in_rings
    is_flat[first_in_ring:] = is_sp2[quadruples[first_in_ring:]].all(1)
    return is_flat


def _fit_straight_and_flat(geometry: np.ndarray, shape: Shape, is_flat: Tensor) -> np.ndarray:
    """The geometry with its lines straight and these heights, bool, (Q,), zero."""
    wanted = shape._replace(heights=torch.where(is_flat, 0.0, shape.heights))
    of_pairs = torch.zeros(len(shape.pairs), dtype=torch.bool)
    of_lines = torch.ones(3 * len(shape.lines), dtype=torch.bool)
    return fit_geometry(geometry, wanted, torch.cat([of_pairs, is_flat, of_lines]))


def _is_acceptable(fitted: np.ndarray, geometry: np.ndarray, shape: Shape) -> bool:
    """Whether a fit converged and left every distance nearly as it was."""
    if not np.isfinite(fitted).all():
        return False
    return _compare_distances(fitted, geometry, shape.pairs.numpy()) <= _LARGEST_CHANGE_NM


def _compare_distances(first: np.ndarray, second: np.ndarray, pairs: np.ndarray) -> float:
    a, b = (np.linalg.norm(x[pairs[:, 0]] - x[pairs[:, 1]], axis=1) for x in (first, second))
    return float(np.abs(a - b).max(initial=0.0))


def fit_geometry(geometry: np.ndarray, shape: Shape, is_stiff: Tensor) -> np.ndarray:
    """The geometry [nm], (n_atoms, 3), nearest in least squares to a shape that need not exist; torsions hardly change.

    Repeats the step of theory (3.9).

    Args:
        geometry: To start from [nm], (n_atoms, 3).
        shape: What to come near.
        is_stiff: Which of distances, heights and lines to meet at the cost of others, bool, (P + Q + 3 L,).

    Returns:
        NaN where the fit does not converge.
    """
    x = torch.from_numpy(np.array(geometry, dtype=np.float64))
    stiffness = torch.where(is_stiff, _STIFFNESS, 1.0).to(x.dtype)
    damping = _DAMPING * torch.eye(x.numel(), dtype=x.dtype)
    for _ in range(_MAX_ITERATIONS):
        errors, gradients = (values[0] for values in compute_shape_errors(x[None], shape))
        weighted = gradients.t() * stiffness
        move, failed = torch.linalg.solve_ex(weighted @ gradients + damping, weighted @ errors)
        x = x - move.reshape(x.shape)
        if failed or not torch.isfinite(x).all():
            return np.full(x.shape, np.nan)
        if move.abs().max() < _CONVERGED_NM:
            return x.numpy()
    return np.full(x.shape, np.nan)


def _list_angles(xyz: Tensor, pairs: Tensor, bonds: np.ndarray) -> Tuple[Tensor, Tensor]:
    """For each 1-3 pair its two bonds as indices of pairs, and the derivatives of its distance by their lengths.

    Theory (3.7).

    Across a ring of four, where it has two angles, those of the atom that comes first.
    """
    index = {frozenset(pair): k for k, pair in enumerate(pairs.tolist())}
    neighbours = [set(found) for found in list_neighbours(len(xyz), bonds)]
    angles = [
        (k, a, min(neighbours[a] & neighbours[c]), c)
        for k, (a, c) in enumerate(pairs.tolist())
        if c not in neighbours[a]
    ]
    rows, a, b, c = torch.tensor(angles, dtype=torch.int64).reshape(-1, 4).t()
    angle_bonds = torch.zeros(len(pairs), 2, dtype=torch.int64)
    between = [[index[frozenset((i, j))], index[frozenset((k, j))]] for _, i, j, k in angles]
    angle_bonds[rows] = torch.tensor(between, dtype=torch.int64).reshape(-1, 2)
    arms = torch.stack([xyz[a] - xyz[b], xyz[c] - xyz[b]], dim=1)
    across = nn.functional.normalize(arms[:, 1] - arms[:, 0], dim=-1).unsqueeze(1)  # from a to c: e of the equation
    sides = torch.tensor([-1.0, 1.0], dtype=xyz.dtype)
    weights = torch.zeros(len(pairs), 2, dtype=xyz.dtype)
    weights[rows] = (across * nn.functional.normalize(arms, dim=-1)).sum(-1) * sides
    return angle_bonds, weights


def _list_centres(xyz: Tensor, bonds: np.ndarray) -> Tensor:
    """Atoms with three neighbours or more, and three of those, int64, (n_centres, 4)."""
    neighbours = list_neighbours(len(xyz), bonds)
    centres = [[atom, *sorted(found)[:3]] for atom, found in enumerate(neighbours) if len(found) >= 3]
    return _keep_planes(xyz, torch.tensor(centres, dtype=torch.int64).reshape(-1, 4))


def _keep_planes(xyz: Tensor, quadruples: Tensor) -> Tensor:
    """Those whose last three atoms span a plane; beside a line in a ring they do not."""
    return quadruples[_measure_heights(xyz, quadruples)[1] > _LEAST_AREA_NM2]


def _is_held(xyz: Tensor, ring: Tensor) -> bool:
    """Whether bonds and angles leave a ring nothing but the side it puckers to, or hardly more."""
    return len(ring) <= _SMALL_RING or bool((_measure_heights(xyz, ring)[0].abs() < _HELD_RING_NM).all())


def _list_rings(xyz: Tensor, bonds: np.ndarray) -> list[Tensor]:
    """For each ring of more than three atoms four successive ones, from each on, the second first, int64, (n, 4)."""
    found = []
    graph = build_graph(np.zeros(len(xyz), dtype=np.int64), bonds)  # named, or its rings would outlive it
    for ring in graph.GetRingInfo().AtomRings():
        if len(ring) > 3:
            quadruples = torch.stack([torch.tensor(ring).roll(-k) for k in (1, 0, 2, 3)], dim=1)
            found.append(_keep_planes(xyz, quadruples))
    return found
