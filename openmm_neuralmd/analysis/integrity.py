"""Whether a ligand is still the molecule it was and fits its pocket, beside what MD itself does.

A frozen ligand passes all of this, so passing is no merit: the verdicts are "intact", "worse" and "broken".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openmm_neuralmd.analysis.metrics import STABILITY_THRESHOLD_NM, compute_pair_distances
from openmm_neuralmd.analysis.observation import Observation
from openmm_neuralmd.analysis.validity import (
    compute_angles,
    compute_handedness,
    compute_ring_deviations,
    find_angles,
)
from openmm_neuralmd.molecule.site import BindingSite
from openmm_neuralmd.units import ANGSTROM_PER_NM

INTACT, WORSE, BROKEN = "intact", "worse", "broken"
FLAT_RING_LIMIT_NM = 0.025
"""PoseBusters' limit for aromatic rings, doi:10.1039/D3SC04185A (Table 3)."""
ANGLE_LIMIT_DEGREES = 45.0
"""Beyond any reading of "fluctuation": MD at 300 K stays within 10 to 15 degrees of the mean."""
MARGIN = 1.5
"""Up to this many times MD's own worst is no worse: the worst of another replica differs too."""
CLASH_MARGIN = 0.1
"""Clashes a frame that a run may have beyond MD's."""


@dataclass(frozen=True)
class IntegrityCheck:
    """One check of the ligand's chemistry or fit.

    Attributes:
        key: Name in ``metrics.json``.
        title: For people, with the unit.
        values: Of each series by label (NaN where there are no data): the run, the references, the frozen ligand.
        verdict: Of the run: ``INTACT``, ``WORSE`` or ``BROKEN``; empty without data.
        remark: Why.
    """

    key: str
    title: str
    values: dict[str, float]
    verdict: str
    remark: str


def check_integrity(
    run: Observation, references: Sequence[Observation], frozen: Observation, site: BindingSite
) -> tuple[IntegrityCheck, ...]:
    """All checks of a run, with the same numbers for its references and the frozen ligand.

    Bonds and angles are measured from their mean in the first reference, so that the force field's own geometry is
    the standard.
    """
    series = [run, *references, frozen]
    ligand, target = site.ligand, references[0].positions
    triples, rings = find_angles(ligand.bonds), ligand.find_flat_rings()
    centers = ligand.find_centers([r.positions for r in references])
    lengths = compute_pair_distances(target, ligand.bonds).mean(axis=0)
    openings = compute_angles(target, triples).mean(axis=0)
    hands = np.sign(compute_handedness(target, centers).sum(axis=0))
    bonds, angles, inverted, flatness, clashes = {}, {}, {}, {}, {}
    for o in series:
        stretched = np.abs(compute_pair_distances(o.positions, ligand.bonds) - lengths)
        bonds[o.label] = ANGSTROM_PER_NM * float(stretched.max())
        angles[o.label] = float(np.degrees(np.abs(compute_angles(o.positions, triples) - openings)).max(initial=0.0))
        wrong = (compute_handedness(o.positions, centers) != hands).any(axis=1)
        inverted[o.label] = 100.0 * float(wrong.mean())
        flatness[o.label] = ANGSTROM_PER_NM * float(compute_ring_deviations(o.positions, rings).max(initial=0.0))
        clashes[o.label] = float("nan") if o.clashes is None else float(o.clashes.mean())
    names = [r.label for r in references]
    return (
        _check(
            "bonds_worst", "Worst bond deviation [\u00c5]", bonds, run.label, names,
            ANGSTROM_PER_NM * STABILITY_THRESHOLD_NM,
        ),
        _check("angles_worst", "Worst angle deviation [\u00b0]", angles, run.label, names, ANGLE_LIMIT_DEGREES),
        _check("inverted", "Frames with inverted chirality [%]", inverted, run.label, names, 0.0),
        _check(
            "rings", "Aromatic rings, worst out of plane [\u00c5]", flatness, run.label, names,
            ANGSTROM_PER_NM * FLAT_RING_LIMIT_NM,
        ),
        _check_clashes(clashes, run.label, names),
    )  # fmt: skip


def _check(
    key: str, title: str, values: dict[str, float], run: str, references: list[str], limit: float
) -> IntegrityCheck:
    """Broken beyond ``limit`` unless MD goes there too, worse beyond MD's own worst by ``MARGIN``."""
    mine, theirs = values[run], max(values[r] for r in references)
    if mine > max(limit, MARGIN * theirs):
        return IntegrityCheck(
            key, title, values, BROKEN, f"{mine:.2f}; the limit is {limit:g}, MD's worst {theirs:.2f}"
        )
    if mine > MARGIN * theirs and theirs > 0.0:
        return IntegrityCheck(key, title, values, WORSE, f"{mine / theirs:.1f} times MD's worst")
    return IntegrityCheck(key, title, values, INTACT, f"MD's worst is {theirs:.2f}")


def _check_clashes(values: dict[str, float], run: str, references: list[str]) -> IntegrityCheck:
    key, title = "clashes", "Clashes with the protein per frame"
    if np.isnan(values[run]) or all(np.isnan(values[r]) for r in references):
        return IntegrityCheck(key, title, values, "", "no side chains to clash with")
    mine, theirs = values[run], float(np.nanmax([values[r] for r in references]))
    if mine > theirs + CLASH_MARGIN:
        return IntegrityCheck(key, title, values, WORSE, f"{mine:.2f}, MD has {theirs:.2f}")
    return IntegrityCheck(key, title, values, INTACT, f"MD has {theirs:.2f}")
