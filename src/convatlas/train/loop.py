"""The loop: Accelerate around a short step, exact resumption, and nothing that a kill can lose."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from torch import Tensor, nn

from convatlas.data import Arrays, Data, Files
from convatlas.errors import ConvatlasError
from convatlas.files import write_whole
from convatlas.net import ConvNet
from convatlas.train import checkpoint
from convatlas.train.asked import Asked, Stopped
from convatlas.train.evaluation import scores
from convatlas.train.feed import Feed
from convatlas.train.log import Log
from convatlas.train.mix import mixed_up
from convatlas.train.order import Order
from convatlas.train.rate import learning_rate, optimizer
from convatlas.train.recipe import Recipe
from convatlas.train.step import Answering, loss_of, rehearsed

TOGETHER, HEARD = 20, 1.0
"""So many steps' figures several processes, or a GPU, gather at once, and at most those of so many seconds: a request
to stop is heard no later."""

TEST_BATCH = 250
"""Pictures at once in a test at most; no more than a training step has, whose memory is known to be there."""


class NotFinite(ConvatlasError):
    """The loss is NaN or infinite."""


@dataclass
class State:
    """Where a run is; saved with every checkpoint, beside weights, optimizer, and each process' state of chance."""

    epoch: int = 0
    step: int = 0
    best: dict[str, float] = field(default_factory=dict)
    pictures: int = 0
    seconds: float = 0.0
    validated: int = 0
    """Steps after which the network was last validated."""
    average: list[Tensor] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


def _rank(figures: dict[str, float]) -> tuple[float, float]:
    """The more accurate is better, of equals the one with the lower loss."""
    return figures["accuracy"], -figures["loss"]


def _is_restored(chance: dict[str, Any], device: torch.device) -> bool:
    """Whether torch's state of chance is what was saved: Accelerate only logs that it could not put it back."""
    same = torch.equal(torch.get_rng_state(), chance["torch_manual_seed"])
    if device.type == "cuda":
        place = torch.cuda.current_device() if device.index is None else device.index
        saved = chance.get("torch_cuda_manual_seed") or []
        same = same and place < len(saved) and torch.equal(torch.cuda.get_rng_state(place), saved[place])
    return same


def _frozen(net: nn.Module) -> list[nn.Module]:
    """The outermost modules of which nothing is trained: their batch norm and dropout stay as in a test."""
    own = list(net.parameters())
    if own and not any(p.requires_grad for p in own):
        return [net]
    return [module for child in net.children() for module in _frozen(child)] if own else []


