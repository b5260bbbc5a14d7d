"""From trajectory files to a model file: what ``neuralmd train`` does."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from openmm_neuralmd.checks import check_arguments
from openmm_neuralmd.data.entries import Entry
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.folders import own_folder
from openmm_neuralmd.models.export import check_exportable, export_model
from openmm_neuralmd.models.losses.labels import LABELS_OF_FORCE_FIELD
from openmm_neuralmd.models.metadata import check_config
from openmm_neuralmd.models.registry import get_kind
from openmm_neuralmd.training.arguments import TRAINING_ARGUMENTS
from openmm_neuralmd.training.checkpoint import compute_digest
from openmm_neuralmd.training.cutoffs import check_cutoffs
from openmm_neuralmd.training.dataset import Dataset, split_entries
from openmm_neuralmd.training.labels import ForceFieldLabels, split_labels
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
    data = split_entries(entries, held_out, split)
    own = get_kind(kind)
    if labels and LABELS_OF_FORCE_FIELD not in own.labels:
        raise InputError(f"kind {kind} learns no labels of a force field; leave labels out")
    arguments = {**own.default_config, **(config or {}), **(own.label_config if labels else {})}
    check_config(kind, arguments)
    check_cutoffs(data.complexes, ligand=arguments.get("ligand_cutoff"), pocket=arguments.get("pocket_cutoff"))
    labelled = split_labels(labels, data.splits[0], snapshot_interval) if labels else None
    windows = data.build_windows(
        own, arguments, snapshot_interval=snapshot_interval, n_steps=settings.rollout, labels=labelled
    )
    torch.manual_seed(settings.seed)  # PyTorch initializes weights from its global generator only
    net = own.build_network(arguments)
    if labelled is not None:
        own.prepare_for_labels(net, labelled[0])
    check_exportable(net, kind)
    folder = target.with_suffix(".training")
    with own_folder(folder):
        identity = _identify(data, windows, arguments, snapshot_interval)
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
            **data.describe(),
            "complexes_skipped": dict(skipped or {}),
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


def _identify(
    data: Dataset, windows: Sequence[ComplexWindows], config: Mapping[str, Any], snapshot_interval: float
) -> dict[str, str]:
    """What tells this training from others, in words; a checkpoint that is gone on from must have the same."""
    superpositions = [trajectory.superposed_on for _, trajectory, _ in data.iterate_trajectories()]
    return {
        "network": json.dumps(config, sort_keys=True),
        "snapshot interval": f"{snapshot_interval:g} ps",
        "superposition": json.dumps(superpositions),
        "split": json.dumps(data.describe_split()),
        "ligand or protein": compute_digest([[w.graph._asdict(), w.structure._asdict()] for w in windows]),
        "set of trajectories": compute_digest([[w.training, w.validation] for w in windows]),
    }
