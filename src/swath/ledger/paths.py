"""Fast paths against the slow, plain twins: the same output, the same gradient, the same training.

Each path runs one of two tiny objectives as a user would, with gaps, missing dates, odd sizes and shuffled
bands, and is compared with `swath.ledger.twins`, which shares no code with the models. So a mistake in the model
itself turns its rows red, not only one in the fast form.
"""

from __future__ import annotations

import contextlib
import logging
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swath.bands import Band, sensor
from swath.cube import CubeBatch
from swath.errors import ConfigError
from swath.feed.config import NO_AUGMENT
from swath.ledger.row import LedgerRow, Tolerance, compare, failed, not_run
from swath.ledger.twins import PlainAdamW, TwinOutput, spectralgpt_twin, st_swin_twin
from swath.models.attention import force_kernel
from swath.models.spectralgpt import SpectralGPT, SpectralGPTConfig
from swath.models.st_swin import STSwinMAE
from swath.models.swin_config import STSwinConfig
from swath.pretraining.objective import ObjectiveOutput
from swath.pretraining.spectralgpt import LOSSES, SpectralGPTObjective
from swath.pretraining.st_swin_mae import STSwinMAEObjective
from swath.rng import generator
from swath.training.config import TrainConfig
from swath.training.module import mask_noise
from swath.training.optim import adamw
from swath.training.parallel import checkpoint_blocks
from swath.training.precision import choose_precision
from swath.weights.convert.kinds import convert_back, convert_state
from swath.weights.convert.registry import KINDS
from swath.weights.convert.swin_kinds import RULES
from swath.weights.meta import WeightsMeta

_SEED = 0
_BATCH = 2
_RATE = 1e-3
_BETAS = (0.9, 0.95)
_DECAY = 0.05
QUANTITIES = ("forward", "gradient", "training")
# Shuffled: an input is not sorted by wavelength only because most are.
_BANDS = sensor("sentinel2").select(["B8A", "B02", "B11", "B04", "B03"])
_RISING = tuple(sorted(_BANDS, key=lambda band: band.center_nm))
_LOSS = LOSSES["three_target"]
_MASK_RATIO, _MASK_WINDOW = 0.6, 2