class Loop:
    """Trains one network on one data set by one recipe.  ``run`` returns when the last epoch is done.

    Raises Stopped, and NotFinite where the loss is; in both cases the last checkpoint is whole.
    """

    def __init__(
        self,
        net: ConvNet,
        data: Data,
        feed: Callable[[torch.device], Feed],
        recipe: Recipe,
        *,
        batch: int,
        seed: int,
        folder: Path,
        accelerator: Accelerator,
        save_every: int | None = None,
        save_minutes: float | None = None,
        watch: Callable[[str, dict[str, Any]], None] = lambda event, figures: None,
    ):
        self.data, self.recipe, self.batch, self.seed, self.folder = data, recipe, batch, seed, folder
        self.accelerator, self.watch = accelerator, watch
        self.save_every, self.save_minutes, self.saved = save_every, save_minutes, time.monotonic()
        self.plain = net
        self.format = torch.channels_last if recipe.channels_last else torch.contiguous_format
        net.to(memory_format=self.format)
        net.checkpointing = recipe.checkpointing
        self.frozen = _frozen(net)
        self.plain_optimizer = optimizer(recipe, net)
        self.net, self.optimizer = accelerator.prepare(Answering(net, recipe), self.plain_optimizer)
        self.feed = feed(accelerator.device)
        self.order = Order(len(data.train), batch, seed, accelerator.process_index, accelerator.num_processes)
        self.state = State()
        accelerator.register_for_checkpointing(self.state)
        # Of parameters and of batch norm's running statistics.
        self.averaged = [t for t in net.state_dict().values() if t.is_floating_point()] if recipe.ema else []
        self.state.average = [t.clone() for t in self.averaged]
        self.together = accelerator.device.type != "cpu" or self.order.world > 1
        self.every, self.gathered = 1, time.monotonic()
        self.grouped = self.order.world == 1
        """Whether the processes' gradients are summed in the groups that last."""
        self.pending: list[tuple[int, float, Tensor]] = []
        """Step, learning rate, and (loss, accuracy) of what is not yet written down."""
        self.asked = Asked()
        self.peak: int | None = None
        """Most bytes of the tensors of a step."""

    # ---- the run ----------------------------------------------------------------------------------------

    @property
    def done(self) -> int:
        """Steps that are behind us."""
        return self.state.epoch * self.order.steps + self.state.step

    @property
    def last(self) -> int:
        """Steps in all."""
        return max(1, round(self.recipe.epochs * self.order.steps))

    def resume(self) -> bool:
        """Go back to the last whole checkpoint; whether there is one."""
        found = checkpoint.latest(self.folder)
        if found is None:
            return False
        checkpoint.without_code(found)
        try:
            self.accelerator.load_state(str(found))
        except (SafetensorError, RuntimeError, KeyError, OSError) as error:
            raise ConvatlasError(f"the checkpoint {found} is damaged: {str(error).splitlines()[0]}") from error
        # Accelerate loads it on the CPU.
        self.state.average = [own.to(t.device) for own, t in zip(self.state.average, self.averaged)]
        chance = found / f"random_states_{self.accelerator.process_index}.pkl"
        device = self.accelerator.device
        if not chance.exists() or not _is_restored(torch.load(chance, weights_only=False), device):
            raise ConvatlasError(f"the state of chance could not be restored from {found}")
        return True

    def run(self, log: Log) -> None:
        """From where the state is to the last step."""
        self.log = log
        with self.asked.listening():
            self.watch("begin", {"done": self.done, "last": self.last, "epochs": self.recipe.epochs})
            if self.done == 0:
                self.save()
            while self.state.validated < self.last:
                begun = self.state.step > 0 or self.state.validated == self.done
                if (begun and self.done < self.last) or self.state.step == self.order.steps:
                    self._epoch()
                    self.save()  # to validate takes its time
                epoch = round(self.done / self.order.steps, 6)
                figures = self.validate()
                self.log.write("validation", epoch, self.done, **figures)
                self.log.flush()
                self.watch("epoch", {"epoch": epoch, **figures})
                if not math.isfinite(figures["loss"]):
                    raise self._not_finite(f"the validation loss is {figures['loss']} after epoch {epoch:g}")
                if not self.state.best or _rank(figures) > _rank(self.state.best):
                    self.state.best = {"epoch": epoch, **figures}
                    self._keep_best()
                self.state.validated = self.done
                self.save()

    def _epoch(self) -> None:
        epoch, steps = self.state.epoch, self.order.steps
        self._train()
        start = time.perf_counter()
        with closing(self.feed.training(self.data.train, self.order, epoch, self.state.step)) as batches:
            for pictures, labels in batches:
                if self.peak is None and self.accelerator.is_main_process:
                    self.peak = rehearsed(self.plain, self.recipe, pictures, labels, self.accelerator.autocast)
                    start = time.perf_counter()
                if not self.grouped:
                    self._group(pictures, labels)
                self._step(pictures, labels)
                self.state.step += 1
                self.state.pictures += self.batch
                if len(self.pending) >= self.every or self.state.step == steps:
                    self.state.seconds += time.perf_counter() - start
                    self._gather()
                    start = time.perf_counter()
                if self.done >= self.last:
                    break
                if self.save_every and self.done % self.save_every == 0 and self.state.step < steps:
                    self._gather()  # a run that is resumed begins its log here
                    self.save()
        self.state.seconds += time.perf_counter() - start
        self._gather()
        if self.state.step == steps:
            self.state.epoch, self.state.step = epoch + 1, 0

    def _group(self, pictures: Tensor, labels: Tensor) -> None:
        """One backward pass for nothing, in every process: torch chooses in the first one which gradients it sums
        together from then on, and a run that is resumed is to sum them from its first step as if it had gone on."""
        self.net.eval()  # draws no chance, and moves no statistics
        one = pictures[:1].contiguous(memory_format=self.format)
        loss, _ = loss_of(self.recipe, self.net, one, labels[:1])
        self._backward(loss)
        self.plain_optimizer.zero_grad()
        self._train()
        self.grouped = True

    def _train(self) -> None:
        """In training, but for what is frozen."""
        self.net.train()
        for module in self.frozen:
            module.eval()

    def _step(self, pictures: Tensor, labels: Tensor) -> None:
        recipe, done = self.recipe, self.done
        rate = learning_rate(recipe, self.batch, done, self.order.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        pictures, targets = mixed_up(pictures, labels, recipe, self.plain.classes, self.seed, done)
        parts = list(zip(pictures.chunk(recipe.accumulate), targets.chunk(recipe.accumulate)))
        figures = []
        for number, (part, target) in enumerate(parts):
            quiet = number < len(parts) - 1 and self.order.world > 1
            with self.accelerator.no_sync(self.net) if quiet else nullcontext():
                loss, logits = loss_of(recipe, self.net, part.contiguous(memory_format=self.format), target)
                share = len(part) / len(pictures)
                self._backward(loss * share if len(parts) > 1 else loss)
            top = target.argmax(1) if target.dim() == 2 else target
            right = (logits.detach().argmax(1) == top).float().mean()
            figures.append(torch.stack((loss.detach().float(), right)) * share)
        if recipe.clip is not None:
            self.accelerator.clip_grad_norm_(self.net.parameters(), recipe.clip)
        self._descend()
        if recipe.ema:
            # Young averages move faster: after n steps the decay is at most (1 + n) / (10 + n).
            decay = min(recipe.ema, (1 + done) / (10 + done))
            torch._foreach_lerp_(self.state.average, self.averaged, 1 - decay)
        self.pending.append((done, rate, sum(figures[1:], figures[0])))

    # Accelerate's backward and step are needed where a scaler is; they look for a package on the disk each time, and
    # take their signature apart: a millisecond a step.

    def _backward(self, loss: Tensor) -> None:
        scaler = self.accelerator.scaler
        (loss if scaler is None else scaler.scale(loss)).backward()

    def _descend(self) -> None:
        (self.plain_optimizer if self.accelerator.scaler is None else self.optimizer).step()
        self.plain_optimizer.zero_grad()

    def _gather(self) -> None:
        """Write down the pending steps' figures; stop at one that is not finite, or where that was asked for.

        Whether any process was asked to stop, or a checkpoint is due by the clock, all learn with the figures.
        """
        if not self.pending:
            return
        due: float = self.save_minutes is not None and time.monotonic() - self.saved > 60 * self.save_minutes
        stop: float = self.asked.by is not None
        stacked = torch.stack([figures for _, _, figures in self.pending])
        now = time.monotonic()
        seconds, self.gathered = (now - self.gathered) / len(self.pending), now
        if self.order.world > 1:
            asked = torch.tensor([[stop, due], [seconds, 0]], dtype=stacked.dtype, device=stacked.device)
            shares = self.accelerator.gather(torch.cat([stacked, asked])[None]).tolist()
            # Added up in the processes' order, which torch's own reduction changes with the number of steps.
            means = [[sum(values) / len(shares) for values in zip(*row)] for row in zip(*shares)]
            *rows, (stop, due), (seconds, _) = means
        else:
            rows = stacked.tolist()
        if self.together:
            self.every = max(1, min(TOGETHER, int(HEARD / max(seconds, 1e-9))))
        for (step, rate, _), (loss, accuracy) in zip(self.pending, rows):
            self.log.write("train", round(step / self.order.steps, 6), step,
                           loss=loss, accuracy=accuracy, learning_rate=rate)  # fmt: skip
            if not math.isfinite(loss):
                self.log.flush()
                at = f"step {step} (epoch {step / self.order.steps:.2f}, learning rate {rate:g})"
                raise self._not_finite(f"the loss is {loss} at {at}")
        self.pending = []
        speed = self.state.pictures / self.state.seconds if self.state.seconds else 0.0
        self.watch("step", {"step": self.done, "epoch": self.done / self.order.steps, "loss": loss,
                            "accuracy": accuracy, "images_per_second": speed})  # fmt: skip
        if stop or (due and self.state.step < self.order.steps):  # at an epoch's end one is saved anyhow
            self.save()
        if stop:
            raise Stopped

    def _not_finite(self, what: str) -> NotFinite:
        return NotFinite(f"{what}; the last good state is {checkpoint.latest(self.folder)}. A lower --learning-rate, a "
                         "longer --warmup or --clip 1 may help")  # fmt: skip

    # ---- validation and the best ------------------------------------------------------------------------

    def validate(self) -> dict[str, float]:
        """Scores on the validation pictures, of the average of the weights where one is kept."""
        with self.averaging():
            logits, labels = self.answers(self.data.validation)
        return scores(logits, labels)

    @torch.no_grad()
    def answers(self, split: Arrays | Files) -> tuple[Tensor, Tensor]:
        """Logits and labels of every picture of a split: (N, classes) float32 and (N,), on the CPU.

        A process that is alone stops here too where it is asked to; what came before is saved.
        """
        self.plain.eval()
        logits, labels = [], []
        step = self.batch // self.order.world // self.recipe.accumulate
        with closing(self.feed.testing(split, min(TEST_BATCH, max(1, step)))) as batches:
            for pictures, batch in batches:
                if self.asked.by is not None and self.order.world == 1:
                    raise Stopped
                with self.accelerator.autocast():
                    logits.append(self.plain(pictures.contiguous(memory_format=self.format)).float().cpu())
                labels.append(batch.cpu())
        return torch.cat(logits), torch.cat(labels)

    @contextmanager
    def averaging(self) -> Iterator[None]:
        """The average of the weights in place of the weights."""
        kept = [t.clone() for t in self.averaged]
        try:
            for own, average in zip(self.averaged, self.state.average):
                own.copy_(average)
            yield
        finally:
            for own, before in zip(self.averaged, kept):
                own.copy_(before)

    def _keep_best(self) -> None:
        from safetensors.torch import save_file

        if self.accelerator.is_main_process:
            with self.averaging():  # the file is written within: a tensor on the CPU is not copied before
                tensors = {key: t.detach().cpu().contiguous() for key, t in self.plain.state_dict().items()}
                write_whole(self.folder / "best.safetensors", lambda path: save_file(tensors, path))

    def save(self) -> None:
        """Save all that exact resumption needs; the figures up to here first.  Raises NotFinite for weights that are
        not, before they take the place of good ones."""
        self.log.flush()
        if not all(bool(torch.isfinite(t).all()) for t in self.plain.parameters()):
            raise self._not_finite(f"a weight is no finite number after step {self.done}")
        self.saved = time.monotonic()
        checkpoint.save(
            self.folder,
            self.done,
            lambda folder: self.accelerator.save_state(str(folder)),
            first=self.accelerator.is_main_process,
            wait=self.accelerator.wait_for_everyone,
            wanted=[f"random_states_{rank}.pkl" for rank in range(self.order.world)],
        )
