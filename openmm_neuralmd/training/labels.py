"""What a force field says of a trajectory's frames: labels that an energy network can learn.

Forces are the raw ones of the instant, -dE/dx of each frame as MD left it, vibrations of bonds included, as potentials
are trained on. Nothing is minimised or averaged. E is the energy of the ligand and of its interaction with the
residues around it (``analysis.energetics.SHELL_NM``), in the place the frame's own protein has, by the protocol of
``force_field.energies``: no water, Coulomb energies divided by a constant permittivity. So these are not the forces
that moved the ligand in solvated MD, and the rigid protein that a model sees is not the one they were computed with.

A model knows heavy atoms only. The force on a hydrogen is added to that on its heavy atom, which is -dE/dx for moving
the heavy atom and its hydrogens together as one rigid group; what its hydrogens do within the group is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch

from openmm_neuralmd.analysis.energetics import EnergyPlan, plan_energies
from openmm_neuralmd.data.trajectories import LigandTrajectory, extract_snapshots
from openmm_neuralmd.data.windows import Split, split_in_time
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.force_field.energies import ForceFieldModel, SnapshotEnergies
from openmm_neuralmd.io.kept import KeptFrames
from openmm_neuralmd.io.trajectories import TrajectoryFile, open_trajectory
from openmm_neuralmd.models.losses.labels import FrameLabels
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.units import ANGSTROM_PER_NM, compute_force_factor

MAX_LABELS = 2000
"""Frames of a trajectory at most, evenly spread."""


@dataclass(frozen=True)
class ForceFieldLabels:
    """Of frames of one trajectory, superposed on the complex's rigid protein; atoms as in the complex, up to symmetry.

    Attributes:
        frames: Place of each in its trajectory, int64, (n_frames,).
        positions: Ligand heavy atoms [nm], (n_frames, n_atoms, 3).
        forces: On them and their hydrogens [kJ/mol/nm], (n_frames, n_atoms, 3).
        energies: Of ligand and interaction [kJ/mol], (n_frames,).
        protocol: How they were computed, for the record.
    """

    frames: np.ndarray
    positions: np.ndarray
    forces: np.ndarray
    energies: np.ndarray
    protocol: dict[str, str | float]

    def select(self, start: int, stop: int) -> "ForceFieldLabels":
        """Labels of frames from ``start`` to before ``stop``."""
        kept = (self.frames >= start) & (self.frames < stop)
        return ForceFieldLabels(
            self.frames[kept], self.positions[kept], self.forces[kept], self.energies[kept], self.protocol
        )


def load_labelled_trajectory(
    model: ForceFieldModel,
    path: str | Path,
    top: str | Path | None,
    complex_: Complex,
    *,
    split: float,
    frame_interval: float | None = None,
    superpose_on: str = "pocket",
) -> tuple[LigandTrajectory, ForceFieldLabels]:
    """Snapshots of a trajectory that is read once, with forces and energies of those that are not for the test.

    Each frame is superposed first and the force field asked in that place, so that the forces turn with it.

    Args:
        model: The force field.
        path, top: A trajectory of the whole complex, hydrogens and side chains included, and its topology.
        complex_: Rigid protein and ligand that frames are laid on.
        split: Part in time that is not for the test; of the rest nothing is computed.
        frame_interval: [ps], where the file does not say it.
        superpose_on: CA atoms of the "pocket" or of "all" residues, as the snapshots were.

    Raises:
        InputError: If the trajectory lacks atoms of ligand or protein, or as in ``load_ligand_trajectory``.
        TopologyMismatchError: If the force field is for another ligand or protein, or as there.
    """
    complex_.site.choose_anchors(superpose_on)
    file = open_trajectory(path, top, interval=frame_interval)
    plan = _plan(model, complex_, file)
    trajectory = extract_snapshots(file, complex_, superpose_on=superpose_on, keep=plan.atoms[0], max_kept=MAX_LABELS)
    assert trajectory.kept is not None  # atoms were asked for
    labels = _ask(plan, trajectory.kept, split_in_time(len(trajectory.snapshots), split=split).test)
    return replace(trajectory, kept=None), labels


def _plan(model: ForceFieldModel, complex_: Complex, file: TrajectoryFile) -> EnergyPlan:
    plan = plan_energies(model, complex_.site, [file])
    if not plan.residues:
        raise InputError(
            f"{file.path}: forces of a force field need the whole complex, side chains and hydrogens included; give "
            "such a trajectory, or train without a force field"
        )
    return plan


def _ask(plan: EnergyPlan, kept: KeptFrames, stop: int) -> ForceFieldLabels:
    """Labels of kept frames before ``stop``, whose atoms are those of the plan in its order."""
    used = kept.frames < stop
    function = cast(SnapshotEnergies, plan.function)
    place = np.cumsum(function.is_heavy) - 1  # each heavy atom is followed by its hydrogens
    positions, forces, energies = [], [], []
    for xyz in kept.positions[used].astype(np.float64):
        ligand, protein = np.split(xyz, [plan.n_ligand])
        energy, atomic = function.compute_forces(ligand, protein)
        grouped = np.zeros((place[-1] + 1, 3))
        np.add.at(grouped, place, atomic)
        positions.append(ligand[function.is_heavy])
        forces.append(grouped)
        energies.append(energy)
    protocol = {key: plan.protocol[key] for key in ("parameters", "dielectric")} | {"residues": len(plan.residues)}
    return ForceFieldLabels(kept.frames[used], np.array(positions), np.array(forces), np.array(energies), protocol)


def split_labels(
    labels: Sequence[ForceFieldLabels], splits: Sequence[Split], snapshot_interval: float
) -> tuple[FrameLabels, FrameLabels]:
    """Labels of all trajectories of a complex in the models' units, for training and for validation.

    Args:
        labels, splits: One for each trajectory.
        snapshot_interval: [ps].

    Raises:
        InputError: If a part has fewer than two labels.
    """
    factor = 1.0 / compute_force_factor(snapshot_interval)
    parts = (
        [each.select(0, split.validation) for each, split in zip(labels, splits, strict=True)],
        [each.select(split.validation, split.test) for each, split in zip(labels, splits, strict=True)],
    )
    joined = [
        (
            ANGSTROM_PER_NM * np.concatenate([each.positions for each in part]),
            factor * np.concatenate([each.forces for each in part]),
            ANGSTROM_PER_NM * factor * np.concatenate([each.energies for each in part]),
        )
        for part in parts
    ]
    if min(len(energies) for _, _, energies in joined) < 2:
        raise InputError("fewer than two frames with a force field's forces to train on or to choose by: give more")
    _, forces, energies = joined[0]
    scales = [torch.tensor(value).float() for value in ((forces**2).mean(), energies.var())]
    training, validation = (
        FrameLabels(*(torch.from_numpy(v).float() for v in (x, f, e - energies.mean())), *scales) for x, f, e in joined
    )
    return training, validation
