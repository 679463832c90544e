"""How fast pretraining is, and how much memory it takes, against the same model written plainly.

Plainly: float32, explicit softmax attention, windows that are rolled and cut with the bias and the masks of
every window laid out in memory, AdamW as it comes. Each form lives in a process of its own, and they take
steps in turn, so that what else the machine does falls on all of them alike.

Activations' peak: the most memory during a step, less what the process held before it built the model, and less
weights, gradients and the optimiser's state.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from swath.bench.record import about, write
from swath.memory import forget_peak, freed_memory_kept, peak_resident, resident
from swath.models import attention, lean
from swath.training.parallel import checkpoint_blocks, compile_blocks
from swath.training.peak import STEP_OVER_FORWARD, matmul_peak

log = logging.getLogger("swath.bench.pretrain")

RESULTS = Path("bench/results/pretrain.json")
COMMAND = "make bench-pretrain"


@dataclass(frozen=True)
class Case:
    """One model at one size.

    Attributes:
        name: in the measure.
        preset: of the model.
        shape: of a sample, [T,C,H,W].
        batch: samples of a step on a CPU and on a GPU.
    """

    name: str
    preset: str
    shape: tuple[int, int, int, int]
    batch: tuple[int, int]


CASES = {
    case.name: case
    for case in (
        Case("spectralgpt_base_96", "spectralgpt_base_96", (1, 12, 96, 96), (8, 64)),
        Case("spectralgpt_base_128", "spectralgpt_base_128", (1, 12, 128, 128), (4, 64)),
        Case("st_swinmae_98m", "swin_b_light_decoder", (4, 6, 224, 224), (1, 16)),
        Case("st_swinmae_98m_128", "swin_b_light_decoder", (4, 6, 128, 128), (2, 32)),
    )
}


@dataclass(frozen=True)
class Form:
    """How a model computes. Fields are switches over the plain form."""

    bf16: bool = False
    kernels: bool = False  # those of the table instead of the explicit one; AdamW in one kernel
    kept: bool = False  # freed memory, for the next step
    recomputed: bool = False  # the attention of windows
    checkpointed: bool = False
    compiled: bool = False


FORMS = {
    "plain": Form(),
    # Tells how much of what the others gain is the C library's memory alone.
    "plain_kept": Form(kept=True),
    "fp32": Form(kernels=True, kept=True),
    "bf16": Form(bf16=True, kernels=True, kept=True),
    "bf16_attention": Form(bf16=True, kernels=True, kept=True, recomputed=True),
    "bf16_checkpointed": Form(bf16=True, kernels=True, kept=True, checkpointed=True),
    "bf16_compiled": Form(bf16=True, kernels=True, kept=True, compiled=True),
}
ON_CPU = ("plain", "plain_kept", "fp32", "bf16", "bf16_attention", "bf16_checkpointed")
ON_GPU = ("plain", "bf16", "bf16_compiled", "bf16_checkpointed")


def build(case: Case) -> nn.Module:
    """The objective with fresh weights, as its recipe sets it."""
    torch.manual_seed(0)
    if case.name.startswith("spectralgpt"):
        from swath.models.spectralgpt import PRESETS, SpectralGPT
        from swath.pretraining.spectralgpt import SpectralGPTObjective

        return SpectralGPTObjective(SpectralGPT(PRESETS[case.preset]))
    from swath.models.st_swin import STSwinMAE
    from swath.models.swin_config import PRESETS as SWINS
    from swath.pretraining.st_swin_mae import STSwinMAEObjective

    return STSwinMAEObjective(STSwinMAE(SWINS[case.preset]))


class Trainer:
    """A model in one form, that takes steps and tells what they cost."""

    def __init__(self, case: Case, form: Form, device: str) -> None:
        self.form, self.device = form, device
        self.before = _held(device)
        self.objective = build(case).to(device).train()
        if form.checkpointed:
            checkpoint_blocks(self.objective)
        if form.compiled:
            compile_blocks(self.objective)
        self.optimizer = torch.optim.AdamW(
            self.objective.parameters(), lr=1e-4, fused=True if form.kernels else None
        )
        draw = torch.Generator().manual_seed(1)
        batch = case.batch[device == "cuda"]
        self.pixels = torch.randn(batch, *case.shape, generator=draw).to(device)
        length = self.objective.noise_length(self.pixels.shape)  # type: ignore[operator]  # both have it
        self.noise = torch.rand(batch, length, generator=draw).to(device)
        self.flops = STEP_OVER_FORWARD * self._forward_flops() / batch

    @contextlib.contextmanager
    def _way(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            if not self.form.kernels:
                stack.enter_context(attention.force_kernel("explicit"))
                stack.enter_context(lean.plain_layers())
            if self.form.recomputed:
                stack.enter_context(attention.recompute_attention())
            if self.form.bf16:
                stack.enter_context(torch.autocast(self.device, torch.bfloat16))
            yield

    def _loss(self) -> Tensor:
        loss: Tensor = self.objective(self.pixels, None, noise=self.noise).loss
        return loss

    def _forward_flops(self) -> float:
        from torch.utils.flop_counter import FlopCounterMode

        # In the explicit form nothing hides in a kernel that the counter does not know.
        with torch.no_grad(), attention.force_kernel("explicit"), FlopCounterMode(display=False) as counter:
            self.objective.eval()
            self._loss()
            self.objective.train()
        return float(counter.get_total_flops())

    def step(self) -> dict[str, float]:
        """Seconds, those of the CPU, and GiB of activations of one step, and the loss."""
        _forget_peak(self.device)
        began, cpu = time.perf_counter(), time.process_time()
        with self._way():
            loss = self._loss()
            loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
        self.optimizer.step()
        self.optimizer.zero_grad()
        told = float(loss.detach())  # waits for a GPU
        seconds = time.perf_counter() - began
        peak = _peak(self.device) - self.before - self._kept()
        return {
            "seconds": seconds,
            "cpu": time.process_time() - cpu,  # of this process alone, whatever else the machine does
            "gib": peak / 2**30,
            "loss": told,
        }

    def _kept(self) -> int:
        """Bytes of weights, gradients and the optimiser's state."""
        weights = sum(p.numel() * p.element_size() for p in self.objective.parameters())
        states = self.optimizer.state.values()
        moments = sum(
            t.numel() * t.element_size() for s in states for t in s.values() if isinstance(t, Tensor)
        )
        return 2 * weights + moments

    def peak_flops(self) -> float:
        """Of this device in what the form computes in."""
        dtype = torch.bfloat16 if self.form.bf16 else torch.float32
        return matmul_peak(self.device, dtype, torch.get_num_threads())


