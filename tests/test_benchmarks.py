"""The benchmarks run and measure what they say; nothing is timed against a limit."""

import numpy as np
import pytest

from benchmarks import projection, speed, versions
from openmm_neuralmd.models.export import load_bundled_model
from openmm_neuralmd.molecule.complex import load_bundled_complex

ONCE = {"repeats": 1, "clock": "wall"}


def test_every_comparison_gives_two_times_and_their_ratio() -> None:
    complex_ = load_bundled_complex()
    model = load_bundled_model("sde").bind(complex_)
    ratios = [
        speed.measure_openmm_overhead(complex_, model, threads=1, **ONCE),
        speed.measure_replicas(complex_, model, n_replicas=3, **ONCE),
        speed.measure_protein_size(complex_, sizes=(300, 700), **ONCE),
        speed.measure_frozen_atoms(complex_, model, threads=1, sizes=(5_200, 6_000), **ONCE),
        speed.measure_other_forces(complex_, model, threads=1, n_atoms=6_000, attach=True, **ONCE),
        speed.measure_other_forces(complex_, model, threads=1, n_atoms=6_000, attach=False, **ONCE),
    ]
    for found in ratios:
        assert found.first_ms > 0.0
        assert found.ratio == pytest.approx(found.first_ms / found.second_ms)
    table = speed.format_table(ratios)
    assert len(table.splitlines()) == 7
    assert "each of 3" in table


def test_a_grown_protein_keeps_the_pocket_and_the_force() -> None:
    complex_ = load_bundled_complex()
    grown = speed.grow_protein(complex_.protein, 700)
    assert grown.n_residues == 700
    np.testing.assert_array_equal(grown.backbone[: complex_.protein.n_residues], complex_.protein.backbone)
    far = np.abs(grown.backbone[complex_.protein.n_residues :, None, 1] - complex_.ligand.positions).max(-1)
    assert far.min() > 2.0  # nm, beyond every cutoff


def test_added_atoms_stand_in_the_topology_only() -> None:
    complex_ = load_bundled_complex()
    grown = speed.add_atoms(complex_, 5_300)
    assert grown.topology.getNumAtoms() == len(grown.positions) == 5_300
    assert complex_.topology.getNumAtoms() == len(complex_.positions) < 5_300
    assert grown.ligand is complex_.ligand


def test_both_ways_of_the_projection_are_timed() -> None:
    assert min(projection.measure(2, repeats=1)) > 0.0


@pytest.mark.slow
def test_two_versions_take_turns() -> None:
    """This checkout against itself, a call of each."""
    found = versions.compare(versions.HERE, "replicas", threads=1, repeats=1)
    assert min(*found.before, *found.after) > 0.0
    assert found.format().count("\n") == 2
