"""Requests to stop are obeyed where all is in order."""

import os
import signal

import pytest

from openmm_neuralmd.signals import Terminated, end_in_order, hold_signals

pytestmark = pytest.mark.usefixtures("usual_handlers")
REQUESTS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
MEANINGS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated, signal.SIGHUP: Terminated}


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", REQUESTS)
def test_it_acts_at_once_and_tidies_up(number: signal.Signals) -> None:
    tidied = []
    with pytest.raises(MEANINGS[number]) as caught, end_in_order():  # noqa: PT012
        try:
            send(number)
        finally:
            tidied.append(True)
    assert tidied
    if number != signal.SIGINT:
        assert caught.value.code == 128 + number
        assert caught.value.name == number.name


@pytest.mark.parametrize("number", REQUESTS)
def test_code_that_makes_another_error_of_it(number: signal.Signals) -> None:
    class Field:
        def __set_name__(self, *_: object) -> None:
            send(number)

    with pytest.raises(MEANINGS[number]), end_in_order():
        type("Owner", (), {"field": Field()})


@pytest.mark.parametrize("number", REQUESTS)
@pytest.mark.parametrize("in_order", [True, False])
def test_it_is_held_back(number: signal.Signals, in_order: bool) -> None:
    reached = []
    with pytest.raises(MEANINGS[number]), end_in_order() if in_order else hold_signals(), hold_signals() as act:  # noqa: PT012
        send(number)
        reached.append(1)
        act()
        reached.append(2)
    assert reached == [1]


@pytest.mark.parametrize("number", REQUESTS)
def test_what_was_not_asked_for_acts_in_the_end(number: signal.Signals) -> None:
    reached = []
    with pytest.raises(MEANINGS[number]):  # noqa: PT012
        with hold_signals():
            send(number)
            reached.append(1)
        reached.append(2)
    assert reached == [1]


def test_an_inner_one_leaves_it_to_the_outer() -> None:
    reached = []
    with pytest.raises(Terminated), hold_signals() as act:  # noqa: PT012
        with hold_signals():
            send(signal.SIGTERM)
        reached.append("held")
        act()
    assert reached == ["held"]


def test_a_second_request_acts_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), hold_signals():  # noqa: PT012
        send(signal.SIGTERM)
        send(signal.SIGINT)
        raise AssertionError


def test_handlers_of_the_program_and_ignored_signals_stay() -> None:
    seen = []
    signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    with end_in_order(), hold_signals() as act:
        send(signal.SIGTERM)
        send(signal.SIGHUP)
        act()
    assert seen == [signal.SIGTERM]


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in REQUESTS]
    with end_in_order(), hold_signals():
        pass
    assert [signal.getsignal(number) for number in REQUESTS] == before