def _held(device: str) -> int:
    return torch.cuda.memory_allocated() if device == "cuda" else resident()


def _forget_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        forget_peak()


def _peak(device: str) -> int:
    return torch.cuda.max_memory_allocated() if device == "cuda" else peak_resident()


def serve(case: Case, form: Form, device: str) -> None:
    """Takes a step for every line of standard input, and answers on standard output; for `measure`."""
    with contextlib.ExitStack() as stack:
        if form.kept:
            stack.enter_context(freed_memory_kept())
        _serve(Trainer(case, form, device))


def _serve(trainer: Trainer) -> None:
    trainer.step()  # allocates, compiles, and gives the optimiser its state
    ready = {"flops": trainer.flops, "peak": trainer.peak_flops(), "threads": torch.get_num_threads()}
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        sys.stdout.write(json.dumps(trainer.step()) + "\n")
        sys.stdout.flush()


class Worker:
    """`serve` in a process of its own."""

    def __init__(self, case: str, form: str, device: str, threads: int) -> None:
        words = [sys.executable, "-m", "swath.bench.pretrain", "--serve", case, form]
        self.process = subprocess.Popen(
            [*words, "--device", device, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = self._answer()

    def _answer(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker ended with code {self.process.wait()}")
        answer: dict[str, float] = json.loads(line)
        return answer

    def step(self) -> dict[str, float]:
        """One step."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(60)


def measure(case: Case, device: str, forms: Sequence[str], runs: int, threads: int) -> list[dict[str, Any]]:
    """Records of one case: samples per second and activations' peak of each form against the plain one."""
    workers: dict[str, Worker] = {}
    try:
        for form in forms:
            workers[form] = Worker(case.name, form, device, threads)
        steps: dict[str, list[dict[str, float]]] = {form: [] for form in forms}
        for _ in range(runs):
            for form in forms:
                steps[form].append(workers[form].step())
        facts = {form: workers[form].ready for form in forms}
    finally:
        for worker in workers.values():
            worker.close()
    return records(case, device, steps, facts)


def records(
    case: Case, device: str, steps: dict[str, list[dict[str, float]]], facts: dict[str, dict[str, float]]
) -> list[dict[str, Any]]:
    """As design §5 describes them."""
    batch = case.batch[device == "cuda"]
    where = "gpu" if device == "cuda" else "cpu"
    common = about(COMMAND, device) | {"threads": int(facts["plain"]["threads"])}
    plain_rate = statistics.median(batch / s["seconds"] for s in steps["plain"])
    plain_cpu = statistics.median(s["cpu"] for s in steps["plain"])
    load = "" if device == "cuda" else f"; load average {os.getloadavg()[0]:.0f}"
    plain_memory = statistics.median(s["gib"] for s in steps["plain"])
    shape = "x".join(map(str, case.shape))
    found = []
    for form, taken in steps.items():
        if form == "plain":
            continue
        rates = [batch / s["seconds"] for s in taken]
        rate = statistics.median(rates)
        used = rate * facts[form]["flops"] / facts[form]["peak"]
        plain_used = plain_rate * facts["plain"]["flops"] / facts["plain"]["peak"]
        measure = f"pretrain.{case.name}.{where}_{form}"
        log.info("%s: %.2f samples/s, plain %.2f, %.0f%% of peak", measure, rate, plain_rate, 100 * used)
        found.append(
            {
                "measure": measure,
                "value": round(rate, 4),
                "unit": "samples/s",
                "baseline": round(plain_rate, 4),
                "ratio": round(rate / plain_rate, 3),
                "runs": [round(r, 4) for r in rates],
                **common,
                "note": f"batch {batch} of {shape}, whole steps; utilisation {used:.3f} of the measured matmul peak of "
                f"{facts[form]['peak'] / 1e12:.3f} TFLOP/s ({facts[form]['flops'] / 1e9:.1f} GFLOP a sample), the plain "
                f"form {plain_used:.3f} of {facts['plain']['peak'] / 1e12:.3f}; losses {taken[0]['loss']:.4f} and "
                f"{steps['plain'][0]['loss']:.4f}; {plain_cpu / statistics.median(s['cpu'] for s in taken):.2f} times "
                f"as fast by the processes' own CPU time{load}",
            }
        )
        memory = statistics.median(s["gib"] for s in taken)
        found.append(
            {
                "measure": f"{measure}.activation_memory",
                "value": round(memory, 4),
                "unit": "GiB",
                "baseline": round(plain_memory, 4),
                "ratio": round(plain_memory / memory, 3) if memory > 0 else None,
                "runs": [round(s["gib"], 4) for s in taken],
                **common,
                "note": f"batch {batch} of {shape}; peak less what was held before, weights, gradients and moments",
            }
        )
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and writes the records; those of other cases and devices stay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--only", default="", help=f"cases, by comma: {', '.join(CASES)}")
    parser.add_argument("--forms", default="", help="forms, by comma; plain is always one of them")
    parser.add_argument("--runs", type=int, default=3, help="steps of each form, in turn")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; torch's default if not given")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--serve", nargs=2, metavar=("CASE", "FORM"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    threads = options.threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    if options.serve:
        serve(CASES[options.serve[0]], FORMS[options.serve[1]], options.device)
        return
    names = [n for n in options.only.split(",") if n] or list(CASES)
    forms = [f for f in options.forms.split(",") if f] or list(ON_GPU if options.device == "cuda" else ON_CPU)
    forms = ["plain", *(f for f in forms if f != "plain")]
    for name in names:
        write(options.results, measure(CASES[name], options.device, forms, max(3, options.runs), threads))


if __name__ == "__main__":
    main()
