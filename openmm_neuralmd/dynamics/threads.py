"""How many threads torch computes with."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from openmm_neuralmd.checks import check_threads


@contextmanager
def use_threads(n_threads: int | None) -> Iterator[None]:
    """So many threads in torch, and as many as before afterwards; None leaves them.

    Raises:
        InputError: If it is no such number, or more than this machine can bear.
    """
    n_threads = check_threads(n_threads)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before if n_threads is None else n_threads)
        yield
    finally:
        torch.set_num_threads(before)
