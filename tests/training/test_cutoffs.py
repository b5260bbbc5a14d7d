"""Cutoffs that leave a network nothing to see."""

import pytest

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.training.cutoffs import check_cutoffs


@pytest.mark.parametrize("option", ["ligand", "pocket"])
def test_too_short(option: str, tiny_complex: Complex) -> None:
    cutoffs = {"ligand": 5.0, "pocket": 10.0}
    check_cutoffs([tiny_complex], **cutoffs)
    with pytest.raises(InputError, match=rf"`{option}_cutoff` 0.1 Å: .*give [0-9.]+ Å or more") as caught:
        check_cutoffs([tiny_complex], **{**cutoffs, option: 0.1})
    least = float(str(caught.value).split("give ")[1].split(" Å")[0])
    check_cutoffs([tiny_complex], **{**cutoffs, option: least})
    with pytest.raises(InputError):
        check_cutoffs([tiny_complex], **{**cutoffs, option: least - 0.1})
