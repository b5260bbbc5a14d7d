"""What a model is trained on: complexes, which frames of their trajectories are for what, and windows of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from openmm_neuralmd.data.entries import Entry
from openmm_neuralmd.data.leakage import find_split_leaks, name_complexes
from openmm_neuralmd.data.trajectories import LigandTrajectory
from openmm_neuralmd.data.windows import Split, build_windows, compute_stride, split_in_time
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.models.applicability import describe_training_complex
from openmm_neuralmd.models.kinds.kind import Kind
from openmm_neuralmd.models.losses.labels import FrameLabels
from openmm_neuralmd.models.networks.interface import build_ligand_graph, build_protein_structure
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.training.loop import ComplexWindows


@dataclass(frozen=True)
class Dataset:
    """Complexes with their trajectories, and how these are split.

    Attributes:
        entries: Complexes to train on.
        held_out: Complexes that choose the checkpoint; where there are none the end of each training part does.
        splits: Frame ranges of each trajectory, of the entries and then of those held out.
    """

    entries: Sequence[Entry]
    held_out: Sequence[Entry]
    splits: Sequence[Sequence[Split]]

    @property
    def complexes(self) -> list[Complex]:
        """Of the entries and then of those held out."""
        return [complex_ for complex_, _ in (*self.entries, *self.held_out)]

    def iterate_trajectories(self) -> Iterator[tuple[Complex, LigandTrajectory, Split]]:
        """Each trajectory with its complex and its frame ranges."""
        for (complex_, trajectories), parts in zip((*self.entries, *self.held_out), self.splits, strict=True):
            for trajectory, part in zip(trajectories, parts, strict=True):
                yield complex_, trajectory, part

    def build_windows(
        self,
        kind: Kind,
        config: Mapping[str, Any],
        *,
        snapshot_interval: float,
        n_steps: int,
        labels: tuple[FrameLabels, FrameLabels] | None = None,
    ) -> list[ComplexWindows]:
        """What the training loop takes, one for each complex.

        Args:
            kind, config: Of the network.
            snapshot_interval: [ps].
            n_steps: Snapshots that are predicted from each start.
            labels: A force field's, of the only complex, for training and for validation.
        """
        return [
            ComplexWindows(
                build_ligand_graph(complex_),
                build_protein_structure(complex_, pocket_cutoff=kind.get_pocket_cutoff(config)),
                training=self._cut(trajectories, [(0, p.validation) for p in parts], snapshot_interval, n_steps),
                validation=self._cut(
                    trajectories,
                    [
                        (_find_validation_start(t, p, snapshot_interval), p.test)
                        for t, p in zip(trajectories, parts, strict=True)
                    ],
                    snapshot_interval,
                    n_steps,
                ),
                training_labels=labels and labels[0],
                validation_labels=labels and labels[1],
            )
            for (complex_, trajectories), parts in zip((*self.entries, *self.held_out), self.splits, strict=True)
        ]

    def _cut(
        self,
        trajectories: Sequence[LigandTrajectory],
        ranges: Sequence[tuple[int, int]],
        snapshot_interval: float,
        n_steps: int,
    ) -> list[Tensor]:
        return [
            build_windows(t, start=start, stop=stop, snapshot_interval=snapshot_interval, n_steps=n_steps)
            for t, (start, stop) in zip(trajectories, ranges, strict=True)
            if stop > start or not self.held_out  # whole complexes are for one part only; else each trajectory has both
        ]

    def describe(self) -> dict[str, Any]:
        """What a model file keeps of its training data."""
        names = name_complexes(self.complexes)
        leaks = find_split_leaks([c for c, _ in self.entries], [c for c, _ in self.held_out])
        return {
            "complexes": [_describe_complex(name, c) for name, (c, _) in zip(names, self.entries, strict=False)],
            "complexes_validation": [c.source for c, _ in self.held_out],
            "leaks": [str(leak) for leak in leaks],
            "trajectories": [_describe_trajectory(*each) for each in self.iterate_trajectories()],
        }

    def describe_split(self) -> list[list[dict[str, int]]]:
        """The frame ranges as numbers."""
        return [[asdict(part) for part in parts] for parts in self.splits]


def split_entries(entries: Sequence[Entry], held_out: Sequence[Entry], split: float) -> Dataset:
    """Without ``held_out`` the first ``split`` of each trajectory is for training; with it, whole trajectories are.

    Raises:
        InputError: If a trajectory is both trained on and held out, or too short.
    """
    known = {trajectory.sha256 for _, trajectories in entries for trajectory in trajectories}
    for trajectory in (t for _, trajectories in held_out for t in trajectories):
        if trajectory.sha256 in known:
            raise InputError(
                f"{trajectory.source} is both trained on and held out to choose the checkpoint: take it from one of "
                "the two"
            )
    counts, counts_held_out = (
        [[len(t.snapshots) for t in trajectories] for _, trajectories in part] for part in (entries, held_out)
    )
    if not held_out:
        return Dataset(entries, held_out, [[split_in_time(n, split=split) for n in each] for each in counts])
    whole = [[Split(n, n, n) for n in each] for each in counts]
    return Dataset(entries, held_out, whole + [[Split(0, n, n) for n in each] for each in counts_held_out])


def _find_validation_start(trajectory: LigandTrajectory, part: Split, snapshot_interval: float) -> int:
    """What validation windows predict lies in their part; where they start from, two snapshots, may lie before it."""
    if part.validation == part.test:
        return part.test
    return max(0, part.validation - 2 * compute_stride(trajectory.frame_interval, snapshot_interval))


def _describe_complex(name: str, complex_: Complex) -> dict[str, Any]:
    return {
        "name": name,
        "source": complex_.source,
        "ligand": complex_.ligand.name,
        **({"notes": list(complex_.notes)} if complex_.notes else {}),
        **describe_training_complex(complex_),
    }


def _describe_trajectory(complex_: Complex, trajectory: LigandTrajectory, part: Split) -> dict[str, Any]:
    return {
        "complex": complex_.source,
        "file": trajectory.source,
        "sha256": trajectory.sha256,
        "superposed_on": trajectory.superposed_on,
        "frame_interval_ps": trajectory.frame_interval,
        "frames": len(trajectory.snapshots),
        "frames_training": [0, part.validation],
        "frames_validation": [part.validation, part.test],
    }
