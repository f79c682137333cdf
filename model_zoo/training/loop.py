"""The loop of every training, from recipe to weights.

It writes checkpoints on the way.
"""

from __future__ import annotations

import copy
import csv
import io
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.core.compute.machine import has_bfloat16
from bench.core.compute.rng import Rng
from bench.core.contracts import Objective, Student
from bench.core.errors import BenchError, ModelOutputError, UsageError
from bench.core.schemas.recipe import Recipe
from bench.core.storage.files import write_atomic
from model_zoo.derivatives.prepare import surrogate
from model_zoo.derivatives.surrogate import second_order_copy
from model_zoo.training.checkpoint import Checkpoint, checksum, read_checkpoint, write_checkpoint
from model_zoo.training.data import Partition, augment, fingerprint, to_float
from model_zoo.training.folded import folded
from model_zoo.training.initial_weights import initialize
from model_zoo.training.learning_rate import learning_rate
from model_zoo.training.measure import WATCH_STEPS, accuracy, robust_correct

CHECKPOINT_SECONDS = 60.0
CHECKPOINT = "checkpoint.safetensors"
Progress = Callable[[str, int, int], None]
"""Called with a line of text, the steps done and the steps in all."""


class OutOfTime(BenchError):
    """The clock cut a training, and the same command continues it."""


