"""Trains the network on a CPU until a wall-clock deadline.

The schedule follows the clock, not a step count: a busy machine costs tokens but the run still
ends in time with the learning rate brought down. Weight matrices are trained by Muon, the
embedding and the norms by AdamW. A checkpoint is written every few minutes; a run that died goes
on from it with `--resume`.
"""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random

import torch
from torch import Tensor
from torch.nn import functional

from .model import DemoModel, ModelConfig
from .sequences import SequenceMaker
from .tokenizer import ChatFrame
from .wording import Wording


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that decides the outcome besides the data; written into the record."""

    minutes: float = 97.0
    seed: int = 20
    threads: int = 2
    short_batch: tuple[int, int] = (16, 256)
    long_batch: tuple[int, int] = (4, 1024)
    """Rows and tokens of a batch of short and of long sequences."""
    long_every: tuple[int, int] = (4, 2)
    """One batch in so many is long: before and after `long_phase`. A third of all tokens."""
    long_phase: float = 0.7
    """Fraction of the time."""
    learning_rate: float = 4e-3
    weight_decay: float = 0.02
    warm_up_steps: int = 100
    flat_until: float = 0.4
    """Fraction of the time at the full learning rate; then linear to `last_rate` of it."""
    last_rate: float = 0.02
    clip: float = 1.0
    log_seconds: float = 60.0
    checkpoint_seconds: float = 240.0
    probe_nouns: int = 96
    """Nouns whose definition is asked at each checkpoint."""


@dataclass
class Progress:
    """Where a run stands; saved with the weights."""

    seconds: float = 0.0
    steps: int = 0
    tokens: int = 0
    long_tokens: int = 0
    answer_tokens: int = 0
    log: list[dict[str, float]] = field(default_factory=list)


class Trainer:
    def __init__(
        self,
        config: ModelConfig,
        settings: TrainingSettings,
        sequences: SequenceMaker,
        wording: Wording,
        folder: Path,
    ) -> None:
        torch.manual_seed(settings.seed)
        torch.set_num_threads(settings.threads)
        self.settings, self.sequences, self.folder = settings, sequences, folder
        self.frame: ChatFrame = sequences.frame
        self.wording = wording
        self.model = DemoModel(config)
        self.body = torch.compile(self.model.body, dynamic=False)
        named = list(self.model.named_parameters())
        matrices = [p for n, p in named if p.dim() == 2 and "token_embd" not in n]
        others = [p for n, p in named if p.dim() != 2 or "token_embd" in n]
        rate = settings.learning_rate
        self.optimizers = [
            torch.optim.Muon(
                matrices, lr=rate, weight_decay=settings.weight_decay, momentum=0.95,
                adjust_lr_fn="match_rms_adamw",
            ),
            torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]  # fmt: skip
        self.progress = Progress()
        self.probe = Random(9).sample(sorted(wording.nouns), settings.probe_nouns)

    def run(self) -> Progress:
        """Trains until the time is over; returns the log."""
        total = self.settings.minutes * 60
        started = time.monotonic() - self.progress.seconds
        logged = saved = self.progress.seconds
        losses: list[float] = []
        while (elapsed := time.monotonic() - started) < total:
            self._set_rate(elapsed / total)
            losses.append(self._step(*self._next_batch(elapsed / total)))
            self.progress.seconds = elapsed
            if elapsed - logged > self.settings.log_seconds:
                logged = elapsed
                save = elapsed - saved > self.settings.checkpoint_seconds
                self._log(losses, probe=save)
                losses.clear()
                if save:
                    saved = elapsed
                    self.save()
        if losses:
            self._log(losses, probe=True)
        self.save()
        return self.progress

    def save(self) -> None:
        """Writes the checkpoint under another name first, so that a crash never spoils one."""
        state = {
            "config": asdict(self.model.config),
            "weights": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": asdict(self.progress),
            "random": self.sequences.random.getstate(),
        }
        path = self.folder / "checkpoint.pt"
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def resume(self) -> None:
        """Goes on from the checkpoint."""
        state = torch.load(self.folder / "checkpoint.pt", weights_only=False)
        self.model.load_state_dict(state["weights"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.progress = Progress(**state["progress"])
        self.sequences.random.setstate(state["random"])

    def _rate(self, fraction: float) -> float:
        s = self.settings
        warm = min(1.0, (self.progress.steps + 1) / s.warm_up_steps)
        falling = (1 - fraction) / (1 - s.flat_until)
        return warm * max(s.last_rate, min(1.0, falling))

    def _set_rate(self, fraction: float) -> None:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.settings.learning_rate * self._rate(fraction)

    def _next_batch(self, fraction: float) -> tuple[Tensor, Tensor]:
        s = self.settings
        every = s.long_every[fraction >= s.long_phase]
        rows, length = s.long_batch if self.progress.steps % every == 0 else s.short_batch
        self.progress.tokens += rows * length
        if length == s.long_batch[1]:
            self.progress.long_tokens += rows * length
        return self.sequences.batch(rows, length)

    def _step(self, ids: Tensor, targets: Tensor) -> float:
        flat = targets.flatten()
        places = (flat >= 0).nonzero().squeeze(1)
        with torch.autocast("cpu", torch.bfloat16):
            hidden = self.body(ids).flatten(0, 1)[places]
            logits = self.model.logits(hidden)
        loss = functional.cross_entropy(logits.float(), flat[places])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.progress.steps += 1
        self.progress.answer_tokens += len(places)
        return float(loss.detach())

    def _log(self, losses: list[float], *, probe: bool) -> None:
        progress = self.progress
        entry = {
            "minutes": round(progress.seconds / 60, 1),
            "steps": progress.steps,
            "tokens": progress.tokens,
            "loss": round(sum(losses) / len(losses), 4),
        }
        if probe:
            entry["recall"] = round(self._recall(), 3)
        progress.log.append(entry)
        print(json.dumps(entry), flush=True)

    @torch.no_grad()
    def _recall(self) -> float:
        """Share of the probed definitions that greedy decoding would give word for word."""
        right = 0
        for word in self.probe:
            question = self.frame.question(f"What is {self.wording.article(word)}?")
            answer = self.frame.answer(self.wording.define(word))
            ids = torch.tensor([question + answer])
            with torch.autocast("cpu", torch.bfloat16):
                hidden = self.model.body(ids)[0, len(question) - 1 : -1]
                guess = self.model.logits(hidden).argmax(-1)
            right += bool((guess == ids[0, len(question) :]).all())
        return right / len(self.probe)
