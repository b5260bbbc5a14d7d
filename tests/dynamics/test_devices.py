"""A replica's path is the same alone and in a batch, on the CPU and on a GPU, in either precision."""

import pytest
import torch
from torch import Tensor

from openmm_neuralmd.dynamics.batch_projection import Projection
from openmm_neuralmd.dynamics.equation import Dynamics
from openmm_neuralmd.dynamics.noise import compute_words, draw_normals
from openmm_neuralmd.dynamics.propagator import propagate
from openmm_neuralmd.dynamics.scheme import find_schemes
from openmm_neuralmd.dynamics.stepped import Stepped
from openmm_neuralmd.molecule.complex import Ligand
from tests.helpers import CHIRAL_ALKYNE, make_complex

N_SNAPSHOTS = 20
APART_A = {torch.float64: 1e-8, torch.float32: 1e-4}
GPU = pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")])


@pytest.fixture(scope="module")
def ligand() -> Ligand:
    return make_complex(CHIRAL_ALKYNE).ligand


def make_stepped(ligand: Ligand, scheme: str) -> Stepped:
    """A harmonic well with multiplicative noise, bonds projected, snapshots that show a vibration."""
    centre = 10.0 * torch.from_numpy(ligand.geometry)
    n_noise = 3 * ligand.n_atoms if find_schemes()[scheme].takes_noise else 0

    def compute_acceleration(x: Tensor) -> Tensor:
        return 0.1 * (centre.to(x) - x)

    def compute_acceleration_and_noise(x: Tensor, xi: Tensor) -> tuple[Tensor, Tensor]:
        return compute_acceleration(x), 0.2 * (1.0 + 0.3 * torch.sin(x)) * xi.reshape(x.shape)

    def vibrate(x: Tensor, normals: Tensor) -> Tensor:
        return 0.03 * normals.reshape(x.shape)

    dynamics = Dynamics(
        compute_acceleration, compute_acceleration_and_noise, 0.7, n_noise, vibrate if n_noise else None
    )
    return Stepped(dynamics, scheme=scheme, steps_per_snapshot=2, project=Projection(ligand))


def make_history(ligand: Ligand, n: int, dtype: torch.dtype) -> Tensor:
    x = 10.0 * torch.from_numpy(ligand.geometry).expand(n, 2, -1, -1)
    return (x + 0.1 * torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))).to(dtype)


@pytest.mark.parametrize("dtype", APART_A)
@pytest.mark.parametrize("device", ["cpu", GPU])
@pytest.mark.parametrize("scheme", find_schemes())
def test_path_of_a_replica(scheme: str, device: str, dtype: torch.dtype, ligand: Ligand) -> None:
    stepped = make_stepped(ligand, scheme)
    history = make_history(ligand, 5, dtype)
    seeds = [3, 2**63, 8, 1, 2**64 - 1]
    alone, _ = propagate(stepped, stepped.start(history[1:2], seeds[1:2]), N_SNAPSHOTS)
    path, state = propagate(stepped, stepped.start(history.to(device), seeds), N_SNAPSHOTS)
    assert (path.device.type, path.dtype) == (device, dtype)
    assert state.failures == ()
    assert (path[:, 1].cpu() - alone[:, 0]).abs().max() < APART_A[dtype]
    assert (alone[-1, 0] - history[1, -1]).abs().max() > 0.1


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_a_state_moves_between_devices(device: str, ligand: Ligand) -> None:
    stepped = make_stepped(ligand, "leapfrog")
    state = stepped.start(make_history(ligand, 3, torch.float64), range(3))
    whole, _ = propagate(stepped, state, 6)
    _, half = propagate(stepped, state.to(device), 3)
    rest, last = propagate(stepped, half.to("cpu"), 3)
    assert (half.positions.device.type, last.positions.device.type) == (device, "cpu")
    assert (rest - whole[3:]).abs().max() < APART_A[torch.float64]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_noise_on_a_gpu() -> None:
    """Words to the bit; normals to the rounding of logarithm and cosine."""
    seeds = [0, 3, 2**63, 2**64 - 1]
    for step in (0, 2**40):
        words = compute_words(seeds, step, 203, device="cuda")
        assert torch.equal(words.cpu(), compute_words(seeds, step, 203))
        normals = draw_normals(seeds, step, 203, device="cuda")
        torch.testing.assert_close(normals.cpu(), draw_normals(seeds, step, 203), rtol=1e-13, atol=1e-13)
