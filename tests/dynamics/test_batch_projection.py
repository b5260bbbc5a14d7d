"""The bond projection in torch gives what the one in numpy gives, replica by replica, on any device."""

import numpy as np
import pytest
import torch

from openmm_neuralmd.dynamics import batch_projection, projection
from openmm_neuralmd.dynamics.batch_projection import Projection
from openmm_neuralmd.dynamics.projection import BondProjection
from openmm_neuralmd.errors import InputError, NonFiniteStateError, ProjectionError
from openmm_neuralmd.molecule.complex import Ligand
from tests.helpers import CHIRAL_ALKYNE, EXACT_A, displace, make_complex


def make_batch(ligand: Ligand, *, worst: float = 2.0) -> np.ndarray:
    """Replicas in place, a little displaced, and far [nm], and the mirror image of one."""
    moved = [displace(ligand.geometry, rms / 10, seed=s) for rms in (0.0, 0.1, 0.3, 1.0, worst) for s in range(4)]
    return np.stack([*moved, moved[5] * [1.0, 1.0, -1.0]])


@pytest.mark.parametrize("n_blind", [1, 8])
def test_torch_agrees_with_numpy(ligand: Ligand, n_blind: int) -> None:
    """Rings, lines, chirality, the guided path, and replicas that stay where they are."""
    batch = make_batch(ligand)
    expected, iterations, errors = BondProjection(ligand).project_each(batch)
    found, failed = Projection(ligand).project_tensors(torch.from_numpy(batch), n_blind=n_blind)
    assert errors == failed == {}
    assert 10 * np.abs(found.numpy() - expected).max() < EXACT_A
    assert np.array_equal(found[iterations == 0].numpy(), batch[iterations == 0])
    assert iterations.min() == 0
    assert iterations.max() > 1


@pytest.fixture(params=["numpy", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Either way of the one call, on the CPU."""
    if request.param == "torch":
        monkeypatch.setattr(batch_projection, "ARRAYS_ON", ())
    return request.param


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_is_kept_and_the_computation_is_in_double(way: str, dtype: torch.dtype) -> None:
    ligand = make_complex(CHIRAL_ALKYNE).ligand
    batch = 10.0 * torch.from_numpy(make_batch(ligand, worst=0.5)).to(dtype)
    found = Projection(ligand)(batch)
    expected, _ = BondProjection(ligand).project(0.1 * batch.double().numpy())
    assert found.positions.dtype == dtype
    rounding = {torch.float32: 1e-6, torch.float64: EXACT_A}[dtype]
    assert np.abs(found.positions.double().numpy() - 10.0 * expected).max() < rounding


def test_replicas_that_fail_stay_and_take_no_other_along(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One has no number, one infinity, one has exploded, one cannot be reached in one iteration."""
    monkeypatch.setattr(projection, "MAX_ITERATIONS", 1)
    ligand = make_complex(CHIRAL_ALKYNE).ligand
    near = np.stack([displace(ligand.geometry, 1e-4, seed=s) for s in range(3)])
    bad = np.stack([ligand.geometry] * 4)
    bad[0, 1, 2], bad[1, 0, 0], bad[2, 3] = np.nan, np.inf, 1e6
    bad[3] = displace(ligand.geometry, 0.5, seed=1)
    batch = 10.0 * torch.from_numpy(np.concatenate([bad, near]))
    found = Projection(ligand)(batch)
    assert {k: type(error) for k, error in found.errors.items()} == {
        0: NonFiniteStateError, 1: NonFiniteStateError, 2: ProjectionError, 3: ProjectionError}  # fmt: skip
    assert "force is too large" in str(found.errors[2])
    assert "steps per snapshot" in str(found.errors[3])
    assert torch.equal(torch.isnan(found.positions[:4]), torch.isnan(batch[:4]))
    np.testing.assert_allclose(found.positions[2:4], batch[2:4], rtol=1e-15)
    alone = BondProjection(ligand).project(near)[0]
    assert np.abs(found.positions[4:].numpy() - 10.0 * alone).max() < EXACT_A


def test_gradients_are_refused(way: str) -> None:
    ligand = make_complex("CCO").ligand
    x = torch.from_numpy(10.0 * ligand.geometry)[None].requires_grad_()
    with pytest.raises(InputError, match=r"constraints\.settle"):
        Projection(ligand)(x)
    with torch.no_grad():
        assert not Projection(ligand)(x).positions.requires_grad


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_agrees_with_the_cpu(ligand: Ligand) -> None:
    batch = 10.0 * torch.from_numpy(make_batch(ligand))
    chosen = Projection(ligand)
    expected, found = chosen(batch), chosen(batch.cuda())
    assert found.positions.is_cuda
    assert (found.positions.cpu() - expected.positions).abs().max() < EXACT_A
