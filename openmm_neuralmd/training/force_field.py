"""What a force field says of the frames that a model is trained on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from openmm_neuralmd.checks import check_arguments, check_path, optional
from openmm_neuralmd.data.entries import Entry
from openmm_neuralmd.data.windows import split_in_time
from openmm_neuralmd.force_field.energies import ForceFieldModel
from openmm_neuralmd.training.labels import ForceFieldLabels, compute_labels


@check_arguments(top=optional(check_path))
def label_trajectories(
    model: ForceFieldModel,
    paths: Sequence[str | Path],
    top: str | Path | None,
    entry: Entry,
    *,
    split: float,
    frame_interval: float | None = None,
    superpose_on: str = "pocket",
) -> list[ForceFieldLabels]:
    """Forces and energies for the training part of each trajectory of a complex.

    Args:
        model: The force field.
        paths: The files that ``entry`` was read from, in its order.
        top: Their topology.
        entry: The complex and its trajectories.
        split: Training part in time; of the rest nothing is computed.
        frame_interval, superpose_on: As of the trajectories.

    Raises:
        InputError, TopologyMismatchError: As ``compute_labels``.
    """
    return [
        compute_labels(
            model,
            path,
            top,
            entry.complex,
            stop=split_in_time(len(trajectory.snapshots), split=split).test,
            frame_interval=frame_interval,
            superpose_on=superpose_on,
        )
        for path, trajectory in zip(paths, entry.trajectories, strict=True)
    ]


def describe_labels(labels: Sequence[ForceFieldLabels]) -> str:
    """How many frames have labels, and how large their forces are."""
    size = float(np.sqrt(np.mean(np.concatenate([each.forces for each in labels]) ** 2)))
    n_frames = sum(len(each.frames) for each in labels)
    return f"{n_frames} frames, forces of {size:.0f} kJ/mol/nm (root mean square of a component)"
