"""From trajectory files to a model file: what ``neuralmd train`` does."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openmm_neuralmd.complex import Complex
from openmm_neuralmd.data.trajectories import LigandTrajectory
from openmm_neuralmd.data.windows import build_windows, split_in_time
from openmm_neuralmd.models.applicability import describe_training_complex
from openmm_neuralmd.models.export import check_exportable, export_model
from openmm_neuralmd.models.interface import build_ligand_graph, build_protein_structure
from openmm_neuralmd.models.registry import build_network
from openmm_neuralmd.training.loop import ComplexWindows, Trainer, TrainingResult, TrainingSettings

DEFAULT_CONFIG: dict[str, Any] = {
    "hidden": 64,
    "n_layers": 2,
    "n_radial": 32,
    "ligand_cutoff": 5.0,
    "pocket_cutoff": 10.0,
}


def train_model(
    entries: Sequence[tuple[Complex, Sequence[LigandTrajectory]]],
    out: str | Path,
    *,
    kind: str,
    snapshot_interval: float,
    split: float = 0.8,
    config: dict[str, Any] | None = None,
    settings: TrainingSettings = TrainingSettings(),  # noqa: B008, frozen
    device: torch.device = torch.device("cpu"),  # noqa: B008, immutable
    resume: bool = False,
    command: str = "",
    report: Callable[[int, dict[str, float]], None] | None = None,
) -> TrainingResult:
    """Train on the first ``split`` of each trajectory and write the model file.

    Args:
        entries: Complexes and the trajectories that are superposed on their rigid proteins.
        out: Model file; ``metrics.csv`` and the checkpoint go to the folder ``<out without suffix>.training``.
        kind: "ode" (Newtonian), "sde" (Langevin), or a baseline: "gnn", "denoising", "verlet".
        snapshot_interval: [ps], a multiple of every frame interval.
        split: Training part in time; the rest is never read.
        config: BindingNet arguments that differ from ``DEFAULT_CONFIG``.
        device: Where to compute.
        resume: Continue from the checkpoint.
        command: How it was called, for the metadata.
        report: Called after each validation with the step and its losses.

    Raises:
        InputError: If a trajectory is too short, or nothing can be resumed.
        NonFiniteStateError: If the loss is not finite.
    """
    target = Path(out)
    arguments = {**DEFAULT_CONFIG, **(config or {})}
    splits = [[split_in_time(len(t.snapshots), split=split) for t in trajectories] for _, trajectories in entries]

    def build(trajectory: LigandTrajectory, start: int, stop: int) -> Tensor:
        return build_windows(
            trajectory, start=start, stop=stop, snapshot_interval=snapshot_interval, n_steps=settings.rollout
        )

    windows = [
        ComplexWindows(
            build_ligand_graph(complex_),
            build_protein_structure(complex_, pocket_cutoff=arguments["pocket_cutoff"]),
            training=[build(t, 0, p.validation) for t, p in zip(trajectories, parts, strict=True)],
            validation=[build(t, p.validation, p.test) for t, p in zip(trajectories, parts, strict=True)],
        )
        for (complex_, trajectories), parts in zip(entries, splits, strict=True)
    ]
    torch.manual_seed(settings.seed)  # PyTorch initializes weights from its global generator only
    net = build_network(kind, arguments)
    check_exportable(net, kind)
    trainer = Trainer(net, kind, windows, settings, target.with_suffix(".training"), device)
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
                {"source": c.source, "ligand": c.ligand.name, **describe_training_complex(c)} for c, _ in entries
            ],
            "trajectories": [
                {
                    "file": t.source,
                    "sha256": t.sha256,
                    "superposed_on": t.superposed_on,
                    "frame_interval_ps": t.frame_interval,
                    "frames": len(t.snapshots),
                    "frames_training": [0, p.validation],
                    "frames_validation": [p.validation, p.test],
                }
                for (_, trajectories), parts in zip(entries, splits, strict=True)
                for t, p in zip(trajectories, parts, strict=True)
            ],
            "windows": trainer.ends[-1],
            "device": str(device),
            "settings": asdict(settings),
        },
        "metrics": {"best_step": result.best_step, "validation_loss": result.best_loss},
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    export_model(net, metadata, target)
    return result
