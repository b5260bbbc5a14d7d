"""Requests to stop (Ctrl-C, SIGTERM of a batch system, SIGHUP of a closed terminal), obeyed where all is in order."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_REQUESTS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_ENDED_BY = 128  # and the number of the signal: the status by which shells know it


class Terminated(SystemExit):
    """The process was asked to end, by SIGTERM or SIGHUP; its status is 128 and the number of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(_ENDED_BY + number)
        self.code: int = _ENDED_BY + number
        self.name = signal.Signals(number).name


def _stop(number: int, _: FrameType | None) -> None:
    """Raise what a signal means."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Terminated(number)


@contextmanager
def end_in_order() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end what runs within as Ctrl-C does, tidying up, where nobody else handles them."""
    asked: list[int] = []

    def stop(number: int, stack: FrameType | None) -> None:
        asked.append(number)
        _stop(number, stack)

    with _handle(stop):
        try:
            yield
        except Exception:
            if asked:  # what was raised then has become something else on its way, as it does while modules are loaded
                _stop(asked[0], None)
            raise


@contextmanager
def hold_signals() -> Iterator[Callable[[], None]]:
    """Hold back the first request to stop until the function given is called; a second one acts at once.

    A request that was not asked for goes to whoever holds signals outside, or acts, when the context ends without an
    error. Does nothing outside the main thread or where the program has handlers of its own.
    """
    held: list[int] = []

    def note(number: int, stack: FrameType | None) -> None:
        if held:
            _stop(number, stack)
        held.append(number)

    def act() -> None:
        if held:
            _stop(held[0], None)

    with _handle(note):
        yield act
    if held and signal.getsignal(held[0]) is signal.SIG_DFL:
        act()  # rather than to die at once
    elif held:
        signal.raise_signal(held[0])


@contextmanager
def _handle(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle those requests that would otherwise end the process or raise, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _REQUESTS}
    ours = [number for number, found in before.items() if _is_replaceable(number, found)]
    try:
        for number in ours:
            signal.signal(number, handler)
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


def _is_replaceable(number: int, found: object) -> bool:
    """Whether a handler is the usual one, or one of this module."""
    if getattr(found, "__module__", "") == __name__:
        return True
    return found is (signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
