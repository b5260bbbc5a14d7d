"""The training loop: windows in, the best averaged weights out, resumable bit for bit on the CPU."""

import csv
import io
import logging
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from openmm_neuralmd.checks import check_count, check_number
from openmm_neuralmd.dynamics.noise import check_seed
from openmm_neuralmd.errors import InputError, NonFiniteStateError, describe_error
from openmm_neuralmd.files import write_atomically
from openmm_neuralmd.models.losses.labels import FrameLabels
from openmm_neuralmd.models.networks.interface import LigandGraph, ProteinStructure
from openmm_neuralmd.models.registry import get_kind, list_kinds
from openmm_neuralmd.signals import hold_signals
from openmm_neuralmd.training.checkpoint import read_training_state, write_training_state

_log = logging.getLogger(__name__)
_VALIDATION_BATCH = 64  # windows at once; more do not fit the processor's caches
_VALIDATION_WINDOWS = 2048  # of more, every second, third, ... of each trajectory


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
        rollout: Snapshots predicted from each start, K; it grows from 1 to K over the first half of the iterations.
        seed: Of weights, batches and displacements.

    Raises:
        InputError: If a number cannot be used.
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
    rollout: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("iterations", "batch_size", "validate_every", "patience", "rollout"):
            check_count(name, getattr(self, name))
        for name in ("learning_rate", "gradient_clip"):
            check_number(name, getattr(self, name), above=0.0)
        for name in ("weight_decay", "displacement"):
            check_number(name, getattr(self, name), least=0.0)
        if check_number("ema_decay", self.ema_decay, least=0.0) >= 1.0:
            raise InputError(f"ema_decay {self.ema_decay:g}: give a number from 0 to below 1")
        check_seed(self.seed)


@dataclass(frozen=True)
class TrainingResult:
    """Best weights (of the average), the validation loss and step they were found at, and the loss history."""

    state: dict[str, Tensor]
    best_loss: float
    best_step: int
    history: list[dict[str, float]]


