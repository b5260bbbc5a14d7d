#!/usr/bin/env python3
"""Print what README and decision 4 say of the bundled SDE beside what `evaluate` and `compare` print.

python scripts/measure_4g3e.py [MODEL.pt]

64 runs of r2's length against all of r2, which no model was trained on; and how far bonds, angles, heights and lines
are from the ligand's shape (root mean square), in r1's training part and in snapshots of the model. Needs
../shared/data/4g3e.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from openmm_neuralmd.analysis.fluctuations import compute_rmsf, compute_wasserstein_distances
from openmm_neuralmd.analysis.metrics import compute_pair_distances, compute_rmsd
from openmm_neuralmd.data.trajectories import load_ligand_trajectory
from openmm_neuralmd.models.export import load_bundled_model, load_model
from openmm_neuralmd.molecule.complex import load_bundled_complex
from openmm_neuralmd.molecule.shape import Shape, build_shape, compute_shape_errors, separate_angles
from openmm_neuralmd.simulation.replicas import run_replicas
from openmm_neuralmd.units import ANGSTROM_PER_NM

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "4g3e"
N_RUNS, N_SNAPSHOTS = 64, 36  # 80 ps each: 2.88 ns, as long as r2
TRAINING = slice(0, 230)  # frames of r1, 8 ps apart


def measure_errors(snapshots: np.ndarray, shape: Shape, n_bonds: int) -> dict[str, float]:
    """Root mean square of what each kind is off [A]; snapshots [nm], (n, n_atoms, 3)."""
    errors, _ = compute_shape_errors(torch.from_numpy(snapshots.astype(np.float64)), shape)
    separated = separate_angles(errors.unsqueeze(-1), shape).squeeze(-1)
    is_bond = shape.angle_weights.abs().sum(1) == 0
    assert is_bond.sum() == n_bonds
    n_pairs, n_heights = len(shape.pairs), len(shape.quadruples)
    parts = {
        "bonds": separated[:, :n_pairs][:, is_bond],
        "angles, as distances": separated[:, :n_pairs][:, ~is_bond],
        "heights": separated[:, n_pairs : n_pairs + n_heights],
        "lines": separated[:, n_pairs + n_heights :],
    }
    return {name: ANGSTROM_PER_NM * part.square().mean().sqrt().item() for name, part in parts.items()}


def main() -> None:
    complex_ = load_bundled_complex()
    ligand = complex_.ligand
    model = load_model(sys.argv[1]) if len(sys.argv) > 1 else load_bundled_model("sde")
    r1, r2 = (
        load_ligand_trajectory(DATA / f"r{r}_ligand_backbone_8ps.dcd", DATA / "ligand_backbone.pdb", complex_).snapshots
        for r in (1, 2)
    )
    runs = run_replicas(complex_, model.bind(complex_), n_snapshots=N_SNAPSHOTS, seeds=range(N_RUNS))
    run = runs.reshape(-1, ligand.n_atoms, 3)
    print(f"model {model.sha256[:12]}, {N_RUNS} runs of {N_SNAPSHOTS} snapshots")

    pairs = np.stack(np.triu_indices(ligand.n_atoms, k=1), axis=1)
    for name, x in ((f"{N_RUNS} runs", run), ("r1", r1)):
        of_pairs = compute_wasserstein_distances(compute_pair_distances(x, pairs), compute_pair_distances(r2, pairs))
        of_rmsd = compute_wasserstein_distances(*(compute_rmsd(y, ligand.positions)[:, None] for y in (x, r2)))
        distances = f"W pairs {ANGSTROM_PER_NM * of_pairs.mean():.3f}, W RMSD {ANGSTROM_PER_NM * of_rmsd[0]:.3f}"
        print(f"{name} against r2: {distances}, RMSF {ANGSTROM_PER_NM * compute_rmsf(x).mean():.3f} A")

    shape = build_shape(ligand.geometry, ligand.bonds)
    found, expected = (measure_errors(x, shape, len(ligand.bonds)) for x in (run, r1[TRAINING]))
    for name in found:
        print(f"{name} off: run {found[name]:.3f}, r1 {expected[name]:.3f} A")


if __name__ == "__main__":
    main()
