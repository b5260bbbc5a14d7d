"""Losses are what they were: of each kind, and their gradients, on real windows.

``losses.json`` says which code made the numbers; ``loss_cases`` builds networks and windows.
"""

import json
from pathlib import Path

import pytest

from openmm_neuralmd.models.registry import get_kind
from tests.training.loss_cases import CASES, build_case, measure

STORED = json.loads((Path(__file__).parent / "losses.json").read_text())["losses"]


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient(name: str) -> None:
    kind, n_steps = CASES[name]
    case = build_case(kind, n_steps)
    found = measure(case["net"], get_kind(kind).compute_loss(*case.values()))
    assert found == pytest.approx(STORED[name], rel=1e-6)
