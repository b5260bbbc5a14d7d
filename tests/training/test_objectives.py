"""Likelihood, displaced inputs and windows against numbers known otherwise."""

import numpy as np
import pytest
import torch

from openmm_neuralmd.data.trajectories import LigandTrajectory
from openmm_neuralmd.data.windows import build_windows, split_in_time
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.models.losses.likelihood import compute_negative_log_likelihood
from openmm_neuralmd.models.losses.perturbation import DISPLACEMENT, perturb
from openmm_neuralmd.models.networks.interface import build_ligand_graph
from openmm_neuralmd.molecule.complex import load_bundled_complex


def make_trajectory(n_frames: int = 40) -> LigandTrajectory:
    """Frame t holds the number t everywhere, so that a window shows its own frames."""
    return LigandTrajectory(np.arange(n_frames)[:, None, None] * np.ones((n_frames, 2, 3)), 8.0, "count", "")


def test_likelihood_is_that_of_torch_distributions():
    generator = torch.Generator().manual_seed(0)
    factor = torch.randn(4, 6, 6, generator=generator, dtype=torch.float64).tril(-1) + 2.0 * torch.eye(6)
    residual = torch.randn(4, 2, 3, generator=generator, dtype=torch.float64)
    expected = torch.distributions.MultivariateNormal(torch.zeros(6, dtype=torch.float64), scale_tril=factor)
    torch.testing.assert_close(
        compute_negative_log_likelihood(residual, factor), -expected.log_prob(residual.flatten(1)) / 6
    )


def test_windows_are_one_lag_apart():
    windows = build_windows(make_trajectory(), start=5, stop=40, snapshot_interval=80.0)
    assert windows.shape == (15, 3, 2, 3)
    np.testing.assert_array_equal(windows[0, :, 0, 0] / 10.0, [5, 15, 25])
    assert windows.max() / 10.0 == 39


def test_split_keeps_the_test_part_out():
    split = split_in_time(360, split=0.8)
    assert (split.validation, split.test, split.end) == (230, 288, 360)
    last = build_windows(make_trajectory(360), start=split.validation, stop=split.test, snapshot_interval=80.0)
    assert last.max() / 10.0 == 287


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: build_windows(make_trajectory(20), start=0, stop=20, snapshot_interval=80.0), "too few"),
        (lambda: build_windows(make_trajectory(), start=0, stop=40, snapshot_interval=81.0), "multiple"),
        (lambda: split_in_time(100, split=1.5), "between 0 and 1"),
    ],
)
def test_bad_windows(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_displacements_keep_bonds():
    """Rigid motion and torsions are finite and exact; only the small free motion changes a bond."""
    bundled = load_bundled_complex()
    graph = build_ligand_graph(bundled, torch.float64)
    pose = torch.from_numpy(bundled.ligand.positions * 10.0).expand(200, -1, -1)
    moved = perturb(pose, graph, torch.Generator().manual_seed(0))
    bonds = torch.from_numpy(bundled.ligand.bonds)

    def lengths(x):
        return (x[:, bonds[:, 0]] - x[:, bonds[:, 1]]).norm(dim=-1)

    change = (lengths(moved) - lengths(pose)).square().mean().sqrt()
    assert change < 1.2 * DISPLACEMENT * 2**0.5
    assert (moved - pose).square().sum(-1).mean().sqrt() > 0.5