@dataclass
class Training:
    """The state that a checkpoint holds."""

    recipe: Recipe
    model: nn.Module
    data: Partition
    objective: Objective
    device: torch.device
    parent: str | None = None
    """Checksum of the parent's weights."""
    budget: float | None = None
    """Seconds that decided the recipe's epochs, where a time did."""
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    """Losses of this epoch's steps."""
    best: dict[str, Tensor] | None = None
    best_score: float = -math.inf
    seconds: float = 0.0
    """Training time of earlier processes."""

    def __post_init__(self) -> None:
        self.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = self.model[1] if isinstance(self.model, nn.Sequential) else self.model
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=self.recipe.schedule.peak,
            momentum=self.recipe.momentum,
            nesterov=self.recipe.momentum > 0,
            weight_decay=self.recipe.weight_decay,
        )
        self.rng = Rng(self.recipe.seed).fork("training")
        self.images, self.labels = (tensor.to(self.device) for tensor in self.data.train)
        self.order = lru_cache(maxsize=1)(self._order)
        self._started = time.monotonic()
        self.per_epoch = len(self.data.train.labels) // self.recipe.batch_size
        if not self.per_epoch:
            raise UsageError(
                f"expected at least one batch of {self.recipe.batch_size} training images, got "
                f"{len(self.data.train.labels)} images; lower the recipe's batch_size"
            )
        self.steps = max(1, round(self.recipe.epochs * self.per_epoch)) if self.recipe.epochs else 0
        seen = to_float(self.images[:2])
        smooth = lru_cache(maxsize=4)(lambda beta: surrogate(self.model, beta, seen))
        self.student = Student(self.model, second_order_copy(self.model), smooth, folded(self.model), self._fast)

    def _fast(self) -> AbstractContextManager[object]:
        if self.recipe.precision == "bfloat16" and has_bfloat16(self.device):
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def run(self, folder: Path, progress: Progress, deadline: float = math.inf) -> dict[str, Tensor]:
        """Train to the end and return the chosen weights.

        A checkpoint is written to `folder` at least every minute.

        Raises:
            OutOfTime: if the clock (`time.monotonic`) passed `deadline` before the end; the checkpoint is written.
        """
        saved = self._started = time.monotonic()
        first = self.step
        while self.step < self.steps and not self._is_over():
            if time.monotonic() > deadline:
                self.save(folder / CHECKPOINT)
                raise OutOfTime(f"the time was over at step {self.step} of {self.steps}; a checkpoint is in {folder}")
            self.losses.append(self.one_step())
            self.step += 1
            ends_epoch = self.step % self.per_epoch == 0 or self.step == self.steps
            if self.step % 20 == 0 or self.step == first + 1 or ends_epoch:
                loss = float(torch.stack(self.losses[-20:]).mean())
                if not math.isfinite(loss):
                    came = f"got {loss} at step {self.step}"
                    raise ModelOutputError(f"expected a finite training loss, {came}; lower the recipe's learning rate")
                speed = self.recipe.batch_size * (self.step - first) / (time.monotonic() - self._started)
                progress(f"loss {loss:.3f}, {speed:.0f} images/s", self.step, self.steps)
            if ends_epoch:
                self.end_epoch(float(torch.stack(self.losses).mean()))
                self.losses = []
                write_atomic(folder / "metrics.csv", self._history_csv())
                progress(_line(self.history[-1]), self.step, self.steps)
            if ends_epoch or time.monotonic() - saved > CHECKPOINT_SECONDS:
                self.save(folder / CHECKPOINT)
                saved = time.monotonic()
        return self.best if self.best is not None else self._weights()

    def spent(self) -> float:
        """Return the training time of all processes, in seconds."""
        return self.seconds + time.monotonic() - self._started

    def one_step(self) -> Tensor:
        """Change the weights by one batch and return its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe.schedule, self.step / self.steps)
        rng = self.rng.fork("step", self.step)
        images, labels = self._batch(rng.fork("augmentation"))
        self.model.train()
        if self.recipe.batch_norm == "frozen":
            _freeze_statistics(self.model)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.objective.loss(self.student, images, labels, rng=rng.fork("objective"))
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    def _batch(self, rng: Rng) -> tuple[Tensor, Tensor]:
        epoch, index = divmod(self.step, self.per_epoch)
        chosen = self.order(epoch)[index * self.recipe.batch_size : (index + 1) * self.recipe.batch_size]
        images = to_float(augment(self.images[chosen], self.recipe.augmentation, rng))
        return images.contiguous(memory_format=torch.channels_last), self.labels[chosen]

    def _order(self, epoch: int) -> Tensor:
        generator = self.rng.fork("order", epoch).generator()
        return torch.randperm(len(self.labels), generator=generator).to(self.device)

    def end_epoch(self, loss: float) -> None:
        """Measure held-out accuracies and keep the weights if they are best."""
        wanted, held_out = self.recipe.validation, self.data.held_out
        images, labels = to_float(held_out.images), held_out.labels
        self.model.eval()
        row = {
            "epoch": self.step / self.per_epoch,
            "step": float(self.step),
            "loss": loss,
            "accuracy": accuracy(self.model, images, labels, device=self.device, fast=self._fast),
        }
        if wanted.pgd_images:
            first = slice(0, wanted.pgd_images)
            correct = robust_correct(
                self.model,
                images[first],
                labels[first],
                epsilon=float(wanted.epsilon),
                step_size=float(wanted.step_size),
                steps=WATCH_STEPS,
                rng=self.rng.fork("validation"),
                device=self.device,
                fast=self._fast,
            )
            row["pgd_accuracy"] = float(correct.float().mean())
        self.history.append(row)
        score = self.step if wanted.select == "last" else row.get(wanted.select, -math.inf)
        if score > self.best_score:
            self.best, self.best_score = self._weights(), score

    def _is_over(self) -> bool:
        """Whether the last epoch reached what the recipe stops at."""
        wanted = self.recipe.validation
        if not self.history:
            return False
        if wanted.stop_at_accuracy is not None and self.history[-1]["accuracy"] >= wanted.stop_at_accuracy:
            return True
        under_attack = [row["pgd_accuracy"] for row in self.history] if wanted.stop_at_collapse else [0.0]
        return under_attack[-1] < max(under_attack) / 2

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}

    def _history_csv(self) -> bytes:
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self.history[-1]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.history)
        return text.getvalue().encode()

    def identity(self) -> dict[str, Any]:
        """Return what a checkpoint must agree with to be continued."""
        return {
            "recipe": self.recipe.identity,
            "data": fingerprint(self.data.train),
            "parent": self.parent,
        }

    def save(self, path: Path) -> None:
        """Write the whole state to one file."""
        tensors = {f"model.{k}": v for k, v in self.network.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            momentum = self.optimizer.state.get(parameter, {}).get("momentum_buffer")
            if momentum is not None:
                tensors[f"momentum.{name}"] = momentum
        tensors |= {f"best.{k}": v for k, v in (self.best or {}).items()}
        if self.losses:
            tensors["losses"] = torch.stack(self.losses)
        state = self.identity() | {
            "step": self.step,
            "epochs": self.recipe.epochs,
            "budget": self.budget,
            "seconds": self.spent(),
            "history": self.history,
            "best_score": self.best_score if math.isfinite(self.best_score) else None,
        }
        write_checkpoint(path, Checkpoint(tensors, state))

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint of the same recipe, data and parent.

        Raises:
            IntegrityError: if the file is no checkpoint, or is damaged.
            UsageError: if it belongs to another recipe, other data or another parent.
        """
        checkpoint = read_checkpoint(path)
        tensors, state = checkpoint
        known = {"parent": self.parent} | state  # checkpoints of the first version do not name the parent
        for key, value in self.identity().items():
            if known[key] != value:
                raise UsageError(f"expected a checkpoint of this {key}, got another in {path}; choose another --out")
        self.network.load_state_dict(checkpoint.part("model."))
        for name, momentum in checkpoint.part("momentum.").items():
            parameter = self.network.get_parameter(name)
            self.optimizer.state[parameter]["momentum_buffer"] = momentum.to(parameter)
        self.best = checkpoint.part("best.") or None
        self.best_score = -math.inf if state["best_score"] is None else state["best_score"]
        self.losses = list(tensors["losses"].to(self.device)) if "losses" in tensors else []
        self.step, self.history, self.seconds = state["step"], state["history"], state["seconds"]
        self.budget = state.get("budget")


def _freeze_statistics(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _line(row: dict[str, float]) -> str:
    parts = [f"epoch {row['epoch']:.2f}", f"loss {row['loss']:.3f}", f"held-out accuracy {row['accuracy']:.3f}"]
    if "pgd_accuracy" in row:
        parts.append(f"under PGD-10 {row['pgd_accuracy']:.3f}")
    return ", ".join(parts)


def begin(
    recipe: Recipe, model: nn.Module, data: Partition, objective: Objective, device: torch.device, *, parent: bool
) -> Training:
    """Return a training at its first step.

    Without a parent's weights the network is initialised here.
    """
    if not parent:
        initialize(model, Rng(recipe.seed).fork("initialization"))
    start = checksum(model.state_dict()) if parent else None
    return Training(recipe, copy.deepcopy(model), data, objective, device, parent=start)


def as_begun(recipe: Recipe, path: Path) -> Recipe:
    """Return the recipe with the epochs that a budget fixed.

    A checkpoint holds them; without a budget the recipe stays as it is.
    """
    state = read_checkpoint(path).state
    return recipe if state.get("budget") is None else recipe.model_copy(update={"epochs": state["epochs"]})
