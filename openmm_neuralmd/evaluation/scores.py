"""The columns of ``neuralmd evaluate``: sampled paths against a test part, metric by metric.

The metrics are those of ``analysis``; nothing here knows what made the paths.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from openmm_neuralmd.analysis.fluctuations import (
    compute_correlation_time,
    compute_energy_score,
    compute_rmsf,
    compute_wasserstein_distances,
)
from openmm_neuralmd.analysis.metrics import (
    compute_pair_distances,
    compute_published_metrics,
    compute_rmsd,
    compute_textbook_metrics,
)
from openmm_neuralmd.analysis.validity import compute_angles, compute_bond_deviations, count_clashes, find_angles
from openmm_neuralmd.dynamics.state import FARTHEST_NM
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.units import ANGSTROM_PER_NM

COLUMNS = {
    "paper MAE [A]": "mean |error| summed over x, y, z (the paper's MAE)",
    "paper RMSE [A]": "mean displacement (the paper's RMSE)",
    "Matching [A]": "root mean square difference of all N x N distances, mean over frames (the paper's)",
    "Stability [%]": "of N x N distances within 0.5 Å (the paper's)",
    "MAE [A]": "mean |error| of a coordinate",
    "RMSE [A]": "root mean square displacement",
    "energy score [A]": "proper score of the sampled poses for each test pose; RMSD where there is one sample",
    "RMSF [A]": "mean over atoms, all sampled frames",
    "RMSF error [A]": "mean absolute difference from the test part's RMSF",
    "RMSF r": "correlation with the test part's RMSF over atoms",
    "W RMSD [A]": "Wasserstein distance of ligand RMSD (to the holo pose) to the test part's",
    "W pairs [A]": "Wasserstein distance of pair distances to the test part's, mean over pairs",
    "autocorr. time [ps]": "integrated autocorrelation time of the pose, about the mean of the row's own frames "
    "(MD of one trajectory: of those before the test part), to the first zero and half the path at most; half a "
    "snapshot for white noise",
    "bond dev. [A]": "root mean square deviation of bond lengths from the reference geometry",
    "worst bond [A]": "largest deviation of a bond length",
    "angle dev. [deg]": "root mean square deviation of bond angles from the reference geometry",
    "clashes": "protein-ligand clashes a frame, in the rigid protein",
    "snapshots/s": "all paths together, model evaluation and projection, this machine",
}
_MANY = 2000  # frames that slow metrics are computed on at most, evenly chosen


@dataclass(frozen=True)
class Score:
    """One value a column, None where undefined, and for columns that single paths have, those of each path."""

    values: dict[str, float | None]
    by_path: dict[str, np.ndarray] = field(default_factory=dict)


class Judge:
    """All metrics of sampled paths against one test part.

    Args:
        complex_: Ligand and rigid protein.
        test: MD's frames [nm], (n_frames, n_atoms, 3).
        stride: Frames from one snapshot to the next.
        interval: Snapshot interval [ps].
    """

    def __init__(self, complex_: Complex, test: np.ndarray, *, stride: int, interval: float) -> None:
        self.ligand, self.test, self.stride, self.interval = complex_.ligand, test, stride, interval
        self.pairs = np.stack(np.triu_indices(self.ligand.n_atoms, k=1), axis=1)
        self.angles = find_angles(self.ligand.bonds)
        self.protein: tuple[np.ndarray, np.ndarray] | None = None  # positions and elements, where they are known
        if complex_.topology is not None:
            own = {*self.ligand.atom_indices.tolist(), *self.ligand.hydrogen_indices.tolist()}
            atoms = [a for a in complex_.topology.atoms() if a.index not in own and a.element.atomic_number > 1]
            elements = np.array([a.element.atomic_number for a in atoms])
            self.protein = complex_.positions[[a.index for a in atoms]], elements

    def score(self, paths: np.ndarray, mean: np.ndarray | None = None) -> Score:
        """Metrics of sampled paths [nm], (n_samples, n_frames, n_atoms, 3).

        Args:
            mean: Structure that autocorrelation is about [nm], (n_atoms, 3); the paths' own if None.
        """
        if not np.isfinite(paths).all() or np.abs(paths).max() > FARTHEST_NM:
            return Score(dict.fromkeys(COLUMNS))
        pooled = paths.reshape(-1, *paths.shape[2:])
        thinned = pooled[:: max(1, len(pooled) // _MANY)]
        by_path = self._compare_paths(paths)
        scores = [compute_energy_score(paths[:, k], self.test[k]) for k in range(len(self.test))]
        values: dict[str, float | None] = {name: float(each.mean()) for name, each in by_path.items()}
        values |= {
            "energy score [A]": ANGSTROM_PER_NM * float(np.mean(scores)),
            **self._compare_distributions(pooled, thinned),
            "autocorr. time [ps]": self._compute_correlation_time(paths, pooled.mean(axis=0) if mean is None else mean),
            **self._check_validity(pooled, thinned),
        }
        return Score({name: values.get(name) for name in COLUMNS}, by_path)

    def _compare_paths(self, paths: np.ndarray) -> dict[str, np.ndarray]:
        published = [compute_published_metrics(p, self.test) for p in paths]
        textbook = [compute_textbook_metrics(p, self.test, self.ligand.bonds) for p in paths]
        columns = {
            "paper MAE [A]": [ANGSTROM_PER_NM * m["mae_nm"] for m in published],
            "paper RMSE [A]": [ANGSTROM_PER_NM * m["rmse_nm"] for m in published],
            "Matching [A]": [ANGSTROM_PER_NM * m["matching_nm"] for m in published],
            "Stability [%]": [m["stability_percent"] for m in published],
            "MAE [A]": [ANGSTROM_PER_NM * m["mae_nm"] for m in textbook],
            "RMSE [A]": [ANGSTROM_PER_NM * m["rmse_nm"] for m in textbook],
        }
        return {name: np.array(each) for name, each in columns.items()}

    def _compare_distributions(self, pooled: np.ndarray, thinned: np.ndarray) -> dict[str, float | None]:
        rmsf, expected = compute_rmsf(pooled), compute_rmsf(self.test)
        rmsds = [compute_rmsd(x, self.ligand.positions)[:, None] for x in (pooled, self.test)]
        distances = [compute_pair_distances(x, self.pairs) for x in (thinned, self.test)]
        return {
            "RMSF [A]": ANGSTROM_PER_NM * float(rmsf.mean()),
            "RMSF error [A]": ANGSTROM_PER_NM * float(np.abs(rmsf - expected).mean()),
            "RMSF r": float(np.corrcoef(rmsf, expected)[0, 1]) if min(rmsf.std(), expected.std()) > 1e-9 else None,
            "W RMSD [A]": ANGSTROM_PER_NM * float(compute_wasserstein_distances(*rmsds)[0]),
            "W pairs [A]": ANGSTROM_PER_NM * float(compute_wasserstein_distances(*distances).mean()),
        }

    def _compute_correlation_time(self, paths: np.ndarray, mean: np.ndarray) -> float | None:
        """[ps]; frames one stride apart belong together, so lags are whole snapshots."""
        d = (paths - mean).reshape(*paths.shape[:2], -1)
        n_lags = max(1, paths.shape[1] // self.stride // 2)
        variance = float((d**2).mean())
        if variance < 1e-9 or paths.shape[1] <= n_lags * self.stride:
            return None
        shifts = [k * self.stride for k in range(n_lags + 1)]
        correlation = np.array([(d[:, s:] * d[:, : d.shape[1] - s]).mean() for s in shifts]) / variance
        return compute_correlation_time(correlation, self.interval)

    def _check_validity(self, pooled: np.ndarray, thinned: np.ndarray) -> dict[str, float | None]:
        deviations = compute_bond_deviations(pooled, self.ligand.geometry, self.ligand.bonds)
        turned = compute_angles(thinned, self.angles) - compute_angles(self.ligand.geometry[None], self.angles)
        clashes = None
        if self.protein is not None:
            clashes = count_clashes(
                thinned,
                self.protein[0],
                ligand_elements=self.ligand.atomic_numbers,
                protein_elements=self.protein[1],
            )
        return {
            "bond dev. [A]": ANGSTROM_PER_NM * float(np.sqrt((deviations**2).mean())),
            "worst bond [A]": ANGSTROM_PER_NM * float(np.abs(deviations).max()),
            "angle dev. [deg]": math.degrees(float(np.sqrt((turned**2).mean()))),
            "clashes": None if clashes is None else float(clashes.mean()),
        }


def combine(scores: Sequence[Score]) -> tuple[dict[str, float | None], dict[str, float]]:
    """Means over repeats and spreads: over all their paths where paths have the column, else over the repeats.

    A column that is undefined in one repeat is undefined.
    """
    mean: dict[str, float | None] = {}
    spread: dict[str, float] = {}
    for name in scores[0].values:
        values = [score.values[name] for score in scores]
        known = [v for v in values if v is not None]
        mean[name] = float(np.mean(known)) if len(known) == len(values) else None
        if mean[name] is None:
            continue
        each = np.concatenate([score.by_path[name] if name in score.by_path else np.zeros(0) for score in scores])
        if len(each) > 1 or len(known) > 1:
            spread[name] = float(np.std(each if len(each) else known))
    return mean, spread
