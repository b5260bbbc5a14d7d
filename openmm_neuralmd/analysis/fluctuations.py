"""How a ligand fluctuates, and how far two sets of fluctuations are apart."""

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.stats import wasserstein_distance

from openmm_neuralmd.analysis.chunks import in_chunks
from openmm_neuralmd.errors import InputError

SLIDING_WINDOW = 5
"""Snapshots in the paper's RMSF-Ligand, doi:10.1038/s41467-025-67808-z."""


def compute_rmsf(positions: np.ndarray) -> np.ndarray:
    """Fluctuation of each atom about its mean place.

    Args:
        positions: Superposed frames [nm], (n_frames, n_atoms, 3).

    Returns:
        RMSF [nm], (n_atoms,).
    """
    xyz = np.asarray(positions, dtype=np.float64)
    return np.sqrt(((xyz - xyz.mean(axis=0)) ** 2).sum(axis=-1).mean(axis=0))


def compute_sliding_rmsf(positions: np.ndarray, window: int = SLIDING_WINDOW) -> np.ndarray:
    """The paper's RMSF-Ligand: fluctuation of all atoms within each run of ``window`` consecutive snapshots.

    Args:
        positions: Superposed frames [nm], (n_frames, n_atoms, 3).
        window: Snapshots in one run.

    Returns:
        Root mean square over the run's snapshots and atoms [nm], (n_frames - window + 1,).

    Raises:
        InputError: If there are fewer frames than ``window``.
    """
    if len(positions) < window:
        raise InputError(f"{len(positions)} frames: the sliding RMSF needs at least {window}")
    xyz = np.asarray(positions, dtype=np.float64)
    runs = np.lib.stride_tricks.sliding_window_view(xyz, window, axis=0)  # (n_runs, n_atoms, 3, window)
    return np.sqrt(runs.var(axis=-1).sum(axis=-1).mean(axis=-1))


@in_chunks
def compute_torsions(positions: np.ndarray, quadruples: np.ndarray) -> np.ndarray:
    """Torsion angles, IUPAC sign.

    Args:
        positions: [nm], (n_frames, n_atoms, 3).
        quadruples: Four atoms each, (n_torsions, 4).

    Returns:
        Angles [rad] in (-pi, pi], (n_frames, n_torsions).
    """
    xyz = np.asarray(positions, dtype=np.float64)
    a, b, c, d = (xyz[:, quadruples[:, k]] for k in range(4))
    first, axis, last = b - a, c - b, d - c
    left, right = np.cross(first, axis), np.cross(axis, last)
    along = (first * right).sum(-1) * np.linalg.norm(axis, axis=-1)
    return np.arctan2(along, (left * right).sum(-1))


def compute_autocorrelation(positions: np.ndarray, max_lag: int) -> np.ndarray:
    """Normalised autocorrelation of the displacement from the mean structure, all atoms together.

    C(k) = <d(t) . d(t + k)> / <d . d>, with d the 3N-vector of displacements; the sum at lag k is divided by the
    number of its terms. Through the power spectrum (Wiener and Khinchin), in time n log n.

    Args:
        positions: Superposed frames [nm], (n_frames, n_atoms, 3).
        max_lag: Largest lag in frames; cut to n_frames - 1.

    Returns:
        (max_lag + 1,), 1 at lag 0; NaN where nothing moves.
    """
    deviation = np.asarray(positions, dtype=np.float64).reshape(len(positions), -1)
    deviation = deviation - deviation.mean(axis=0)
    n_frames = len(deviation)
    lags = np.arange(min(max_lag, n_frames - 1) + 1)
    variance = (deviation**2).sum() / n_frames
    if variance < 1e-16:  # nm^2: a frozen ligand has no autocorrelation
        return np.full(len(lags), np.nan)
    length = next_fast_len(n_frames + int(lags[-1]))  # zeros between the ends: no lag wraps around
    power = np.zeros(length // 2 + 1)
    for column in deviation.T:
        power += np.abs(rfft(column, length)) ** 2
    return irfft(power, length)[: len(lags)] / (n_frames - lags) / variance


def compute_correlation_time(autocorrelation: np.ndarray, interval: float) -> float:
    """Integral of the autocorrelation up to its first zero [unit of ``interval``]; NaN where nothing moves.

    With the trapezoidal rule; a sum cut at the first zero is biased low when the series is only a few correlation
    times long.
    """
    if np.isnan(autocorrelation).any():
        return float("nan")
    below = np.nonzero(autocorrelation <= 0.0)[0]
    kept = autocorrelation[: below[0]] if len(below) else autocorrelation
    return float(interval * (kept.sum() - 0.5))


def compute_wasserstein_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """1-Wasserstein distance of each column's distribution, (n_columns,), of samples (n_frames, n_columns)."""
    return np.array([wasserstein_distance(a, b) for a, b in zip(first.T, second.T, strict=True)])


def compute_circular_wasserstein_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """1-Wasserstein distance on the circle of each column's distribution.

    The optimal transport on a circle costs the integral of |F - G - m| with m the weighted median of F - G.

    Args:
        first, second: Angles [rad], (n_frames, n_columns); their numbers of frames may differ.

    Returns:
        Distances [rad], (n_columns,).

    Source: Rabin, Delon, Gousseau (2011), doi:10.1007/s10851-011-0284-0.
    """
    distances = []
    for a, b in zip(np.mod(first, 2 * np.pi).T, np.mod(second, 2 * np.pi).T, strict=True):
        edges = np.sort(np.concatenate([a, b]))
        widths = np.diff(np.append(edges, edges[0] + 2 * np.pi))
        gap = np.searchsorted(np.sort(a), edges, side="right") / len(a)
        gap = gap - np.searchsorted(np.sort(b), edges, side="right") / len(b)
        order = np.argsort(gap)
        median = gap[order][np.searchsorted(np.cumsum(widths[order]), np.pi)]
        distances.append(float((np.abs(gap - median) * widths).sum()))
    return np.array(distances)


def compute_energy_score(ensemble: np.ndarray, observation: np.ndarray) -> float:
    """Energy score of an ensemble of predictions for one observed pose; lower is better, and proper.

    mean |X - y| - mean |X - X'| / 2 over distinct members, with the norm of the 3N-vector divided by sqrt(N), so
    that |X - y| is an RMSD.

    Args:
        ensemble: Predicted poses [nm], (n_members, n_atoms, 3); with one member the score is its RMSD.
        observation: The pose that came [nm], (n_atoms, 3).

    Returns:
        Score [nm].

    Source: Gneiting and Raftery (2007), doi:10.1198/016214506000001437, section 4.3.
    """
    flat = np.asarray(ensemble, dtype=np.float64).reshape(len(ensemble), -1) / np.sqrt(len(observation))
    observed = np.asarray(observation, dtype=np.float64).ravel() / np.sqrt(len(observation))
    accuracy = np.linalg.norm(flat - observed, axis=1).mean()
    n = len(flat)
    if n == 1:
        return float(accuracy)
    spread = np.linalg.norm(flat[:, None] - flat[None], axis=-1).sum() / (n * (n - 1))
    return float(accuracy - 0.5 * spread)
