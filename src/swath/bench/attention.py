"""Measures the attention kernels and writes the table that `swath.models.attention` chooses by.

    python -m swath.bench.attention [--table PATH] [--results PATH] [--threads N] [--device cpu|cuda]

`make bench-attention` runs it. Rules of other devices than the measured one stay in the table.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from swath.bench.record import about
from swath.models import attention
from swath.models.attention import attend, device_name, force_kernel

# Windows of 7 x 7 over 1, 2, 4 and 8 dates; all tokens of SpectralGPT at 96 and 128 px.
TOKENS = (49, 98, 196, 392, 576, 1024)
HEADS, HEAD_DIM = 4, 32
MODES = (("none", True), ("none", False), ("fixed", True), ("fixed", False), ("learned", True))

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Case:
    """One row of the measurement."""

    device: str
    dtype: torch.dtype
    bias: str
    train: bool
    tokens: int

    @property
    def kernels(self) -> tuple[str, ...]:
        """The kernels that can run it."""
        return ("sdpa", "explicit", "flex") if self.device == "cuda" else ("sdpa", "explicit")

    @property
    def margin(self) -> float:
        """How much faster than SDPA to be chosen: SDPA holds no scores, unless the bias is learned."""
        return 1.25 if self.tokens > 512 and self.bias != "learned" else 1.05

    @property
    def measure(self) -> str:
        """The dotted name of the record."""
        name = str(self.dtype).removeprefix("torch.")
        mode = "train" if self.train else "infer"
        return f"attention.{device_name(self.device)}.{name}.{self.bias}.{mode}.{self.tokens}"


def time_case(case: Case, work: int, runs: int) -> dict[str, list[float]]:
    """Milliseconds of every run by kernel; the kernels take turns, so that a busy moment meets all of them.

    Args:
        case: what to run.
        work: score entries per head, which fixes the batch.
        runs: how many times each kernel runs after a warm-up.
    """
    device = torch.device(case.device)
    batch = max(1, work // case.tokens**2)
    gen = torch.Generator(device=device).manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=gen, device=device, dtype=case.dtype)

    q, k, v = (draw(batch, HEADS, case.tokens, HEAD_DIM).requires_grad_(case.train) for _ in range(3))
    bias = None
    if case.bias != "none":
        bias = draw(HEADS, case.tokens, case.tokens).requires_grad_(case.bias == "learned")
    grad = torch.ones_like(q, requires_grad=False)

    def once() -> float:
        for x in (q, k, v, bias):
            if x is not None:
                x.grad = None
        _wait(device)
        start = time.perf_counter()
        with torch.set_grad_enabled(case.train):
            out = attend(q, k, v, bias)
        if case.train:
            torch.autograd.backward(out, grad)
        _wait(device)
        return (time.perf_counter() - start) * 1e3

    times: dict[str, list[float]] = {kernel: [] for kernel in case.kernels}
    for turn in range(runs + 1):
        for kernel in case.kernels:
            with force_kernel(kernel):
                spent = once()
            if turn:
                times[kernel].append(spent)
    return times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def make_rules(fastest: Sequence[tuple[Case, str]]) -> list[dict[str, Any]]:
    """Rules out of the fastest kernel per case; neighbouring sizes with the same kernel become one rule.

    Between two measured sizes the rule changes half way, on a logarithmic scale.
    """
    groups: dict[tuple[str, torch.dtype, str, bool], list[tuple[int, str]]] = {}
    for case, kernel in fastest:
        groups.setdefault((case.device, case.dtype, case.bias, case.train), []).append((case.tokens, kernel))
    rules = []
    for (device, dtype, bias, train), sizes in groups.items():
        sizes = sorted(sizes)
        for i, (tokens, kernel) in enumerate(sizes):
            last = i + 1 == len(sizes)
            if not last and sizes[i + 1][1] == kernel:
                continue
            rules.append(
                {
                    "device": device_name(device),
                    "dtype": str(dtype).removeprefix("torch."),
                    "bias": bias,
                    "train": train,
                    "max_tokens": None if last else int((tokens * sizes[i + 1][0]) ** 0.5),
                    "kernel": kernel,
                }
            )
    return rules


def run(
    device: str, work: int = 2_000_000, runs: int = 7
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Measures all cases of a device: (rules, records of design §5)."""
    common = {"unit": "ms", **about("make bench-attention", device)}
    fastest, records = [], []
    for dtype in (torch.float32, torch.bfloat16):
        for bias, train in MODES:
            for tokens in TOKENS:
                case = Case(device, dtype, bias, train, tokens)
                times = time_case(case, work, runs)
                medians = {kernel: statistics.median(t) for kernel, t in times.items()}
                best = _best(case, medians)
                log.info("%s: %s -> %s", case.measure, {k: round(m, 2) for k, m in medians.items()}, best)
                fastest.append((case, best))
                records.append(
                    {
                        "measure": case.measure,
                        "value": round(medians[best], 4),
                        **common,
                        "baseline": round(medians["sdpa"], 4),
                        "ratio": round(medians["sdpa"] / medians[best], 3),
                        "runs": [round(t, 4) for t in times[best]],
                        "note": f"{best}; baseline sdpa; {HEADS} heads of {HEAD_DIM}; "
                        + ("forward and backward" if train else "forward")
                        + "; medians of all kernels "
                        + ", ".join(f"{k} {m:.2f}" for k, m in medians.items()),
                    }
                )
    return make_rules(fastest), records


def _best(case: Case, medians: dict[str, float]) -> str:
    return min(medians, key=lambda kernel: medians[kernel] * (1.0 if kernel == "sdpa" else case.margin))


def write_table(path: Path, rules: Sequence[dict[str, Any]], device: str) -> None:
    """Replaces the rules of one device in a table."""
    table = json.loads(path.read_text("utf-8"))
    others = [rule for rule in table["rules"] if rule["device"] != device_name(device)]
    lines = ",\n".join("    " + json.dumps(rule) for rule in [*others, *rules])
    head = json.dumps({key: value for key, value in table.items() if key != "rules"}, indent=2).removesuffix(
        "\n}"
    )
    path.write_text(f'{head},\n  "rules": [\n{lines}\n  ]\n}}\n', "utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    """Measures, writes the table and the records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=None, help="CPU threads; torch's default if not given")
    parser.add_argument(
        "--table", type=Path, default=Path(attention.__file__).with_name("attention_table.json")
    )
    parser.add_argument("--results", type=Path, default=Path("bench/results/attention.json"))
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.threads:
        torch.set_num_threads(options.threads)
    rules, records = run(options.device)
    write_table(options.table, rules, options.device)
    kept = []
    if options.results.exists():
        ours = f"attention.{device_name(options.device)}."
        kept = [
            r for r in json.loads(options.results.read_text("utf-8")) if not r["measure"].startswith(ours)
        ]
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps([*kept, *records], indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