@dataclass(frozen=True)
class Subject:
    """A tiny objective with its data.

    Attributes:
        config: of the network.
        size: (dates, rows, columns) of its inputs.
        gaps: whether pixels and dates are missing.
    """

    config: SpectralGPTConfig | STSwinConfig
    size: tuple[int, int, int]
    gaps: bool = True

    @property
    def bands(self) -> tuple[Band, ...]:
        """Of its pixels."""
        if not isinstance(self.config, SpectralGPTConfig):
            return tuple(_BANDS[: self.config.bands])
        by_wave = {band.center_nm: band for band in _BANDS}
        return tuple(by_wave[wave] for wave in self.config.wavelengths)

    @property
    def wavelengths(self) -> tuple[float, ...]:
        """Of its bands, nm."""
        return tuple(band.center_nm for band in self.bands)

    @property
    def title(self) -> str:
        """The system."""
        return "SpectralGPT" if isinstance(self.config, SpectralGPTConfig) else "ST-SwinMAE"

    def objective(self) -> Any:
        """A fresh one in float64 whose parameters are all far from zero: where one is missing, it shows."""
        if isinstance(self.config, SpectralGPTConfig):
            loss = replace(_LOSS, mask_ratio=_MASK_RATIO)
            objective: nn.Module = SpectralGPTObjective(SpectralGPT(self.config), loss)
        else:
            objective = STSwinMAEObjective(STSwinMAE(self.config), _MASK_RATIO, _MASK_WINDOW)
        network: nn.Module = objective.network  # type: ignore[assignment]
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(_awake(name, parameter))
        return objective.double()

    def twin(self, state: Mapping[str, Tensor], batch: CubeBatch, noise: Tensor) -> TwinOutput:
        """The plain form."""
        if isinstance(self.config, SpectralGPTConfig):
            loss = replace(_LOSS, mask_ratio=_MASK_RATIO)
            return spectralgpt_twin(state, self.config, loss, batch.pixels, batch.valid, batch.days, noise)
        return st_swin_twin(state, self.config, _MASK_RATIO, _MASK_WINDOW, batch.pixels, batch.valid, noise)

    def take(self, first: int, count: int) -> CubeBatch:
        """Samples by number, as a feed gives them."""
        dates, rows, columns = self.size
        shape = (dates, len(self.bands), rows, columns)
        pixels, valid, days = [], [], []
        for number in range(first, first + count):
            random = generator(_SEED, "ledger", number)
            pixels.append(torch.randn(shape, generator=random))
            there = (
                torch.rand(shape, generator=random) > 0.2
                if self.gaps
                else torch.ones(shape, dtype=torch.bool)
            )
            if self.gaps:
                there[:, :, : rows // 2, : columns // 2] = False
                there[number % dates] &= dates == 1 or number % 2 == 0
            valid.append(there)
            days.append(
                torch.rand(dates, 2, generator=random) * torch.tensor([365.0, 9.0])
                + torch.tensor([1.0, 2016.0])
            )
        ones = torch.ones(count, len(self.bands))
        ids = tuple(str(number) for number in range(first, first + count))
        held = torch.stack(valid)
        return CubeBatch(
            torch.where(held, torch.stack(pixels), torch.nan),
            held,
            self.bands,
            torch.stack(days),
            ones,
            0 * ones,
            ids,
        )

    def noise(self, objective: Any, first: int, batch: CubeBatch) -> Tensor:
        """The draws of the masks."""
        length = objective.noise_length(batch.pixels.shape)
        return mask_noise(_SEED, first, len(batch.ids), length)


_SPECTRAL = SpectralGPTConfig(
    wavelengths=tuple(band.center_nm for band in _BANDS),
    image_size=24,
    embed_dim=16,
    depth=2,
    heads=2,
    mlp_ratio=2.0,
    temporal=True,
    decoder_embed_dim=16,
    decoder_depth=1,
    decoder_heads=2,
)
_SWIN = STSwinConfig(
    bands=3,
    patch_size=(1, 2, 2),
    embed_dim=8,
    depths=(2, 2),
    heads=(2, 2),
    window=(2, 2, 2),
    mlp_ratio=2.0,
    drop_path=0.0,
)
SPECTRALGPT = Subject(_SPECTRAL, (2, 22, 19))
ST_SWIN = Subject(_SWIN, (3, 9, 10))
# The published layouts know one date, and Swin-MAE whole windows.
_PUBLISHED = Subject(
    replace(_SPECTRAL, temporal=False, wavelengths=tuple(b.center_nm for b in _RISING)), (1, 22, 19)
)
_PLANAR = Subject(
    replace(_SWIN, **{**RULES["swin-mae"], "window": (1, 2, 2), "heads": (2, 4)}), (1, 16, 16), gaps=False
)
# Every block costs the compiler seconds; one is shifted still.
_FEW_BLOCKS = (
    Subject(replace(_SPECTRAL, depth=1), SPECTRALGPT.size, gaps=False),
    Subject(replace(_SWIN, depths=(2, 1), decoder_depths=(1,)), ST_SWIN.size, gaps=False),
)


@dataclass(frozen=True)
class Measured:
    """What is compared.

    Attributes:
        forward: the loss of the first batch, and the reconstruction where there is data.
        gradient: of all parameters, sorted by name.
        training: the losses of the steps, and the loss after the last.
    """

    forward: Tensor
    gradient: Tensor
    training: Tensor


@dataclass(frozen=True)
class FastPath:
    """A row of the ledger.

    Attributes:
        name: of the path and the system.
        what: what is compared, a sentence.
        subject: what runs.
        fast: measures the fast form in this many steps.
        tolerances: of forward, gradient and training.
        missing: why this machine cannot run it, or "".
    """

    name: str
    what: str
    subject: Subject
    fast: Callable[[Subject, int], Measured]
    tolerances: tuple[Tolerance, Tolerance, Tolerance]
    missing: Callable[[], str] = lambda: ""


@dataclass(frozen=True)
class CheckedPath:
    """The rows of a path, and the seconds it took."""

    rows: tuple[LedgerRow, ...]
    seconds: float


def check_path(path: FastPath, steps: int = 50) -> CheckedPath:
    """Three rows; a path that breaks is three failed ones."""
    began = time.perf_counter()
    reason = path.missing()
    if reason:
        rows = [not_run(path.name, quantity, reason) for quantity in QUANTITIES]
        return CheckedPath(tuple(rows), time.perf_counter() - began)
    try:
        plain = measure_twin(path.subject, steps)
        fast = path.fast(path.subject, steps)
        rows = []
        for quantity, tolerance in zip(QUANTITIES, path.tolerances, strict=True):
            actual, expected = getattr(fast, quantity), getattr(plain, quantity)
            name = f"{steps} steps" if quantity == "training" else quantity
            rows.append(compare(path.name, name, actual, expected, tolerance))
    except Exception as err:  # whatever breaks is what the ledger is there to show
        rows = [failed(path.name, quantity, f"{type(err).__name__}: {err}") for quantity in QUANTITIES]
    return CheckedPath(tuple(rows), time.perf_counter() - began)


def find_paths(words: Sequence[str] = ()) -> list[FastPath]:
    """All paths, or those whose names hold one of these words.

    Raises:
        ConfigError: a word is in no name.
    """
    for word in words:
        if not any(word.lower() in path.name.lower() for path in PATHS):
            told = "; ".join(path.name for path in PATHS)
            raise ConfigError(f"no path is named so: '{word}'", where="only", mend=f"the paths are: {told}")
    return [p for p in PATHS if not words or any(word.lower() in p.name.lower() for word in words)]


@lru_cache(maxsize=16)
def measure_twin(subject: Subject, steps: int) -> Measured:
    """The plain form in float64; nothing that a model does wrong changes it."""
    objective = subject.objective()
    state = {n: p.detach().clone().requires_grad_() for n, p in objective.network.named_parameters()}
    optimizer = PlainAdamW(state, _RATE, _BETAS, _DECAY)
    losses: list[Tensor] = []
    forward = gradient = torch.empty(0)
    for step in range(steps + 1):
        first = step * _BATCH
        batch = subject.take(first, _BATCH)
        out = subject.twin(state, batch, subject.noise(objective, first, batch))
        losses.append(out.loss.detach())
        grads = dict(
            zip(state, torch.autograd.grad(out.loss, list(state.values()), allow_unused=True), strict=True)
        )
        known = {n: torch.zeros_like(state[n]) if g is None else g for n, g in grads.items()}
        if step == 0:
            forward, gradient = _forward(out.loss, out.reconstruction, batch.valid), _flat(known)
        if step < steps:
            optimizer.step(known)
    return Measured(forward, gradient, torch.stack(losses))


Inputs = Callable[[CubeBatch, Tensor, Any], tuple[CubeBatch, Tensor]]


def measure_network(
    subject: Subject,
    steps: int,
    *,
    objective: Any = None,
    prepare: Callable[[Any], Any] = lambda objective: objective,
    inputs: Inputs = lambda batch, noise, objective: (batch, noise),
    context: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
    dtype: torch.dtype = torch.float64,
) -> Measured:
    """The network's own form, as a training step calls it."""
    objective = (subject.objective() if objective is None else objective).to(dtype)
    call = prepare(objective)
    named = dict(objective.network.named_parameters())
    optimizer = adamw(objective, _train_config(steps))
    losses: list[Tensor] = []
    forward = gradient = torch.empty(0)
    for step in range(steps + 1):
        first = step * _BATCH
        exact = subject.take(first, _BATCH)
        batch, noise = inputs(exact, subject.noise(objective, first, exact), objective)
        valid = batch.valid if subject.gaps else None
        with context():
            out: ObjectiveOutput = call(
                batch.pixels.to(dtype),
                valid,
                noise=noise,
                days=batch.days.to(dtype),
                wavelengths=subject.wavelengths,
            )
        optimizer.zero_grad()
        torch.autograd.backward(out.loss)
        losses.append(out.loss.detach().double())
        if step == 0:
            assert out.reconstruction is not None
            h, w = exact.pixels.shape[-2:]
            forward = _forward(out.loss, out.reconstruction[..., :h, :w], exact.valid)
            gradient = _flat({n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in named.items()})
        if step < steps:
            optimizer.step()
    return Measured(forward, gradient, torch.stack(losses))


def _train_config(steps: int, **options: Any) -> TrainConfig:
    return TrainConfig(
        steps=steps,
        learning_rate=_RATE,
        min_learning_rate=_RATE,
        betas=_BETAS,
        weight_decay=_DECAY,
        **options,
    )


def _forward(loss: Tensor, reconstruction: Tensor, valid: Tensor) -> Tensor:
    return torch.cat([loss.detach().double().reshape(1), reconstruction.detach().double()[valid]])


def _flat(gradients: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([gradients[name].detach().double().flatten() for name in sorted(gradients)])


def _awake(name: str, like: Tensor) -> Tensor:
    drawn: Tensor = torch.randn(like.shape, generator=generator(_SEED, "ledger weights", name))
    if name.endswith("relative_position_bias_table") or "pos_embed" in name or like.ndim == 1:
        drawn = 0.5 * drawn
        return 1 + 0.4 * drawn if ".norm" in f".{name}" and name.endswith("weight") else drawn
    return drawn / math.sqrt(like.numel() / like.shape[0])


def _with_kernel(kernel: str) -> Callable[[Subject, int], Measured]:
    return lambda subject, steps: measure_network(subject, steps, context=lambda: force_kernel(kernel))


def _padded(subject: Subject, steps: int) -> Measured:
    """Pixels without data around the image: to whole tokens, and beyond where positions are relative."""
    patch = subject.config.patch_size
    edge = patch if isinstance(patch, int) else patch[1]
    more = 0 if isinstance(patch, int) else 2 * edge

    def pad(batch: CubeBatch, noise: Tensor, objective: Any) -> tuple[CubeBatch, Tensor]:
        h, w = batch.pixels.shape[-2:]
        sides = (0, -w % edge + more, 0, -h % edge + more)
        pixels = F.pad(batch.pixels, sides, value=torch.nan)
        wide = replace(batch, pixels=pixels, valid=F.pad(batch.valid, sides))
        if isinstance(patch, int):
            return wide, noise
        t = pixels.shape[1]
        before, after = (
            [-(-n // (edge * _MASK_WINDOW)) for n in shape[-2:]]
            for shape in (batch.pixels.shape, pixels.shape)
        )
        # Windows keep their draws; those of padding alone would be the first to stay visible.
        room = torch.zeros(len(noise), t, *after)
        room[:, :, : before[0], : before[1]] = noise.view(len(noise), t, *before)
        return wide, room.flatten(1)

    return measure_network(subject, steps, inputs=pad)


def _half(subject: Subject, steps: int) -> Measured:
    autocast = choose_precision("bf16", "cpu").autocast
    return measure_network(subject, steps, context=autocast, dtype=torch.float32)


def _compiled(subject: Subject, steps: int) -> Measured:
    torch.compiler.reset()
    try:
        with _quiet():
            return measure_network(subject, steps, prepare=lambda o: torch.compile(o, dynamic=False))
    finally:
        torch.compiler.reset()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The compiler's remarks on itself are of no use here."""
    compiler = logging.getLogger("torch._dynamo")
    before = compiler.level
    compiler.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            compiler.setLevel(before)


def _no_compiler() -> str:
    try:
        with _quiet():
            torch.compile(lambda x: x.sin() + 1)(torch.ones(3))
    except Exception as err:
        return f"torch.compile does not work here: {str(err).splitlines()[0][:200]}"
    return ""


def _checkpointed(subject: Subject, steps: int) -> Measured:
    def prepare(objective: Any) -> Any:
        checkpoint_blocks(objective)
        return objective

    return measure_network(subject, steps, prepare=prepare)


class _InDouble(nn.Module):
    """Makes an objective eat what a feed gives, which is float32, in float64; keeps what it made."""

    def __init__(self, objective: Any) -> None:
        super().__init__()
        self.objective = objective
        self.seen: list[tuple[ObjectiveOutput, Tensor]] = []

    def noise_length(self, shape: torch.Size) -> int:
        return int(self.objective.noise_length(shape))

    def forward(self, pixels: Tensor, valid: Tensor, *, days: Tensor, **others: Any) -> ObjectiveOutput:
        out: ObjectiveOutput = self.objective(pixels.double(), valid, days=days.double(), **others)
        if torch.is_grad_enabled() and len(self.seen) <= _BATCH:
            self.seen.append((out, valid))
        return out


def _accumulated(subject: Subject, steps: int) -> Measured:
    """`fit` with one sample a pass, and as many passes a step as the twin's batch has samples."""
    from swath.training.run import fit

    objective = subject.objective()
    network: nn.Module = objective.network
    sums = {n: torch.zeros_like(p) for n, p in network.named_parameters()}
    wrapped = _InDouble(objective)
    hooks = []

    def collect(name: str) -> Callable[[Tensor], None]:
        def add(gradient: Tensor) -> None:
            if len(wrapped.seen) <= _BATCH:  # the passes of the first step
                sums[name] += gradient

        return add

    parameters: dict[str, Any] = dict(network.named_parameters())
    for name, parameter in parameters.items():
        hooks.append(parameter.register_hook(collect(name)))
    config = _train_config(
        steps + 1,
        batch_size=1,
        accumulate=_BATCH,
        precision="fp32",
        device="cpu",
        augment=NO_AUGMENT,
        log_every=1,
        checkpoint_every=steps + 1,
    )
    with tempfile.TemporaryDirectory() as folder:
        result = fit(wrapped, subject, config, Path(folder) / "run", terminal=False, title="accumulating")
    for hook in hooks:
        hook.remove()
    losses = [r["loss"] for r in result.records if "loss" in r]
    parts = []
    for out, valid in wrapped.seen[:_BATCH]:
        assert out.reconstruction is not None
        parts.append(out.reconstruction.detach().double()[valid])
    loss = torch.tensor(losses, dtype=torch.float64)
    return Measured(torch.cat([loss[:1], *parts]), _flat(sums), loss)


def _converted(subject: Subject, steps: int) -> Measured:
    """The network with the weights that a published checkpoint of them would give, converted back and forth."""
    objective = subject.objective().float()
    network: nn.Module = objective.network
    spectral = isinstance(subject.config, SpectralGPTConfig)
    kind = KINDS["spectralgpt" if spectral else "swin-mae"]
    name = "spectralgpt" if spectral else "st_swin_mae"
    meta = WeightsMeta(name, subject.config.to_dict())
    hints: dict[str, Any] = {}
    if isinstance(subject.config, SpectralGPTConfig):
        config = subject.config
        hints = {
            "heads": config.heads,
            "decoder_heads": config.decoder_heads,
            "wavelengths": config.wavelengths,
        }
    published = convert_back(network.state_dict(), meta, kind)
    plan, there = convert_state(published, kind, hints)
    about = {"converted_from": kind.name, "layout": dict(plan.layout)}
    again = convert_back(there.state, replace(meta, config=plan.config.to_dict(), provenance=about), kind)
    network.load_state_dict(convert_state(again, kind, hints)[1].state)
    return measure_network(subject, steps, objective=objective)


_EXACT = (Tolerance(1e-9, 1e-9), Tolerance(1e-9, 1e-9), Tolerance(1e-8, 1e-8))
_BF16 = (Tolerance(1e-1, 2e-2), Tolerance(2e-2, 5e-2), Tolerance(1e-2, 1e-2))
_BOTH = (SPECTRALGPT, ST_SWIN)


def _paths() -> Iterator[FastPath]:
    def each(
        name: str,
        what: str,
        fast: Callable[[Subject, int], Measured],
        subjects: Sequence[Subject],
        **rest: Any,
    ) -> Iterator[FastPath]:
        for subject in subjects:
            rest.setdefault("tolerances", _EXACT)
            yield FastPath(f"{name}, {subject.title}", what, subject, fast, **rest)

    yield from each(
        "SDPA vs explicit softmax",
        "every attention by PyTorch's fused kernel, with learned biases and masks",
        _with_kernel("sdpa"),
        _BOTH,
    )
    yield from each(
        "windows vs masked full attention",
        "maps cut, shifted and padded into windows, against forbidden pairs of one attention over the whole map",
        _with_kernel("explicit"),
        (ST_SWIN,),
    )
    yield from each(
        "padded vs exact sizes",
        "the image inside a larger one without data around it, filled with NaN",
        _padded,
        _BOTH,
    )
    yield from each("bf16 vs fp32", "autocast to bfloat16", _half, _BOTH, tolerances=_BF16)
    yield from each(
        "compiled vs eager",
        "the objective through torch.compile, forward and backward",
        _compiled,
        _FEW_BLOCKS,
        missing=_no_compiler,
    )
    yield from each(
        "activation checkpointing on vs off",
        "blocks that compute their insides again in the backward pass",
        _checkpointed,
        _BOTH,
    )
    yield from each(
        "accumulated vs whole batch",
        "the training loop with one sample a pass, of which some hold more data than others",
        _accumulated,
        _BOTH,
    )
    yield from each(
        "converted and converted back",
        "weights in a published layout and from it again, twice",
        _converted,
        (_PUBLISHED, _PLANAR),
    )


PATHS: tuple[FastPath, ...] = tuple(_paths())
