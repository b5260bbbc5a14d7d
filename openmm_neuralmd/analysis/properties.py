"""The properties by which two sets of ligand motion are told apart, each with a distance between two samples."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from openmm_neuralmd.analysis.fluctuations import (
    SLIDING_WINDOW,
    compute_autocorrelation,
    compute_circular_wasserstein_distances,
    compute_rmsf,
    compute_sliding_rmsf,
    compute_torsions,
    compute_wasserstein_distances,
)
from openmm_neuralmd.analysis.metrics import compute_pair_distances, compute_rmsd
from openmm_neuralmd.analysis.observation import Observation
from openmm_neuralmd.analysis.validity import compute_angles, find_angles
from openmm_neuralmd.molecule.site import BindingSite
from openmm_neuralmd.plugins import Plugins
from openmm_neuralmd.units import ANGSTROM_PER_NM

MIN_FRAMES = 2
"""A single frame shows no motion."""
AUTOCORRELATION_SHARE = 4
"""Lags up to this fraction of a sample: beyond a quarter of its length an autocorrelation is noise."""

Features = dict[str, np.ndarray]


@dataclass(frozen=True)
class Property:
    """One way in which two samples of the same ligand may differ.

    Attributes:
        key: Name in ``metrics.json``.
        title: For people.
        unit: Of the distance.
        meaning: What the distance is.
        measure: Features of an observation that the distance needs; None where it has no such data.
        distance: Between the features of two samples.
        min_frames: Smallest sample.
        needs_same_interval: Whether frames must be equally far apart in time.
        is_of_frames: Whether every frame is a sample; else those with energies are.
    """

    key: str
    title: str
    unit: str
    meaning: str
    measure: Callable[[Observation, BindingSite], np.ndarray | None]
    distance: Callable[[np.ndarray, np.ndarray], float]
    min_frames: int = MIN_FRAMES
    needs_same_interval: bool = False
    is_of_frames: bool = True

    def count(self, o: Observation) -> int:
        """Number of samples in an observation."""
        return o.n_frames if self.is_of_frames or o.energies is None else len(o.energies.strain)

    def measure_part(self, o: Observation, site: BindingSite, start: int, stop: int) -> np.ndarray | None:
        """Features of the samples from ``start`` to before ``stop``."""
        if self.is_of_frames:
            return self.measure(o.cut(start, stop), site)
        features = self.measure(o, site)
        return None if features is None else features[start:stop]


def _wasserstein(a: np.ndarray, b: np.ndarray) -> float:
    return float(compute_wasserstein_distances(a, b).mean())


def _measure_rmsd(o: Observation, site: BindingSite) -> np.ndarray:
    return ANGSTROM_PER_NM * compute_rmsd(o.positions, site.pose)[:, None]


def _measure_positions(o: Observation, _: BindingSite) -> np.ndarray:
    return ANGSTROM_PER_NM * o.positions.astype(np.float64)


def _measure_pairs(o: Observation, site: BindingSite) -> np.ndarray:
    return ANGSTROM_PER_NM * compute_pair_distances(o.positions, site.ligand.pairs)


def _measure_bonds(o: Observation, site: BindingSite) -> np.ndarray:
    return ANGSTROM_PER_NM * compute_pair_distances(o.positions, site.ligand.bonds)


def _measure_angles(o: Observation, site: BindingSite) -> np.ndarray | None:
    triples = find_angles(site.ligand.bonds)
    return np.degrees(compute_angles(o.positions, triples)) if len(triples) else None


def _measure_torsions(o: Observation, site: BindingSite) -> np.ndarray | None:
    quadruples = site.ligand.find_dihedrals()
    return compute_torsions(o.positions, quadruples) if len(quadruples) else None


def _measure_contacts(o: Observation, _: BindingSite) -> np.ndarray | None:
    return o.contacts


def _measure_hydrogen_bonds(o: Observation, _: BindingSite) -> np.ndarray | None:
    return o.hydrogen_bonds


def _compare_means(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum(axis=-1).mean()))


def _compare_rmsf(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(compute_rmsf(a) - compute_rmsf(b)).mean())


def _compare_sliding_rmsf(a: np.ndarray, b: np.ndarray) -> float:
    return _wasserstein(compute_sliding_rmsf(a)[:, None], compute_sliding_rmsf(b)[:, None])


def _compare_steps(a: np.ndarray, b: np.ndarray) -> float:
    first, second = (np.sqrt((np.diff(x, axis=0) ** 2).sum(axis=-1).mean(axis=-1)) for x in (a, b))
    return _wasserstein(first[:, None], second[:, None])


def _compare_autocorrelation(a: np.ndarray, b: np.ndarray) -> float:
    max_lag = max(1, len(a) // AUTOCORRELATION_SHARE)
    return float(np.abs(compute_autocorrelation(a, max_lag) - compute_autocorrelation(b, max_lag))[1:].mean())


def _compare_torsions(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(compute_circular_wasserstein_distances(a, b)).mean())


def _compare_occupancy(a: np.ndarray, b: np.ndarray) -> float:
    first, second = a.mean(axis=0), b.mean(axis=0)
    ever = (first > 0) | (second > 0)
    return float(100.0 * np.abs(first - second)[ever].mean()) if ever.any() else 0.0


def _measure_interaction(o: Observation, _: BindingSite) -> np.ndarray | None:
    return None if o.energies is None or o.energies.interaction is None else o.energies.interaction[:, None]


def _measure_strain(o: Observation, _: BindingSite) -> np.ndarray | None:
    return None if o.energies is None else o.energies.strain[:, None]


PROPERTIES = (
    Property(
        "rmsd_distribution", "Pose RMSD", "\u00c5", "Wasserstein distance of the RMSD to the start",
        _measure_rmsd, _wasserstein,
    ),
    Property(
        "mean_pose", "Mean pose", "\u00c5", "RMSD between the mean structures", _measure_positions, _compare_means,
    ),
    Property(
        "rmsf", "RMSF per atom", "\u00c5", "mean absolute difference over atoms", _measure_positions, _compare_rmsf,
    ),
    Property(
        "sliding_rmsf", "RMSF over five snapshots", "\u00c5", "Wasserstein distance of the paper's RMSF-Ligand",
        _measure_positions, _compare_sliding_rmsf, SLIDING_WINDOW + 1, True,
    ),
    Property(
        "pair_distances", "Shape: pair distances", "\u00c5", "mean Wasserstein distance over all atom pairs",
        _measure_pairs, _wasserstein,
    ),
    Property(
        "torsions", "Torsions", "\u00b0", "mean Wasserstein distance on the circle over rotatable bonds",
        _measure_torsions, _compare_torsions,
    ),
    Property(
        "step", "Displacement per frame", "\u00c5", "Wasserstein distance of the rms displacement between frames",
        _measure_positions, _compare_steps, 3, True,
    ),
    Property(
        "autocorrelation", "Memory: autocorrelation", "", "mean absolute difference, lags to a quarter of a block",
        _measure_positions, _compare_autocorrelation, 12, True,
    ),
    Property(
        "bonds", "Bond lengths", "\u00c5", "mean Wasserstein distance over bonds", _measure_bonds, _wasserstein,
    ),
    Property(
        "angles", "Bond angles", "\u00b0", "mean Wasserstein distance over angles", _measure_angles, _wasserstein,
    ),
    Property(
        "contacts", "Contacts", "%", "mean difference of occupancy over residues in contact",
        _measure_contacts, _compare_occupancy,
    ),
    Property(
        "hydrogen_bonds", "Hydrogen bonds", "%", "mean difference of occupancy over residues that bond",
        _measure_hydrogen_bonds, _compare_occupancy,
    ),
)  # fmt: skip
ENERGY_PROPERTIES = (
    Property(
        "interaction_energy", "Interaction energy", "kJ/mol", "Wasserstein distance, after restrained minimisation",
        _measure_interaction, _wasserstein, is_of_frames=False,
    ),
    Property(
        "strain_energy", "Strain energy", "kJ/mol", "Wasserstein distance, after restrained minimisation",
        _measure_strain, _wasserstein, is_of_frames=False,
    ),
)  # fmt: skip
"""Judged only where a force field is at hand."""


OTHER_PROPERTIES = Plugins(
    "openmm_neuralmd.properties",
    "property",
    Property,
    lambda: [p.key for p in (*PROPERTIES, *ENERGY_PROPERTIES)],
    named_by="key",
)
"""Properties of other packages, compared after those of this one; the name of the entry point is the key."""


def list_properties(*, has_energies: bool) -> tuple[Property, ...]:
    """What two samples are told apart by; energies only where a force field is at hand."""
    return (*PROPERTIES, *(ENERGY_PROPERTIES if has_energies else ()), *OTHER_PROPERTIES.load_all())
