"""The bundled models in long runs: whole, bound, and as mobile as the MD they learned from."""

import numpy as np
import pytest

from openmm_neuralmd.analysis.bundled import load_bundled_site, open_bundled_replica
from openmm_neuralmd.analysis.fluctuations import compute_rmsf
from openmm_neuralmd.analysis.metrics import compute_pair_distances, compute_rmsd
from openmm_neuralmd.analysis.observation import observe
from openmm_neuralmd.models.export import load_bundled_model
from openmm_neuralmd.molecule.complex import load_bundled_complex
from openmm_neuralmd.simulation.replicas import run_replicas

pytestmark = pytest.mark.physics


@pytest.fixture(scope="module")
def replicas() -> list[np.ndarray]:
    """Ligand positions of r1 and r2 [nm], (36, n_atoms, 3), superposed on the pocket as in training."""
    site = load_bundled_site()
    return [observe(open_bundled_replica(name), site).positions.astype(np.float64) for name in ("r1", "r2")]


@pytest.mark.parametrize("kind", ["ode", "sde"])
def test_stays_bound_and_whole_for_1000_snapshots(kind, replicas):
    """80 ns from eight MD poses of both replicas: finite, within 3 A of the pose, bonds within 0.2 A of their means."""
    complex_ = load_bundled_complex()
    ligand = complex_.ligand
    starts = np.concatenate([r[::9] for r in replicas])
    paths = run_replicas(
        complex_, load_bundled_model(kind).bind(complex_), n_snapshots=1000, seeds=range(len(starts)), starts=starts
    ).swapaxes(0, 1)
    assert paths.shape == (8, 1000, ligand.n_atoms, 3)
    assert np.isfinite(paths).all()
    expected = compute_pair_distances(ligand.geometry[None], ligand.bonds)
    for path in paths:
        assert np.abs(compute_pair_distances(path, ligand.bonds) - expected).max() < 0.02
        assert compute_rmsd(path, ligand.positions).max() < 0.3


def test_langevin_model_is_as_mobile_as_md(replicas):
    """RMSF over sixteen runs of 24 ns within 15 % of r1's; one run may sit in one rotamer, so many are pooled."""
    complex_ = load_bundled_complex()
    paths = run_replicas(complex_, load_bundled_model("sde").bind(complex_), n_snapshots=300, seeds=range(16))
    expected = compute_rmsf(replicas[0]).mean()
    assert compute_rmsf(paths.reshape(-1, *paths.shape[2:])).mean() == pytest.approx(expected, rel=0.15)
