"""The training loop: windows in, the best averaged weights out, resumable bit for bit on the CPU."""

import csv
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from openmm_neuralmd.errors import InputError, NonFiniteStateError
from openmm_neuralmd.models.interface import LigandGraph, ProteinStructure
from openmm_neuralmd.training.objectives import OBJECTIVES


@dataclass(frozen=True)
class TrainingSettings:
    """How to train; every field ends in the model's metadata.

    Attributes:
        iterations: Optimizer steps at most.
        batch_size: Windows a step.
        learning_rate, weight_decay: Of AdamW; the rate falls to zero along a cosine.
        gradient_clip: Largest gradient norm.
        ema_decay: Of the averaged weights, which are the ones validated and kept.
        validate_every: Steps between validations.
        patience: Validations without improvement before stopping.
        displacement: Largest strength of the displaced inputs, see ``perturbation``; 0 leaves them in place.
        seed: Of weights, batches and displacements.
    """

    iterations: int = 2000
    batch_size: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    gradient_clip: float = 1.0
    ema_decay: float = 0.99
    validate_every: int = 50
    patience: int = 10
    displacement: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class TrainingResult:
    """Best weights (of the average), the validation loss and step they were found at, and the loss history."""

    state: dict[str, Tensor]
    best_loss: float
    best_step: int
    history: list[dict[str, float]]


class Trainer:
    """Trains one network on windows of one complex.

    Args:
        net: Fresh network; trained in place.
        kind: One of ``OBJECTIVES``.
        graph, structure: The complex, in the network's dtype.
        training, validation: Windows [A], (n, 3, n_atoms, 3).
        settings: See ``TrainingSettings``.
        directory: For ``metrics.csv`` and the checkpoint.
    """

    def __init__(
        self,
        net: nn.Module,
        kind: str,
        graph: LigandGraph,
        structure: ProteinStructure,
        training: Tensor,
        validation: Tensor,
        settings: TrainingSettings,
        directory: Path,
    ) -> None:
        if kind not in OBJECTIVES:
            raise InputError(f"kind {kind!r} is unknown; choose one of {', '.join(OBJECTIVES)}")
        self.net, self.kind, self.graph, self.structure = net, kind, graph, structure
        self.training, self.validation = training, validation
        self.settings, self.directory = settings, directory
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.optimizer = torch.optim.AdamW(
            net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, settings.iterations)
        self.average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay))
        self.step = 0
        self.best: dict[str, Any] = {"loss": math.inf, "step": 0, "state": {}}
        self.history: list[dict[str, float]] = []

    @property
    def checkpoint_path(self) -> Path:
        return self.directory / "checkpoint.pt"

    def run(self, report: Callable[[int, dict[str, float]], None] | None = None) -> TrainingResult:
        """Train until the last iteration or until validation has not improved for ``patience`` rounds.

        Raises:
            NonFiniteStateError: If the loss becomes NaN or infinite; the last checkpoint stays.
        """
        running: list[float] = []
        batches = self._draw_batches()
        while self.step < self.settings.iterations:
            running.append(self._advance(next(batches)))
            if self.step % self.settings.validate_every == 0 or self.step == self.settings.iterations:
                row = {
                    "step": self.step,
                    "training_loss": sum(running) / len(running),
                    "validation_loss": self._validate(),
                }
                running = []
                self._record(row)
                if report is not None:
                    report(self.step, row)
                if self.step - self.best["step"] >= self.settings.patience * self.settings.validate_every:
                    break
        return TrainingResult(self.best["state"], self.best["loss"], self.best["step"], self.history)

    def resume(self) -> None:
        """Continue from the checkpoint in ``directory``.

        Raises:
            InputError: If there is none, or it was made with other settings.
        """
        if not self.checkpoint_path.is_file():
            raise InputError(f"{self.checkpoint_path}: no checkpoint to resume from")
        saved = torch.load(self.checkpoint_path, weights_only=True)
        if saved["settings"] != asdict(self.settings) or saved["kind"] != self.kind:
            raise InputError(f"{self.checkpoint_path} was made with other settings; repeat them or start afresh")
        self.net.load_state_dict(saved["net"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        self.generator.set_state(saved["generator"])
        self.step, self.best, self.history = saved["step"], saved["best"], saved["history"]

    def _draw_batches(self) -> Iterator[Tensor]:
        while True:
            chosen = torch.randint(len(self.training), (self.settings.batch_size,), generator=self.generator)
            yield self.training[chosen]

    def _advance(self, window: Tensor) -> float:
        self.net.train()
        loss = self._compute_loss(self.net, window, self.generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.settings.gradient_clip)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise NonFiniteStateError(
                f"training step {self.step}: loss {loss.item()}, gradient norm {norm.item()}; the last good state is "
                f"{self.checkpoint_path}; try a smaller learning rate"
            )
        self.optimizer.step()
        self.schedule.step()
        self.average.update_parameters(self.net)
        self.step += 1
        return float(loss.detach())

    def _compute_loss(self, net: Any, window: Tensor, generator: torch.Generator) -> Tensor:
        return OBJECTIVES[self.kind](
            net, window, self.graph, net.embed_protein(self.structure), generator, self.settings.displacement
        )

    @torch.no_grad()
    def _validate(self) -> float:
        """Loss of the averaged weights on the validation windows, with the same displacements every time."""
        generator = torch.Generator().manual_seed(self.settings.seed)
        net = self.average.module
        net.eval()
        losses = [self._compute_loss(net, w, generator) * len(w) for w in self.validation.split(64)]
        return float(sum(losses) / len(self.validation))

    def _record(self, row: dict[str, float]) -> None:
        self.history.append(row)
        if row["validation_loss"] < self.best["loss"]:
            state = {k: v.detach().clone() for k, v in self.average.module.state_dict().items()}
            self.best = {"loss": row["validation_loss"], "step": self.step, "state": state}
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "metrics.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            writer.writeheader()
            writer.writerows(self.history)
        temporary = self.checkpoint_path.with_suffix(".tmp")
        torch.save(
            {
                "settings": asdict(self.settings),
                "kind": self.kind,
                "net": self.net.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "generator": self.generator.get_state(),
                "step": self.step,
                "best": self.best,
                "history": self.history,
            },
            temporary,
        )
        os.replace(temporary, self.checkpoint_path)
