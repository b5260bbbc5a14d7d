"""Any number of replicas of any propagator: in batches, on all of torch's threads or on a GPU.

On the CPU each thread has a batch at a time. A batch costs little more than a replica where calls dominate, and stays
small enough for what it computes to remain in the processor's caches. On a GPU one batch follows another, as large as
its memory bears.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from openmm_neuralmd.dynamics.propagator import Propagator, propagate
from openmm_neuralmd.dynamics.state import Failure
from openmm_neuralmd.dynamics.threads import use_threads

_log = logging.getLogger(__name__)
_CPU_BATCH = 8  # replicas; from 4 to 16 the time differs by a few per cent, with 64 it is half as much again
_GPU_BATCH = 4096  # replicas; from a thousand on, the time of the bundled models grows with their number (H200)
_SHOWN = 10  # seeds in one message


class Ensemble(NamedTuple):
    """Snapshots [A], (n_snapshots, n_replicas, n_atoms, 3), on the CPU, and the replicas that broke on the way.

    A replica that broke is NaN from there on; ``Failure.replica`` is its place in the ensemble.
    """

    path: Tensor
    failures: tuple[Failure, ...]


def run_ensemble(propagator: Propagator, history: Tensor, seeds: Sequence[int], n_snapshots: int) -> Ensemble:
    """Advance replicas, each by its own history and seed.

    Args:
        propagator: Its callables may be called from several threads at once.
        history: The last snapshots [A], the present one last, (n_replicas, n_history, n_atoms, 3), on the device and in
            the precision to compute in.
        seeds: One for each replica.
        n_snapshots: How many to make.

    Raises:
        InputError: As ``Propagator.start``.
    """

    def run(batch: slice) -> Ensemble:
        with torch.inference_mode():  # here, because it belongs to a thread
            path, state = propagate(propagator, propagator.start(history[batch], seeds[batch]), n_snapshots)
        failures = (replace(failure, replica=batch.start + failure.replica) for failure in state.failures)
        return Ensemble(path.cpu(), tuple(failures))

    n = len(history)
    if history.device.type != "cpu":
        parts = [part for batch in _cut(slice(0, n), _GPU_BATCH) for part in _run_in_memory(run, batch)]
    else:
        n_threads = torch.get_num_threads()
        batches = _cut(slice(0, n), min(_CPU_BATCH, -(-n // n_threads)))
        if len(batches) == 1:
            return run(batches[0])
        with use_threads(1), ThreadPoolExecutor(min(n_threads, len(batches))) as pool:
            parts = list(pool.map(run, batches))
    return Ensemble(torch.cat([p.path for p in parts], dim=1), tuple(f for p in parts for f in p.failures))


def report_failures(ensemble: Ensemble) -> None:
    """A warning in the log that names the seeds of replicas that broke, where some did."""
    failures = ensemble.failures
    if failures:
        seeds = ", ".join(str(failure.seed) for failure in failures[:_SHOWN])
        more = f" and {len(failures) - _SHOWN} more" if len(failures) > _SHOWN else ""
        n_replicas, error = ensemble.path.shape[1], failures[0].error
        _log.warning(
            "%d of %d replicas broke and are NaN from there on, of seeds %s%s; the first: %s",
            *(len(failures), n_replicas, seeds, more, error),
        )


def _cut(batch: slice, size: int) -> list[slice]:
    return [slice(k, min(k + size, batch.stop)) for k in range(batch.start, batch.stop, size)]


def _run_in_memory(run: Callable[[slice], Ensemble], batch: slice) -> list[Ensemble]:
    """A batch, in halves where the device's memory is too small for it."""
    try:
        return [run(batch)]
    except torch.cuda.OutOfMemoryError:
        if batch.stop - batch.start == 1:
            raise
    torch.cuda.empty_cache()  # after the error is gone, which holds on to the tensors
    halves = _cut(batch, -(-(batch.stop - batch.start) // 2))
    return [part for half in halves for part in _run_in_memory(run, half)]
