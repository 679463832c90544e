"""What ST-SwinMAE loses and gains when its encoder runs on visible tokens alone (`encoder_sees: visible`).

Both forms start from the same seed and see the same windows and masks of the embedded Landsat scene's west. Three
runs a seed: the published form for a number of steps, the visible one for as many steps, and the visible one for as
many seconds of the CPU as the published form took. Told of each: the reconstruction loss on the east, where both are
asked for the same hidden windows, and a linear probe of the frozen features there (ridge regression on the land
classes, learned in the west).

With `--preset` it measures speed alone, of that network on windows of `--side` pixels and `--dates` dates: whole steps
of both forms in turn, and the limit that their operations set (`swath.models.flops`).
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from swath.bench.record import about, write
from swath.data.demo import open_demo_landsat
from swath.memory import freed_memory_kept
from swath.models.st_swin import STSwinMAE
from swath.models.swin_config import PRESETS
from swath.pretraining.st_swin_mae import STSwinMAEObjective
from swath.rng import generator
from swath.training.precision import choose_precision

log = logging.getLogger("swath.bench.visible")

RESULTS = Path("bench/results/visible.json")
SIDE, BATCH, MASK, MASK_WINDOW, LOOKS = 32, 16, 0.6, 2, 8
# Columns: learned from, and looked at; as the demo divides them.
WEST, EAST = (0, 196), (244, 489)
RIDGE = 1.0


@dataclass(frozen=True)
class Scene:
    """Normalised pixels [C,H,W] and land classes [H,W], below 0 where unknown."""

    pixels: Tensor
    labels: Tensor

    def windows(self, count: int, columns: tuple[int, int], draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Pixels [B,1,C,SIDE,SIDE] and labels [B,SIDE,SIDE] at random places between two columns."""
        height = self.pixels.shape[1]
        rows = torch.randint(0, height - SIDE + 1, (count,), generator=draw).tolist()
        lefts = torch.randint(columns[0], columns[1] - SIDE + 1, (count,), generator=draw).tolist()
        at = [(slice(r, r + SIDE), slice(c, c + SIDE)) for r, c in zip(rows, lefts, strict=True)]
        pixels = torch.stack([self.pixels[(slice(None), *a)] for a in at])
        return pixels[:, None], torch.stack([self.labels[a] for a in at])


def scene() -> Scene:
    """The embedded sample, by the mean and standard deviation of its west."""
    sample = open_demo_landsat()
    pixels = torch.from_numpy(np.asarray(sample.cube.pixels[0], np.float32))
    west = pixels[:, :, slice(*WEST)].flatten(1)
    pixels = (pixels - west.mean(1)[:, None, None]) / west.std(1)[:, None, None]
    return Scene(pixels, torch.from_numpy(np.asarray(sample.labels)).long())


def build(seed: int, sees: Literal["all", "visible"], bands: int) -> STSwinMAEObjective:
    """With the weights that the seed draws for the form."""
    torch.manual_seed(seed)
    config = replace(PRESETS["tiny"], bands=bands, patch_size=(1, 2, 2), window=(1, 4, 4), encoder_sees=sees)
    return STSwinMAEObjective(STSwinMAE(config), MASK, MASK_WINDOW)


def train(
    objective: STSwinMAEObjective, data: Scene, seed: int, steps: int, seconds: float = 0.0
) -> tuple[int, float]:
    """Trains for a number of steps, or of the CPU's seconds if those are given: (steps, seconds)."""
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-3, fused=True)
    objective.train()
    done, spent = 0, 0.0
    while spent < seconds if seconds else done < steps:
        draw = generator(seed, "visible", done)
        pixels, _ = data.windows(BATCH, WEST, draw)
        noise = torch.rand(BATCH, objective.noise_length(pixels.shape), generator=draw)
        began = time.process_time()
        loss = objective(pixels, None, noise=noise).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        done, spent = done + 1, spent + time.process_time() - began
    return done, spent


@torch.no_grad()
def reconstruction(objective: STSwinMAEObjective, data: Scene) -> float:
    """The mean loss in the east, over windows and masks that are always the same."""
    objective.eval()
    draw = generator(0, "visible held out", 0)
    losses = []
    for _ in range(LOOKS):
        pixels, _ = data.windows(BATCH, EAST, draw)
        noise = torch.rand(BATCH, objective.noise_length(pixels.shape), generator=draw)
        losses.append(float(objective(pixels, None, noise=noise).loss))
    return statistics.mean(losses)


