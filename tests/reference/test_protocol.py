"""Settings that cannot be run are refused; phases follow each other without gaps."""

from dataclasses import replace
from itertools import pairwise

import pytest

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.reference.protocol import Protocol

USUAL = Protocol(
    time_ps=100.0,
    interval_ps=10.0,
    equilibration_ps=50.0,
    temperature_k=300.0,
    pressure_bar=1.0,
    timestep_ps=0.004,
    seed=0,
    is_periodic=True,
)


def test_phases_follow_each_other() -> None:
    phases = USUAL.list_phases()
    assert [p.name for p in phases] == ["heating", "restrained", "free", "production"]
    assert phases[0].first == 0
    assert all(a.last == b.first for a, b in pairwise(phases))
    assert [p.n_steps for p in phases] == [2500, 5000, 5000, 25000]
    assert [p.has_barostat for p in phases] == [False, True, True, True]


def test_without_a_box_there_is_no_barostat() -> None:
    assert not any(p.has_barostat for p in replace(USUAL, is_periodic=False).list_phases())


def test_equilibration_can_be_left_out() -> None:
    assert [p.name for p in replace(USUAL, equilibration_ps=0.0).list_phases()] == ["production"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_ps": 0.0}, "`time_ps` 0"),
        ({"time_ps": float("nan")}, "`time_ps` nan"),
        ({"time_ps": 95.0}, "whole number of intervals"),
        ({"interval_ps": 0.005}, "whole number of timesteps"),
        ({"interval_ps": 200.0}, "whole number of intervals"),
        ({"equilibration_ps": -1.0}, "`equilibration_ps` -1"),
        ({"temperature_k": -300.0}, "`temperature_k` -300"),
        ({"pressure_bar": float("inf")}, "`pressure_bar` inf"),
        ({"timestep_ps": 0.01}, "`timestep_ps`: 10 fs"),
        ({"seed": -1}, "`seed` -1"),
    ],
)
def test_impossible_settings(change: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(USUAL, **change)
