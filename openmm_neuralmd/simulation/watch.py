"""Who asked for a step: so errors of what OpenMM calls reach that caller and no other.

OpenMM hands on the message of an exception, no more, and may call from a thread of its own; one callable may serve
several Contexts, and a System that was read from XML has a copy of it. So each call of ``NeuralMDIntegrator.step``
takes a number, its program hands the number on as a context parameter, and the callable finds the caller by it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

CALLER_PARAMETER = "neuralmd_caller"
NOBODY = 0.0
"""The parameter where no ``NeuralMDIntegrator`` takes steps."""
_LARGEST_NUMBER = 2**24  # single precision holds the integers up to it


@dataclass
class Watch:
    """What the caller of some steps hears of them.

    Attributes:
        number: Of the caller, for the context parameter.
        error: What the callable raised.
        step: That it was called for last; 0 if it was not called.
    """

    number: float
    error: BaseException | None = None
    step: int = 0


_watches: dict[float, Watch] = {}
_numbers = count()


@contextmanager
def watch_steps() -> Iterator[Watch]:
    """Hear of the steps that are taken with this number."""
    watch = Watch(float(1 + next(_numbers) % _LARGEST_NUMBER))
    _watches[watch.number] = watch
    try:
        yield watch
    finally:
        del _watches[watch.number]


def find_watch(parameters: Mapping[str, float]) -> Watch:
    """The caller's, by the parameters of a Context; one that nobody looks at where there is no caller."""
    number = parameters.get(CALLER_PARAMETER, NOBODY)
    return _watches.get(number) or Watch(number)
