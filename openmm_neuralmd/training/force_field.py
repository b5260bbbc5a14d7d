"""What a force field says of the frames that a model is trained on."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from openmm_neuralmd.data.trajectories import LigandTrajectory, load_ligand_trajectory
from openmm_neuralmd.force_field.energies import ForceFieldModel
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.training.labels import ForceFieldLabels, load_labelled_trajectory


class LabellingReader:
    """Reads trajectories as ``load_ligand_trajectory`` does, once, and asks a force field of their frames.

    Args:
        find_model: The force field for a ligand by its residue name; None where there is none.
        split: Training part in time; of the rest nothing is computed.

    Attributes:
        labels: Of each trajectory that was read.
    """

    def __init__(self, find_model: Callable[[str], ForceFieldModel | None], *, split: float) -> None:
        self._find_model, self._split = find_model, split
        self.labels: list[ForceFieldLabels] = []

    def __call__(self, path: str, top: str | None, complex_: Complex, **how: Any) -> LigandTrajectory:
        model = self._find_model(complex_.ligand.name)
        if model is None:
            return load_ligand_trajectory(path, top, complex_, **how)
        trajectory, found = load_labelled_trajectory(model, path, top, complex_, split=self._split, **how)
        self.labels.append(found)
        return trajectory


def describe_labels(labels: Sequence[ForceFieldLabels]) -> str:
    """How many frames have labels, and how large their forces are."""
    size = float(np.sqrt(np.mean(np.concatenate([each.forces for each in labels]) ** 2)))
    n_frames = sum(len(each.frames) for each in labels)
    return f"{n_frames} frames, forces of {size:.0f} kJ/mol/nm (root mean square of a component)"
