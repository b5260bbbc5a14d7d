"""Pair vectors, vector frames and radial functions; everything here compiles with torch.jit.script.

All vectors come from differences of positions, so translations drop out and rotations act linearly. A vector frame
is three vectors, stored as rows of (..., 3, 3); where the geometry degenerates its axes shrink to zero smoothly.
"""

import math
from typing import Tuple

import torch
from torch import Tensor

# Softness values are arguments with defaults because compiled functions cannot read module constants:
# 1e-6 [A^2] keeps square roots differentiable at zero and is far below any squared distance here;
# 0.1 [A^4] makes cross products well below 0.3 A^2 count as collinear.


def compute_norm(vectors: Tensor, softness: float = 1e-6) -> Tensor:
    """Length along the last axis, differentiable at zero: sqrt(v.v + softness) - sqrt(softness)."""
    return torch.sqrt((vectors * vectors).sum(-1) + softness) - math.sqrt(softness)


def compute_envelope(distances: Tensor, cutoff: float) -> Tensor:
    """Polynomial that is 1 at 0 and falls to 0 with zero slope and curvature at the cutoff; 0 beyond it.

    Source: u(d) with p = 6 of Gasteiger et al. (2020), eq. 8, arXiv:2003.03123; theory (2.4).
    """
    s = (distances / cutoff).clamp(max=1.0)
    s6 = s**6
    return 1.0 + s6 * (-28.0 + s * (48.0 - 21.0 * s))


def compute_radial_basis(distances: Tensor, cutoff: float, n_radial: int) -> Tensor:
    """Exponential-normal radial functions, (..., n_radial); no envelope.

    Source: Unke and Meuwly (2019), eq. 7, doi:10.1021/acs.jctc.9b00181: exp(-beta (e^(-5 d/cutoff) - mu_k)^2);
    theory (2.5).
    """
    lowest = math.exp(-5.0)
    centres = torch.linspace(lowest, 1.0, n_radial, dtype=distances.dtype, device=distances.device)
    beta = (2.0 / n_radial * (1.0 - lowest)) ** -2
    offset = torch.exp(-5.0 / cutoff * distances).unsqueeze(-1) - centres
    return torch.exp((-beta * (offset * offset)).clamp(min=-80.0))  # numbers below 1e-38 take five times as long


def soft_normalize(vectors: Tensor, softness: float = 1e-6) -> Tensor:
    """v / sqrt(v.v + softness): unit length for long vectors, zero for a zero vector, smooth between."""
    return vectors * torch.rsqrt((vectors * vectors).sum(-1, keepdim=True) + softness)


def build_pair_frames(units: Tensor, first: Tensor, second: Tensor, softness: float = 0.1) -> Tensor:
    """Atom-level vector frames (u, w, u x w) of atom pairs, (n_pairs, 3, 3).

    Args:
        units: u, unit vectors from the second to the first atom, (n_pairs, 3).
        first, second: Positions relative to the ligand's centroid [A], (n_pairs, 3); w is along first x second.

    Source: eq. 3 of Liu et al. (2025), doi:10.1038/s41467-025-67808-z, taken relative to the centroid so that it
    does not depend on the origin; where the cross product vanishes, w and u x w go to zero. Theory (2.1).
    """
    w = soft_normalize(torch.linalg.cross(first, second), softness)
    return torch.stack([units, w, torch.linalg.cross(units, w)], dim=-2)


def build_backbone_frames(backbone: Tensor) -> Tensor:
    """Orthonormal vector frames of residues from N - CA and C - CA by Gram-Schmidt, (n_residues, 3, 3).

    Args:
        backbone: N, CA, C [A], (n_residues, 3, 3).

    Source: eq. 4 of Liu et al. (2025), orthogonalized; theory (2.2).
    """
    toward_n = backbone[:, 0] - backbone[:, 1]
    toward_c = backbone[:, 2] - backbone[:, 1]
    return _orthogonalize(toward_n, toward_c)


def build_residue_frames(backbone: Tensor, is_linked: Tensor, centroid: Tensor, softness: float = 0.1) -> Tensor:
    """Residue-level vector frames, (n_residues, 3, 3), for protein-ligand pairs.

    First axis along CA_i - CA_(i+1), second along the cross product of the two relative to the pocket's centroid,
    third normal to both; from N, CA, C where the chain breaks or ends.

    Args:
        backbone: N, CA, C [A], (n_residues, 3, 3).
        is_linked: Whether residue i + 1 follows in the chain, bool, (n_residues,).
        centroid: Of the pocket's CA atoms [A], (3,).

    Source: eq. 5 of Liu et al. (2025); theory (2.3).
    """
    ca = backbone[:, 1]
    following = torch.cat([ca[1:], ca[-1:]])
    u = soft_normalize(ca - following)
    w = soft_normalize(torch.linalg.cross(ca - centroid, following - centroid), softness)
    paired = torch.stack([u, w, torch.linalg.cross(u, w)], dim=-2)
    return torch.where(is_linked[:, None, None], paired, build_backbone_frames(backbone))


def _orthogonalize(first: Tensor, second: Tensor) -> Tensor:
    u = soft_normalize(first)
    w = second - (second * u).sum(-1, keepdim=True) * u
    w = soft_normalize(w)
    return torch.stack([u, w, torch.linalg.cross(u, w)], dim=-2)


def find_pairs(first: Tensor, second: Tensor, cutoff: float, is_same: bool) -> Tuple[Tensor, Tensor, Tensor]:
    """Pairs closer than the cutoff, all replicas at once and none left out.

    Args:
        first: [A], (n_replicas, n_first, 3).
        second: [A], (n_replicas, n_second, 3), or (n_second, 3) where it is the same for every replica.
        cutoff: [A].
        is_same: True where both are the same atoms: an atom is then no pair with itself.

    Returns:
        Replica, first and second index of each pair, int64, (n_pairs,), sorted in that order.
    """
    squares = torch.zeros([], dtype=first.dtype, device=first.device)
    for k in range(3):  # one component at a time: no (..., 3) arrays to sum over
        difference = first[:, :, k].unsqueeze(2) - second[..., k].unsqueeze(-2)
        squares = squares + difference * difference
    near = squares < cutoff * cutoff
    if is_same:
        near = near & ~torch.eye(first.shape[1], dtype=torch.bool, device=first.device)
    index = near.nonzero()
    return index[:, 0], index[:, 1], index[:, 2]


def find_nearby(points: Tensor, positions: Tensor, cutoff: float) -> Tensor:
    """Points that may be closer than the cutoff to a position: those in the box around all positions.

    Args:
        points: [A], (n_points, 3).
        positions: [A], (n_replicas, n_atoms, 3).
        cutoff: [A].

    Returns:
        Their indices, int64, (n_nearby,), sorted.
    """
    x = torch.nan_to_num(positions.reshape(-1, 3))  # a replica that broke must not hide the points from the others
    inside = (points >= x.amin(0) - cutoff) & (points <= x.amax(0) + cutoff)
    return inside.all(1).nonzero().squeeze(1)