def compute_rollout(step: int, settings: TrainingSettings) -> int:
    """Snapshots predicted from each start at a step of training, from 1 to ``settings.rollout``."""
    return min(settings.rollout, 1 + 2 * settings.rollout * step // settings.iterations)


@dataclass(frozen=True)
class ComplexWindows:
    """One complex, in the network's dtype, and its windows [A], (n, K + 2, n_atoms, 3), one tensor a trajectory."""

    graph: LigandGraph
    structure: ProteinStructure
    training: Sequence[Tensor]
    validation: Sequence[Tensor]
    training_labels: FrameLabels | None = None
    validation_labels: FrameLabels | None = None

    def to(self, device: torch.device) -> "ComplexWindows":
        """All but the windows on a device; those follow batch by batch."""
        labels = (self.training_labels, self.validation_labels)
        training, validation = (part and FrameLabels(*(value.to(device) for value in part)) for part in labels)
        return replace(
            self,
            training_labels=training,
            validation_labels=validation,
            graph=self.graph.to(device),
            structure=ProteinStructure(*(value.to(device) for value in self.structure)),
        )


class Trainer:
    """Trains one network on windows of one or more complexes.

    A batch is drawn from all windows alike; each complex in it is computed apart, so complexes never touch.

    Args:
        net: Fresh network; trained in place.
        kind: Its name, of the registry.
        complexes: What to train on.
        settings: See ``TrainingSettings``.
        directory: For ``metrics.csv`` and the checkpoint.
        device: Where to compute; random numbers are drawn there too.
        identity: What else tells this training from others, in words, by what it is; a checkpoint must have the same.
    """

    def __init__(
        self,
        net: nn.Module,
        kind: str,
        complexes: Sequence[ComplexWindows],
        settings: TrainingSettings,
        directory: Path,
        device: torch.device = torch.device("cpu"),  # noqa: B008, immutable
        identity: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        if kind not in list_kinds():
            raise InputError(f"kind {kind!r} is unknown; choose one of {', '.join(list_kinds())}")
        self.net, self.kind, self.device = net.to(device), get_kind(kind), device
        self.complexes = [c.to(device) for c in complexes]
        self.windows = [(k, w) for k, c in enumerate(complexes) for w in c.training]
        self.ends = list(accumulate(len(w) for _, w in self.windows))
        labelled = [c.training_labels for c in complexes if c.training_labels is not None]
        self.labels = [float(labels.forces.double().square().sum()) for labels in labelled]  # tells them apart
        self.settings, self.directory, self.identity = settings, directory, dict(identity)
        self.generator = torch.Generator(device).manual_seed(settings.seed)
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
            NonFiniteStateError: If a loss becomes NaN or infinite; the last checkpoint stays.
        """
        running: list[float] = []
        with hold_signals() as act:
            while self.step < self.settings.iterations:
                act()
                running.append(self._advance())
                if self.step % self.settings.validate_every == 0 or self.step == self.settings.iterations:
                    row = {
                        "step": self.step,
                        "rollout": compute_rollout(self.step - 1, self.settings),
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
            InputError: If there is none, it is damaged, or was made with other settings, data or kind of device.
        """
        if not self.checkpoint_path.is_file():
            raise InputError(f"{self.checkpoint_path}: no checkpoint to resume from")
        saved = read_training_state(self.checkpoint_path)
        afresh = "repeat what it was made with or start afresh (`resume=False`)"
        now = {"kind": self.kind.name, **asdict(self.settings)}
        then = {"kind": saved["kind"], **saved["settings"]}
        if then != now:
            others = [f"`{n}` {then.get(n)}, now {now.get(n)}" for n in {**now, **then} if then.get(n) != now.get(n)]
            raise InputError(f"{self.checkpoint_path} was made with other settings ({'; '.join(others)}); {afresh}")
        if saved["windows"] != self.ends:
            raise InputError(f"{self.checkpoint_path} was made with other trajectories; {afresh}")
        if saved["labels"] != self.labels:
            raise InputError(f"{self.checkpoint_path} was made with another force field; {afresh}")
        for name, value in self.identity.items():
            if saved["identity"].get(name) != value:
                raise InputError(f"{self.checkpoint_path} was made with another {name}; {afresh}")
        if saved["device"] != self.device.type:
            raise InputError(f"{self.checkpoint_path} was made on {saved['device']}: give `device={saved['device']}`")
        if saved["torch"] != torch.__version__:
            _log.warning(
                "note: the training was begun with torch %s, now it is %s: what follows may differ in the last digits "
                "from one without interruption",
                saved["torch"],
                torch.__version__,
            )
        try:
            self.average.module.load_state_dict(saved["best"]["state"])  # must fit, though it is not the last one
            for name, part in self._list_parts().items():
                part.load_state_dict(saved[name])
            self.generator.set_state(saved["generator"])
        except Exception as error:  # torch raises whatever the difference led to
            raise InputError(
                f"{self.checkpoint_path}: damaged checkpoint ({describe_error(error)}); start afresh (`resume=False`)"
            ) from error
        self.step, self.best, self.history = saved["step"], saved["best"], saved["history"]

    def _list_parts(self) -> dict[str, Any]:
        """What has a state, by its name in the checkpoint."""
        return {
            "net": self.net,
            "average": self.average,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
        }

    def _draw_batch(self) -> list[tuple[int, Tensor]]:
        """Windows drawn from all complexes, as (complex, windows) pairs."""
        size = (self.settings.batch_size,)
        chosen = torch.randint(self.ends[-1], size, generator=self.generator, device=self.device).tolist()
        drawn: dict[int, list[Tensor]] = {}
        for index in chosen:
            place = bisect_right(self.ends, index)
            owner, windows = self.windows[place]
            drawn.setdefault(owner, []).append(windows[index - self.ends[place]])  # counted from the end
        return [(owner, torch.stack(windows)) for owner, windows in sorted(drawn.items(), key=lambda item: item[0])]

    def _advance(self) -> float:
        self.net.train()
        length = 2 + compute_rollout(self.step, self.settings)
        loss = self.compute_batch_loss([(owner, windows[:, :length]) for owner, windows in self._draw_batch()])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.settings.gradient_clip)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            self._stop(f"loss {loss.item()}, gradient norm {norm.item()}")
        self.optimizer.step()
        self.schedule.step()
        self.average.update_parameters(self.net)
        self.step += 1
        return float(loss.detach())

    def compute_batch_loss(self, batch: Sequence[tuple[int, Tensor]]) -> Tensor:
        """Mean over the windows of a batch, (complex, windows) pairs."""
        n_windows = sum(len(windows) for _, windows in batch)
        losses = [
            self._compute_loss(self.net, owner, windows, self.generator) * (len(windows) / n_windows)
            for owner, windows in batch
        ]
        return torch.stack(losses).sum()

    def _compute_loss(self, net: Any, owner: int, windows: Tensor, generator: torch.Generator) -> Tensor:
        graph, structure = self.complexes[owner].graph, self.complexes[owner].structure
        protein = net.embed_protein(structure)
        windows = windows.to(self.device)
        loss = self.kind.compute_loss(net, windows, graph, protein, generator, self.settings.displacement)
        complex_ = self.complexes[owner]
        labels = complex_.training_labels if net.training else complex_.validation_labels
        if labels is None:
            return loss
        errors = self.kind.compute_label_errors(net, labels.draw(len(windows), generator), graph, protein)
        return loss + sum(errors.values())

    @torch.no_grad()
    def _validate(self) -> float:
        """Loss of the averaged weights on validation windows, the same ones displaced the same way every time."""
        generator = torch.Generator(self.device).manual_seed(self.settings.seed)
        net = self.average.module
        net.eval()
        total, n_windows = 0.0, 0
        every = -(-sum(len(w) for c in self.complexes for w in c.validation) // _VALIDATION_WINDOWS)
        for owner, complex_ in enumerate(self.complexes):
            for windows in (part for w in complex_.validation for part in w[::every].split(_VALIDATION_BATCH)):
                total += float(self._compute_loss(net, owner, windows, generator)) * len(windows)
                n_windows += len(windows)
        if not math.isfinite(total):
            self._stop(f"validation loss {total}")
        return total / n_windows

    @torch.no_grad()
    def judge_labels(self) -> dict[str, float]:
        """Relative root mean square errors of what the network says, on all validation labels, if any."""
        for complex_ in self.complexes:
            if complex_.validation_labels is not None:
                protein = self.net.embed_protein(complex_.structure)  # type: ignore[operator]
                net: Any = self.net
                errors = self.kind.compute_label_errors(net, complex_.validation_labels, complex_.graph, protein)
                return {name: float(error.sqrt()) for name, error in errors.items()}
        return {}

    def _stop(self, what: str) -> NoReturn:
        kept = (
            f"the last good state is {self.checkpoint_path}"
            if self.checkpoint_path.is_file()
            else "nothing was written"
        )
        raise NonFiniteStateError(f"training step {self.step}: {what}; {kept}; try a smaller learning rate")

    def _record(self, row: dict[str, float]) -> None:
        self.history.append(row)
        if row["validation_loss"] < self.best["loss"]:
            state = {k: v.detach().cpu().clone() for k, v in self.average.module.state_dict().items()}
            self.best = {"loss": row["validation_loss"], "step": self.step, "state": state}
        self.directory.mkdir(parents=True, exist_ok=True)
        table = io.StringIO()
        writer = csv.DictWriter(table, fieldnames=list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.history)
        write_atomically(self.directory / "metrics.csv", table.getvalue())
        state = {
            "settings": asdict(self.settings),
            "kind": self.kind.name,
            "device": self.device.type,
            "torch": str(torch.__version__),
            "identity": self.identity,
            "windows": self.ends,
            "labels": self.labels,
            **{name: part.state_dict() for name, part in self._list_parts().items()},
            "generator": self.generator.get_state(),
            "step": self.step,
            "best": self.best,
            "history": self.history,
        }
        write_training_state(self.checkpoint_path, state)
