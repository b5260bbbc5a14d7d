"""Ensembles: each replica as alone, failures by their place and seed, and batches that the device's memory bears."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from openmm_neuralmd.dynamics import ensembles
from openmm_neuralmd.dynamics.ensembles import run_ensemble
from openmm_neuralmd.dynamics.noise import draw_normals
from openmm_neuralmd.dynamics.propagator import begin, propagate
from openmm_neuralmd.dynamics.state import State
from openmm_neuralmd.errors import NonFiniteStateError

N_REPLICAS = 21


class Walk:
    """A random walk, two snapshots at a time, which breaks for chosen seeds and knows how large a batch can be."""

    n_history, is_random = 1, True

    def __init__(self, *, broken: Sequence[int] = (), most: int = 100) -> None:
        self.broken, self.most, self.sizes = broken, most, []

    def start(self, history: Tensor, seeds: Sequence[int]) -> State:
        self.sizes.append(len(history))
        if len(history) > self.most:
            raise torch.cuda.OutOfMemoryError("too much")
        return begin(history, seeds)

    def advance(self, state: State) -> tuple[State, Tensor]:
        n = 2 * state.positions[0].numel()
        moves = draw_normals(state.seeds, state.step, n).reshape(state.n_replicas, 2, -1, 3).transpose(0, 1)
        path = state.positions + moves.cumsum(0)
        state = replace(state, positions=path[-1], step=state.step + 2)
        if state.step == 4:
            error = NonFiniteStateError("no more")
            state = state.fail({k: error for k, seed in enumerate(state.seeds) if seed in self.broken})
        return state, path


def make_history() -> Tensor:
    return torch.randn(N_REPLICAS, 1, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("n_threads", [1, 2])
def test_each_replica_is_as_alone(n_threads: int) -> None:
    history, walk = make_history(), Walk()
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        path, failures = run_ensemble(walk, history, range(N_REPLICAS), 5)
    finally:
        torch.set_num_threads(before)
    assert path.shape == (5, N_REPLICAS, 4, 3)
    assert failures == ()
    assert max(walk.sizes) < N_REPLICAS
    for k in (0, 9, N_REPLICAS - 1):
        alone, _ = propagate(walk, walk.start(history[k : k + 1], [k]), 5)
        assert torch.equal(path[:, k], alone[:, 0])


def test_failures_are_told_by_place_and_seed(caplog: pytest.LogCaptureFixture) -> None:
    seeds = [50 - k for k in range(N_REPLICAS)]
    ensemble = run_ensemble(Walk(broken=[48, 31]), make_history(), seeds, 6)
    assert [(f.replica, f.seed) for f in ensemble.failures] == [(2, 48), (19, 31)]
    assert torch.isfinite(ensemble.path[:4]).all()
    is_broken = torch.isnan(ensemble.path[4:]).flatten(2).all(-1).all(0)
    assert torch.nonzero(is_broken).flatten().tolist() == [2, 19]
    ensembles.report_failures(ensemble)
    assert "2 of 21 replicas broke and are NaN from there on, of seeds 48, 31; the first: no more" in caplog.text
    ensembles.report_failures(run_ensemble(Walk(broken=seeds), make_history(), seeds, 6))
    assert "and 11 more" in caplog.text


def test_a_batch_that_the_memory_does_not_bear_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ensembles, "_CPU_BATCH", N_REPLICAS)
    walk, history = Walk(most=6), make_history()
    parts = ensembles._run_in_memory(
        lambda batch: ensembles.Ensemble(
            propagate(walk, walk.start(history[batch], range(batch.start, batch.stop)), 3)[0], ()
        ),
        slice(0, N_REPLICAS),
    )
    assert walk.sizes == [21, 11, 6, 5, 10, 5, 5]
    expected = run_ensemble(Walk(), history, range(N_REPLICAS), 3).path
    assert torch.equal(torch.cat([part.path for part in parts], dim=1), expected)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        ensembles._run_in_memory(lambda _: walk.start(history, range(N_REPLICAS)), slice(0, 2))
