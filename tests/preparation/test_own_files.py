"""Files in the current folder do not take the place of OpenMM's own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from openmm_neuralmd.preparation.prepare import prepare_complex
from tests.preparation.conftest import SMILES, Edit


def test_a_force_field_in_the_current_folder_is_not_openmm_s(
    write_entry: Callable[[Edit], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = f"<InitializationScript>open('{tmp_path / 'ran'}', 'w').close()</InitializationScript>"
    for name in ("amber14-all.xml", "amber14/protein.ff14SB.xml", "amber14/tip3p.xml", "soft.xml", "hydrogens.xml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"<ForceField>{code}</ForceField>")
    monkeypatch.chdir(tmp_path)
    side_chain = lambda lines: [x for x in lines if not (x.startswith("ATOM") and x[12:16] == " CG ")]  # noqa: E731
    prepared = prepare_complex(write_entry(side_chain), "0WC", tmp_path / "out", smiles=SMILES)
    assert prepared.protocol["relaxed"] is not None
    assert not (tmp_path / "ran").exists()
