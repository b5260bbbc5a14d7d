"""From trajectory files to a model file: what ``neuralmd train`` does."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openmm_neuralmd.checks import check_arguments
from openmm_neuralmd.data.entries import Entry
from openmm_neuralmd.data.leakage import find_split_leaks, name_complexes
from openmm_neuralmd.data.trajectories import LigandTrajectory
from openmm_neuralmd.data.windows import Split, build_windows, compute_stride, split_in_time
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.folders import own_folder
from openmm_neuralmd.models.applicability import describe_training_complex
from openmm_neuralmd.models.export import check_exportable, export_model
from openmm_neuralmd.models.metadata import check_config
from openmm_neuralmd.models.networks.interface import build_ligand_graph, build_protein_structure
from openmm_neuralmd.models.registry import get_kind
from openmm_neuralmd.training.arguments import TRAINING_ARGUMENTS
from openmm_neuralmd.training.checkpoint import compute_digest
from openmm_neuralmd.training.cutoffs import check_cutoffs
from openmm_neuralmd.training.labels import LABELS_OF_FORCE_FIELD, ForceFieldLabels, split_labels
from openmm_neuralmd.training.loop import ComplexWindows, Trainer, TrainingResult, TrainingSettings


@check_arguments(**TRAINING_ARGUMENTS)
def train_model(
    entries: Sequence[Entry],
    out: str | Path,
    *,
    kind: str,
    snapshot_interval: float,
    held_out: Sequence[Entry] = (),
    skipped: Mapping[str, str] | None = None,
    split: float = 0.8,
    config: dict[str, Any] | None = None,
    settings: TrainingSettings = TrainingSettings(),  # noqa: B008, frozen
    device: torch.device = torch.device("cpu"),  # noqa: B008, immutable
    labels: Sequence[ForceFieldLabels] = (),
    resume: bool = False,
    command: str = "",
    report: Callable[[int, dict[str, float]], None] | None = None,
) -> TrainingResult:
    """Train and write the model file.

    Without ``held_out`` the first ``split`` of each trajectory is for training, its last fifth for choosing the
    checkpoint; with it, whole trajectories train and those of the held-out complexes choose.

    Args:
        entries: Complexes to train on.
        out: Model file; ``metrics.csv`` and the checkpoint go to the folder ``<out without suffix>.training``.
        kind: "ode" (Newtonian), "sde" (Langevin), a baseline ("gnn", "denoising", "verlet"), or another one of the
            registry (``models.registry``).
        snapshot_interval: [ps], a multiple of every frame interval.
        held_out: Complexes to choose the checkpoint by.
        skipped: Complexes that could not be used and why, for the metadata.
        split: Training part in time; the rest is never read.
        config: Arguments of the network that differ from the kind's ``default_config``.
        device: Where to compute.
        labels: A force field's of each trajectory of the only complex, for kinds that learn them besides (VerletMD).
        resume: Continue from the checkpoint.
        command: How it was called, for the metadata.
        report: Called after each validation with the step and its losses.

    Raises:
        InputError: If a trajectory is too short or both trained on and held out, nothing can be resumed, or another
            process trains the same model.
        NonFiniteStateError: If the loss is not finite.
    """
    target = Path(out)
    _check_held_out(entries, held_out)
    own = get_kind(kind)
    if labels and LABELS_OF_FORCE_FIELD not in own.labels:
        raise InputError(f"kind {kind} learns no labels of a force field; leave labels out")
    arguments = {**own.default_config, **(config or {}), **(own.label_config if labels else {})}
    check_config(kind, arguments)
    complexes = [*entries, *held_out]
    check_cutoffs(
        [c for c, _ in complexes], ligand=arguments.get("ligand_cutoff"), pocket=arguments.get("pocket_cutoff")
    )
    splits = _split(entries, held_out, split)
    names = name_complexes([complex_ for complex_, _ in complexes])
    leaks = find_split_leaks([complex_ for complex_, _ in entries], [complex_ for complex_, _ in held_out])

    def build(trajectories: Sequence[LigandTrajectory], ranges: Sequence[tuple[int, int]]) -> list[Tensor]:
        return [
            build_windows(t, start=start, stop=stop, snapshot_interval=snapshot_interval, n_steps=settings.rollout)
            for t, (start, stop) in zip(trajectories, ranges, strict=True)
            if stop > start or not held_out  # whole complexes are for one part only; else each trajectory has both
        ]

    def begin(trajectory: LigandTrajectory, part: Split) -> int:
        """Of the validation windows: what they predict lies in their part, where they start from may lie before it."""
        if part.validation == part.test:
            return part.test
        return max(0, part.validation - 2 * compute_stride(trajectory.frame_interval, snapshot_interval))

    labelled = split_labels(labels, splits[0], snapshot_interval) if labels else None
    windows = [
        ComplexWindows(
            build_ligand_graph(complex_),
            build_protein_structure(complex_, pocket_cutoff=own.get_pocket_cutoff(arguments)),
            training=build(trajectories, [(0, p.validation) for p in parts]),
            validation=build(trajectories, [(begin(t, p), p.test) for t, p in zip(trajectories, parts, strict=True)]),
            training_labels=labelled and labelled[0],
            validation_labels=labelled and labelled[1],
        )
        for (complex_, trajectories), parts in zip(complexes, splits, strict=True)
    ]
    torch.manual_seed(settings.seed)  # PyTorch initializes weights from its global generator only
    net = own.build_network(arguments)
    if labelled is not None:
        own.prepare_for_labels(net, labelled[0])
    check_exportable(net, kind)
    folder = target.with_suffix(".training")
    identity = {
        "network": json.dumps(arguments, sort_keys=True),
        "snapshot interval": f"{snapshot_interval:g} ps",
        "superposition": json.dumps([t.superposed_on for _, trajectories in complexes for t in trajectories]),
        "split": json.dumps([[asdict(part) for part in parts] for parts in splits]),
        "ligand or protein": compute_digest([[w.graph._asdict(), w.structure._asdict()] for w in windows]),
        "set of trajectories": compute_digest([[w.training, w.validation] for w in windows]),
    }
    with own_folder(folder):
        trainer = Trainer(net, kind, windows, settings, folder, device, identity)
        if resume:
            trainer.resume()
        result = trainer.run(report)
    net.load_state_dict(result.state)
    metadata = {
        "kind": kind,
        "config": arguments,
        "snapshot_interval": snapshot_interval,
        "elements": sorted({z for complex_, _ in entries for z in complex_.ligand.atomic_numbers.tolist()}),
        "scheme": "leapfrog",
        "steps_per_snapshot": 1,
        "training": {
            "command": command,
            "complexes": [
                {
                    "name": name,
                    "source": c.source,
                    "ligand": c.ligand.name,
                    **({"notes": list(c.notes)} if c.notes else {}),
                    **describe_training_complex(c),
                }
                for name, (c, _) in zip(names, entries, strict=False)
            ],
            "complexes_validation": [c.source for c, _ in held_out],
            "complexes_skipped": dict(skipped or {}),
            "leaks": [str(leak) for leak in leaks],
            "trajectories": [
                {
                    "complex": c.source,
                    "file": t.source,
                    "sha256": t.sha256,
                    "superposed_on": t.superposed_on,
                    "frame_interval_ps": t.frame_interval,
                    "frames": len(t.snapshots),
                    "frames_training": [0, p.validation],
                    "frames_validation": [p.validation, p.test],
                }
                for (c, trajectories), parts in zip(complexes, splits, strict=True)
                for t, p in zip(trajectories, parts, strict=True)
            ],
            **({"force_field": labels[0].protocol} if labels else {}),
            "windows": trainer.ends[-1],
            "device": str(device),
            "settings": asdict(settings),
        },
        "metrics": {"best_step": result.best_step, "validation_loss": result.best_loss, **trainer.judge_labels()},
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    export_model(net, metadata, target)
    return result


def _check_held_out(entries: Sequence[Entry], held_out: Sequence[Entry]) -> None:
    known = {trajectory.sha256 for _, trajectories in entries for trajectory in trajectories}
    for trajectory in (t for _, trajectories in held_out for t in trajectories):
        if trajectory.sha256 in known:
            raise InputError(
                f"{trajectory.source} is both trained on and held out to choose the checkpoint: take it from one of "
                "the two"
            )


def _split(entries: Sequence[Entry], held_out: Sequence[Entry], split: float) -> list[list[Split]]:
    """Frame ranges of each trajectory, of the complexes to train on and then of those held out."""

    def count(entry: Entry) -> list[int]:
        return [len(t.snapshots) for t in entry[1]]

    if not held_out:
        return [[split_in_time(n, split=split) for n in count(entry)] for entry in entries]
    whole = [[Split(n, n, n) for n in count(entry)] for entry in entries]
    return whole + [[Split(0, n, n) for n in count(entry)] for entry in held_out]
