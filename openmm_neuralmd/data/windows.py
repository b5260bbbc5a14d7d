"""Windows of consecutive snapshots, and the split in time that keeps training, validation and test apart."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from openmm_neuralmd.data.trajectories import LigandTrajectory
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.units import ANGSTROM_PER_NM


@dataclass(frozen=True)
class Split:
    """Frame ranges of one trajectory: training [0, validation), validation [validation, test), test [test, end)."""

    validation: int
    test: int
    end: int


def split_in_time(n_frames: int, *, split: float, validation: float = 0.2) -> Split:
    """The first ``split`` of the frames for training, its last ``validation`` part for choosing the checkpoint.

    Raises:
        InputError: If a fraction is not between 0 and 1.
    """
    if not 0.0 < split <= 1.0 or not 0.0 < validation < 1.0:
        raise InputError(f"split {split} and validation {validation} must lie between 0 and 1")
    test = int(split * n_frames)
    return Split(validation=int((1.0 - validation) * test), test=test, end=n_frames)


def compute_stride(frame_interval: float, snapshot_interval: float) -> int:
    """Frames from one snapshot to the next.

    Raises:
        InputError: If the snapshot interval is not a multiple of the frame interval [both ps].
    """
    if not 0.0 < snapshot_interval < math.inf:
        raise InputError(f"a snapshot interval of {snapshot_interval:g} ps: give more than 0 ps (`snapshot_interval`)")
    stride = round(snapshot_interval / frame_interval)
    if stride < 1 or abs(stride * frame_interval - snapshot_interval) > 1e-3 * frame_interval:
        raise InputError(
            f"a snapshot interval of {snapshot_interval:g} ps is not a multiple of the frame interval, "
            f"{frame_interval:g} ps; choose `snapshot_interval` accordingly, or give the file's own frame "
            "interval (`frame_interval`)"
        )
    return stride


def build_windows(
    trajectory: LigandTrajectory, *, start: int, stop: int, snapshot_interval: float, n_steps: int = 1
) -> Tensor:
    """All windows x_(t-1), x_t, ..., x_(t+n_steps) inside frames [start, stop), one beginning at every frame.

    Returns:
        float32 [A], (n_windows, n_steps + 2, n_atoms, 3); a view of the snapshots, so long windows need no memory.

    Raises:
        InputError: If not one window fits.
    """
    stride = compute_stride(trajectory.frame_interval, snapshot_interval)
    length = stride * (n_steps + 1) + 1
    if stop - start < length:
        raise InputError(
            f"{trajectory.source}: {stop - start} of its {len(trajectory.snapshots)} frames are for this part, too few "
            f"for a window of {length} ({n_steps + 2} snapshots {snapshot_interval:g} ps apart); give a longer "
            f"trajectory or a shorter `snapshot_interval`{' or `rollout`' if n_steps > 1 else ''}"
        )
    snapshots = torch.from_numpy(trajectory.snapshots[start:stop] * ANGSTROM_PER_NM).float()
    return snapshots.unfold(0, length, 1)[..., ::stride].movedim(-1, 1)
