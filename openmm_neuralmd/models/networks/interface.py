"""What networks take and give: tensors by name, with their shapes.

They are named tuples, because ``torch.jit.script`` compiles those. Lengths are in angstrom, masses in Da, times in
snapshots.
N is the number of ligand atoms, M of residues, T of torsions, R of replicas, H of hidden channels.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from openmm_neuralmd.molecule.chemistry import compute_bond_separation
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.molecule.shape import Shape, build_shape
from openmm_neuralmd.units import ANGSTROM_PER_NM

MAX_ATOMIC_NUMBER = 53  # H to I; heavier atoms share one embedding
N_ELEMENTS = MAX_ATOMIC_NUMBER + 2  # index 0 is never used, the last is "other"
POCKET_MARGIN = 2.0  # [A] beyond the pocket cutoff, for the residues whose centroid eq. 5 uses


class LigandGraph(NamedTuple):
    """The flexible ligand, without its positions."""

    elements: Tensor  # int64, (N,): atomic number, MAX_ATOMIC_NUMBER + 1 for heavier ones
    masses: Tensor  # [Da], (N,)
    separation: Tensor  # int64, (N, N): bonds between atoms, see chemistry.compute_bond_separation
    torsion_axes: Tensor  # int64, (T, 2)
    torsion_sides: Tensor  # (T, N): 1 for the atoms that turn
    shape: Shape  # [A]: bonds and angles to keep

    def to(self, device: torch.device) -> "LigandGraph":
        """The same on a device."""
        moved: dict[str, Any] = {name: value.to(device) for name, value in self._asdict().items() if name != "shape"}
        return LigandGraph(**moved, shape=Shape(*(value.to(device) for value in self.shape)))


class ProteinStructure(NamedTuple):
    """The rigid protein."""

    residue_types: Tensor  # int64, (M,)
    backbone: Tensor  # N, CA, C [A], (M, 3, 3)
    is_linked: Tensor  # bool, (M,): residue i + 1 follows in the chain
    pocket_centroid: Tensor  # [A], (3,)


class ProteinEmbedding(NamedTuple):
    """What the protein network makes of it, once per structure."""

    ca: Tensor  # [A], (M, 3)
    frames: Tensor  # residue-level vector frames, (M, 3, 3)
    features: Tensor  # h_k, (M, H)


def build_ligand_graph(complex_: Complex, dtype: torch.dtype = torch.float32) -> LigandGraph:
    """The ligand's graph as tensors, masses those of the elements."""
    ligand = complex_.ligand
    axes, sides = ligand.find_torsions()
    return LigandGraph(
        elements=torch.from_numpy(np.minimum(ligand.atomic_numbers, MAX_ATOMIC_NUMBER + 1)),
        masses=torch.from_numpy(ligand.masses).to(dtype),
        separation=torch.from_numpy(compute_bond_separation(ligand.n_atoms, ligand.bonds)),
        torsion_axes=torch.from_numpy(axes),
        torsion_sides=torch.from_numpy(sides).to(dtype),
        shape=build_shape(ligand.geometry, ligand.bonds).convert(ANGSTROM_PER_NM, dtype),
    )


def build_protein_structure(
    complex_: Complex, *, pocket_cutoff: float, dtype: torch.dtype = torch.float32
) -> ProteinStructure:
    """The protein as tensors; the pocket's centroid is that of the CA atoms near the ligand's pose.

    Args:
        pocket_cutoff: Of the interaction network [A].
    """
    protein = complex_.protein
    backbone = protein.backbone * ANGSTROM_PER_NM
    pose = complex_.ligand.positions * ANGSTROM_PER_NM
    distances = np.linalg.norm(backbone[:, None, 1] - pose[None], axis=-1).min(1)
    pocket = distances <= max(pocket_cutoff + POCKET_MARGIN, distances.min())
    return ProteinStructure(
        residue_types=torch.from_numpy(protein.residue_types),
        backbone=torch.from_numpy(backbone).to(dtype),
        is_linked=torch.from_numpy(protein.is_linked),
        pocket_centroid=torch.from_numpy(backbone[pocket, 1].mean(0)).to(dtype),
    )