@torch.no_grad()
def probe(objective: STSwinMAEObjective, data: Scene) -> float:
    """Share of the east's cells that a linear map of the west's features names rightly."""
    objective.eval()
    found = []
    for columns in (WEST, EAST):
        pixels, labels = data.windows(LOOKS * BATCH, columns, generator(0, "visible probe", columns[0]))
        maps = objective.network.features(pixels).maps
        size = maps[0].shape[-2:]
        flat = [torch.nn.functional.interpolate(m[:, 0, 0], size, mode="nearest") for m in maps]
        x = torch.cat(flat, 1).permute(0, 2, 3, 1).flatten(0, 2)
        y = labels[:, :: SIDE // size[0], :: SIDE // size[1]].flatten()
        found.append((torch.cat([x, torch.ones(len(x), 1)], 1)[y >= 0].double(), y[y >= 0]))
    (x, y), (other, truth) = found
    classes = int(max(y.max(), truth.max())) + 1
    scale = x.std(0).clamp(min=1e-6)
    scale[-1] = 1.0
    x, other = x / scale, other / scale
    wanted = torch.nn.functional.one_hot(y, classes).double()
    weights = torch.linalg.solve(x.T @ x + RIDGE * torch.eye(x.shape[1]).double(), x.T @ wanted)
    return float(((other @ weights).argmax(1) == truth).double().mean())


def of_seed(seed: int, steps: int) -> dict[str, dict[str, float]]:
    """The three runs of a seed."""
    torch.set_num_threads(1)
    data, limit = scene(), 0.0
    rows: dict[str, dict[str, float]] = {}
    for name in ("dense", "steps", "seconds"):
        objective = build(seed, "all" if name == "dense" else "visible", data.pixels.shape[0])
        done, spent = train(objective, data, seed, steps, limit if name == "seconds" else 0.0)
        limit = spent if name == "dense" else limit
        rows[name] = {
            "rate": BATCH * done / spent,
            "steps": float(done),
            "loss": reconstruction(objective, data),
            "probe": probe(objective, data),
        }
    return rows


def measure(seeds: int, steps: int) -> list[dict[str, Any]]:
    """Records of design §5: speed, and each number against the published form's; a process for each seed."""
    with ProcessPoolExecutor(seeds, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(of_seed, range(seeds), [steps] * seeds))
    for seed, rows in enumerate(found):
        log.info("seed %d: %s", seed, rows)
    return records({name: [rows[name] for rows in found] for name in found[0]}, steps)


def records(rows: dict[str, list[dict[str, float]]], steps: int) -> list[dict[str, Any]]:
    """As design §5 describes them; `baseline` is the published form's."""
    common = about("make bench-visible")
    setting = f"tiny ST-SwinMAE, batch {BATCH} of 1x6x{SIDE}x{SIDE}, {MASK:.0%} hidden, by CPU time"

    def record(measure: str, row: str, key: str, unit: str, low: bool, note: str) -> dict[str, Any]:
        values, base = [[r[key] for r in rows[n]] for n in (row, "dense")]
        value, baseline = statistics.median(values), statistics.median(base)
        return {
            "measure": f"pretrain.visible.{measure}",
            "value": round(value, 4),
            "unit": unit,
            "baseline": round(baseline, 4),
            "ratio": round(baseline / value if low else value / baseline, 3),
            "runs": [round(v, 4) for v in values],
            **common,
            "note": f"{note}; {setting}; published form {[round(v, 4) for v in base]}",
        }

    done = round(statistics.median(r["steps"] for r in rows["seconds"]))
    found = [record("speed", "steps", "rate", "samples/s", False, "whole steps")]
    for name, note in (
        ("steps", f"{steps} steps each"),
        ("seconds", f"{steps} steps against {done} in the same time"),
    ):
        found.append(
            record(f"loss_same_{name}", name, "loss", "mean squared error", True, f"in the east, {note}")
        )
        found.append(record(f"probe_same_{name}", name, "probe", "accuracy", False, f"in the east, {note}"))
    return found


def speed(preset: str, side: int, dates: int, batch: int, runs: int) -> list[dict[str, Any]]:
    """The record of a preset: seconds of the CPU of whole steps, by turns, and the ratio of operations."""
    draw = torch.Generator().manual_seed(1)
    forms: dict[str, tuple[STSwinMAEObjective, torch.optim.Optimizer]] = {}
    for sees in ("all", "visible"):
        torch.manual_seed(0)
        config = replace(PRESETS[preset], encoder_sees=sees)
        made = STSwinMAEObjective(STSwinMAE(config)).train()
        forms[sees] = made, torch.optim.AdamW(made.parameters(), lr=1e-4, fused=True)
    shape = (dates, PRESETS[preset].bands, side, side)
    pixels = torch.randn(batch, *shape, generator=draw)
    noise = torch.rand(batch, forms["all"][0].noise_length(pixels.shape), generator=draw)
    rates: dict[str, list[float]] = {sees: [] for sees in forms}
    precision = choose_precision("auto", "cpu")
    for turn in range(runs + 1):
        for sees, (objective, optimizer) in forms.items():
            began = time.process_time()
            with precision.autocast():
                loss = objective(pixels, None, noise=noise).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if turn:  # the first allocates
                rates[sees].append(batch / (time.process_time() - began))
    limit = forms["all"][0].flops(shape) / forms["visible"][0].flops(shape)
    rate, plain = (statistics.median(rates[sees]) for sees in ("visible", "all"))
    log.info("%s: %.2f times as fast; %.2f times fewer operations", preset, rate / plain, limit)
    return [
        {
            "measure": f"pretrain.visible.speed_{preset}_{side}",
            "value": round(rate, 4),
            "unit": "samples/s",
            "baseline": round(plain, 4),
            "ratio": round(rate / plain, 3),
            "runs": [round(r, 4) for r in rates["visible"]],
            **about("make bench-visible"),
            "note": f"whole steps, batch {batch} of {dates}x{shape[1]}x{side}x{side}, 75% hidden, {precision.name}, "
            f"by CPU time; {limit:.2f} times fewer operations; published form {[round(r, 4) for r in rates['all']]}; "
            f"load average {os.getloadavg()[0]:.0f}",
        }
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and writes the records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400, help="of the published form")
    parser.add_argument("--preset", default="", choices=["", *PRESETS], help="measure its speed alone")
    parser.add_argument("--side", type=int, default=128, help="of its windows, in pixels")
    parser.add_argument("--dates", type=int, default=4, help="of its windows")
    parser.add_argument("--batch", type=int, default=2, help="samples of its steps")
    parser.add_argument("--runs", type=int, default=3, help="steps of each form, by turns")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    if options.preset:
        with freed_memory_kept():
            found = speed(options.preset, options.side, options.dates, options.batch, max(3, options.runs))
        write(options.results, found)
        return
    write(options.results, measure(max(3, options.seeds), options.steps))


if __name__ == "__main__":
    main()
