"""Frames kept while a trajectory of unknown length goes by: evenly spread, never more than a given number."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_KEPT_FRAMES = 40  # whose energies are computed: their mean is then known to a sixth of their spread
_MAX_KEPT_ON_THE_WAY = 8 * MAX_KEPT_FRAMES


@dataclass(frozen=True)
class KeptFrames:
    """Some frames with more atoms than the ligand's, in the binding site's place.

    Attributes:
        frames: Place of each in its trajectory, (n_kept,).
        positions: Of the atoms that were asked for [nm], float32, (n_kept, n_atoms, 3).
    """

    frames: np.ndarray
    positions: np.ndarray


class Spread:
    """Evenly spread items of a series of unknown length: every k-th, k doubling whenever there are too many."""

    def __init__(self, largest: int) -> None:
        self.items: list[tuple[int, Any]] = []
        self._largest = largest
        self._stride = 1
        self._n_seen = 0

    def choose(self, n_more: int) -> Iterator[int]:
        """Which of the next ``n_more`` items to ``add``; each must be added before the next is asked for."""
        for k in range(n_more):
            self._n_seen += 1
            if (self._n_seen - 1) % self._stride == 0:
                yield k

    def add(self, item: Any) -> None:
        self.items.append((self._n_seen - 1, item))
        while len(self.items) > self._largest:
            self._stride *= 2
            self.items = [i for i in self.items if i[0] % self._stride == 0]


class FrameKeeper:
    """Keeps some frames of the chunks that it is shown.

    Args:
        atoms: Which of a chunk's atoms, int64, (n_atoms,).
        largest: How many frames; all of a shorter trajectory.
    """

    def __init__(self, atoms: np.ndarray, largest: int) -> None:
        self.atoms, self.largest = atoms, largest
        self._spread = Spread(max(_MAX_KEPT_ON_THE_WAY, largest))

    def look(self, chunk: np.ndarray) -> None:
        """Keep what is to be kept of the next frames, (n_frames, n_all, 3)."""
        for k in self._spread.choose(len(chunk)):
            self._spread.add(chunk[k, self.atoms])

    def finish(self) -> KeptFrames:
        """The frames, at least one of which was seen."""
        items = self._spread.items
        chosen = np.unique(np.linspace(0, len(items) - 1, min(len(items), self.largest)).round().astype(int))
        picked = [items[k] for k in chosen]
        return KeptFrames(np.array([k for k, _ in picked]), np.stack([xyz for _, xyz in picked]))
