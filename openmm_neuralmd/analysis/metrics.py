"""How far a predicted path is from a reference path, snapshot by snapshot.

Two families, never mixed: ``compute_published_metrics`` are the four numbers of the NeuralMD paper as its code
computes them (doi:10.1038/s41467-025-67808-z), ``compute_textbook_metrics`` what the same words mean elsewhere.
Same-time comparison of two chaotic paths says little beyond the memory of the motion: read it beside a frozen
ligand, the mean structure and a second MD replica.
"""

import numpy as np

from openmm_neuralmd.analysis.chunks import FRAMES, in_chunks
from openmm_neuralmd.errors import InputError

STABILITY_THRESHOLD_NM = 0.05
"""Both the paper's limit for any pair distance and MDsim's for bonds, doi:10.48550/arXiv.2210.07237, section 4."""


def compute_published_metrics(prediction: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """MAE, RMSE, Matching and Stability as the NeuralMD code computes them.

    Its MAE sums the absolute errors of x, y and z (three times the usual MAE); its RMSE is the mean length of the
    displacements (so it is below the MAE); its Matching is the root mean square difference of all N x N pair
    distances, zero diagonal included, averaged over snapshots; its Stability is the percentage of those N x N pairs
    within 0.05 nm (so 100/N percent are free).

    Args:
        prediction, reference: Ligand heavy atoms at the same times [nm], (n_frames, n_atoms, 3).

    Returns:
        ``mae_nm``, ``rmse_nm``, ``matching_nm``, ``stability_percent``.

    Raises:
        InputError: If the shapes differ or there is no frame.
    """
    _check_pair(prediction, reference)
    error = np.asarray(prediction, dtype=np.float64) - reference
    squares, small = _compare_distances(prediction, reference)
    n_atoms = prediction.shape[1]
    return {
        "mae_nm": float(np.abs(error).sum(axis=-1).mean()),
        "rmse_nm": float(np.linalg.norm(error, axis=-1).mean()),
        "matching_nm": float(np.sqrt(2.0 * squares / n_atoms**2).mean()),
        "stability_percent": float(100.0 * (2.0 * small.mean() + n_atoms) / n_atoms**2),
    }


def compute_textbook_metrics(prediction: np.ndarray, reference: np.ndarray, bonds: np.ndarray) -> dict[str, float]:
    """The same four ideas as textbooks define them.

    MAE per Cartesian component; RMSE as the root of the mean squared displacement; Matching as the root mean square
    difference over distinct pairs; Stability as the percentage of frames before any bond first leaves its mean in
    ``reference`` by more than 0.05 nm (MDsim, doi:10.48550/arXiv.2210.07237).

    Args:
        prediction, reference: Ligand heavy atoms at the same times [nm], (n_frames, n_atoms, 3).
        bonds: Atom pairs, (n_bonds, 2).

    Returns:
        ``mae_nm``, ``rmse_nm``, ``matching_nm``, ``stability_percent``.

    Raises:
        InputError: If the shapes differ or there is no frame.
    """
    _check_pair(prediction, reference)
    error = np.asarray(prediction, dtype=np.float64) - reference
    n_atoms = prediction.shape[1]
    squares, _ = _compare_distances(prediction, reference)
    means = compute_pair_distances(reference, bonds).mean(axis=0)
    broken = (np.abs(compute_pair_distances(prediction, bonds) - means) > STABILITY_THRESHOLD_NM).any(axis=1)
    n_whole = int(np.argmax(broken)) if broken.any() else len(broken)
    return {
        "mae_nm": float(np.abs(error).mean()),
        "rmse_nm": float(np.sqrt((error**2).sum(axis=-1).mean())),
        "matching_nm": float(np.sqrt(squares.mean() / (n_atoms * (n_atoms - 1) / 2))),
        "stability_percent": 100.0 * n_whole / len(broken),
    }


def compute_rmsd(positions: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Pose RMSD of each frame: no superposition here, so superpose the protein first.

    Args:
        positions: Ligand heavy atoms [nm], (n_frames, n_atoms, 3).
        reference: One pose [nm], (n_atoms, 3).

    Returns:
        RMSD [nm], (n_frames,); not mass-weighted, no symmetry correction.
    """
    return np.sqrt(((np.asarray(positions, dtype=np.float64) - reference) ** 2).sum(axis=-1).mean(axis=-1))


@in_chunks
def compute_pair_distances(positions: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Distances [nm], (n_frames, n_pairs), of atom pairs (n_pairs, 2) in positions (n_frames, n_atoms, 3)."""
    xyz = np.asarray(positions, dtype=np.float64)
    return np.linalg.norm(xyz[:, pairs[:, 0]] - xyz[:, pairs[:, 1]], axis=-1)


def _compare_distances(prediction: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each frame the sum over distinct pairs of squared differences [nm^2], and the number of small differences."""
    pairs = np.stack(np.triu_indices(prediction.shape[1], k=1), axis=1)
    squares, small = [], []
    for k in range(0, len(prediction), FRAMES):
        part = slice(k, k + FRAMES)
        difference = compute_pair_distances(prediction[part], pairs) - compute_pair_distances(reference[part], pairs)
        squares.append((difference**2).sum(axis=1))
        small.append((np.abs(difference) <= STABILITY_THRESHOLD_NM).sum(axis=1))
    return np.concatenate(squares), np.concatenate(small)


def _check_pair(prediction: np.ndarray, reference: np.ndarray) -> None:
    if prediction.shape != reference.shape or prediction.ndim != 3 or len(prediction) == 0:
        raise InputError(
            f"prediction has shape {prediction.shape}, reference {reference.shape}: give the same number (at least "
            "one) of frames and atoms, (n_frames, n_atoms, 3)"
        )
