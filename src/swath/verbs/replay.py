"""`swath pretrain --replay FILE`: a bad step once more, slowly, saying where it went wrong first."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from swath.errors import InputError

if TYPE_CHECKING:
    from swath.pretraining.objective import ObjectiveOutput
    from swath.verbs.pretrain import PretrainConfig


@dataclass(frozen=True)
class Replayed:
    """What a bad step shows when it runs again, sample by sample.

    Attributes:
        step: its number, from 1.
        why: it was skipped.
        samples: id -> loss of each sample by itself.
        parts: the loss's parts of the whole step.
        gradient_norm: of the whole step.
        bad_samples: ids of the samples whose own loss or gradient is not finite.
        largest: id of the sample with the largest gradient norm by itself.
        first: what was the first not to be finite: an input, an output of a layer or a gradient; "" if nothing.
    """

    step: int
    why: str
    samples: dict[str, float]
    parts: dict[str, float]
    gradient_norm: float
    bad_samples: tuple[str, ...]
    largest: str
    first: str

    def summary(self) -> str:
        """A few words for a terminal."""
        parts = ", ".join(f"{name} {value:.6g}" for name, value in self.parts.items())
        lines = [
            f"step {self.step} was skipped: {self.why}",
            f"again: {parts}; gradient norm {self.gradient_norm:.6g}",
            f"first not finite: {self.first or 'nothing'}",
            f"samples whose own loss or gradient is not finite: {', '.join(self.bad_samples) or 'none'}",
            f"largest gradient by itself: {self.largest}",
        ]
        return "\n".join([*lines, *(f"  {name}: loss {value:.6g}" for name, value in self.samples.items())])


def replay(config: PretrainConfig) -> Replayed:
    """Reads the run's data again, and runs the step that a file keeps.

    Raises:
        SwathError: the file is damaged, or the data have changed since.
    """
    from swath.training.guard import load_bad_step
    from swath.training.precision import choose_device, choose_precision
    from swath.verbs.mixing import mixed_feed, read_mixed
    from swath.verbs.objectives import make_objective
    from swath.verbs.pretrain import make_feed
    from swath.verbs.stages import read_data

    kept = load_bad_step(config.replay)
    device = choose_device(config.training.device, "training.device")
    data = read_data(config)
    objective = make_objective(config, data)
    objective.load_state_dict(kept["weights"])
    feed = mixed_feed(config, make_feed(config, data), data.contract, read_mixed(config))
    numbers = choose_precision(config.training.precision, device)
    step = Again(objective.to(device), feed, config, numbers.autocast)
    return step.run(kept)


class Again:
    """A step as training ran it, and each of its samples by itself."""

    def __init__(
        self, objective: nn.Module, feed: Any, config: PretrainConfig, autocast: Callable[[], Any]
    ) -> None:
        self.objective, self.feed, self.config, self.autocast = objective, feed, config, autocast
        self.first = ""

    def run(self, kept: dict[str, Any]) -> Replayed:
        """All of it."""
        total: dict[str, list[float]] = {}
        counts = self._counts(kept["micros"])
        losses: dict[str, float] = {}
        norms: dict[str, float] = {}
        self.objective.train()
        with _watched(self.objective, self._found):
            for micro in kept["micros"]:
                self._check(micro)
                out = self._forward(micro["first"], len(micro["ids"]))
                for name, part in out.parts.items():
                    row = total.setdefault(name, [0.0, 0.0])
                    row[0] += float(part.numerator.detach())
                    row[1] += float(part.count.detach())
                self._backward(out.loss if counts is None else _share(out, counts))
        norm = self._norm()
        for micro in kept["micros"]:
            for i, name in enumerate(micro["ids"]):
                number = micro["first"] + i
                label = f"{name} (number {number})"
                self.objective.zero_grad()
                try:
                    loss = self._forward(number, 1).loss
                    torch.autograd.backward(loss)
                except (RuntimeError, ValueError):
                    continue  # objectives that compare samples say nothing of one alone
                losses[label], norms[label] = float(loss.detach()), self._norm()
        bad = tuple(n for n in losses if not _finite(losses[n], norms[n]))
        largest = max(norms, key=lambda n: norms[n] if _finite(norms[n]) else float("inf"), default="")
        parts = {name: n / c if c > 0 else 0.0 for name, (n, c) in total.items()}
        return Replayed(kept["step"] + 1, kept["why"], losses, parts, norm, bad, largest, self.first)

    def _counts(self, micros: Sequence[dict[str, Any]]) -> dict[str, float] | None:
        """Counts of the step's parts, by which the gradients of its passes are divided; None for one pass."""
        if len(micros) == 1:
            return None
        sums: dict[str, float] = {}
        for micro in micros:
            self._check(micro)
            with torch.no_grad():
                out = self._forward(micro["first"], len(micro["ids"]))
            for name, part in out.parts.items():
                sums[name] = sums.get(name, 0.0) + float(part.count)
        return sums

    def _check(self, micro: dict[str, Any]) -> None:
        now = list(self.feed.take(micro["first"], len(micro["ids"])).ids)
        if now != micro["ids"]:
            raise InputError(
                f"the data give sample {now[0]} where the run saw {micro['ids'][0]}",
                where=self.config.replay,
                mend="replay with the data as they were",
            )

    def _forward(self, first: int, count: int) -> ObjectiveOutput:
        from swath.feed.augment import augment
        from swath.feed.normalise import normalise
        from swath.training.module import run_objective

        training = self.config.training
        device = next(self.objective.parameters()).device
        taken = self.feed.take(first, count).to(device)
        batch = augment(taken, training.augment, seed=training.seed, first=first)
        self._found("the normalised pixels", torch.where(batch.valid, normalise(batch), 0.0))
        with self.autocast():
            return run_objective(self.objective, batch, seed=training.seed, first=first)

    def _backward(self, loss: Tensor) -> None:
        self._found("the loss", loss)
        torch.autograd.backward(loss)
        for name, parameter in self.objective.named_parameters():
            if parameter.grad is not None:
                self._found(f"the gradient of {name}", parameter.grad)

    def _norm(self) -> float:
        found = [p.grad for p in self.objective.parameters() if p.grad is not None]
        return float(torch.nn.utils.get_total_norm(found))

    def _found(self, name: str, value: Tensor) -> None:
        if not self.first and not bool(torch.isfinite(value).all()):
            self.first = name


def _share(out: ObjectiveOutput, counts: Mapping[str, float]) -> Tensor:
    """What a pass adds to the loss of its step."""
    terms = [part.weight * part.numerator / (counts[name] or 1.0) for name, part in out.parts.items()]
    return torch.stack(terms).sum()


@contextlib.contextmanager
def _watched(module: nn.Module, found: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Looks at the output of every layer while the block runs."""

    def hook(name: str, kind: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(layer: nn.Module, given: Any, out: Any) -> None:
            for tensor in _tensors(out):
                found(f"the output of {name} ({kind})", tensor)

        return look

    handles = [
        layer.register_forward_hook(hook(name, type(layer).__name__))
        for name, layer in module.named_modules()
        if not list(layer.children())
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tensors(value: Any) -> Sequence[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for v in value for t in _tensors(v)] if isinstance(value, (list, tuple)) else []


def _finite(*values: float) -> bool:
    return all(abs(v) < float("inf") for v in values)
