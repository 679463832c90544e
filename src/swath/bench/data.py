"""Measures how fast records reach a batch: from shards, GeoTIFFs, WebDataset and HDF5.

    python -m swath.bench.data [--records N] [--runs N] [--results PATH]

`make bench-data` runs it. A record is 12 x 128 x 128 uint16 with its validity; batches of 256, in random order, are
collated in the consumer; files are in the page cache. Every measurement is a process of its own whose threads and
children are held to one core, and a second is one of CPU time of all of them together: what others do on the machine
costs nothing but cache and bandwidth, and waiting, which peers with worker processes do more of, is not counted.
"thread": one prefetch thread; "process": one worker process that sends records to the consumer. Pixels are those of
the embedded BigEarthNet patches, turned and shifted, so that they compress as real ones do.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from swath.bench.data_formats import BATCH, FORMATS, open_format, write_all
from swath.bench.record import about

log = logging.getLogger(__name__)
COMMAND = "make bench-data"
MODES = ("thread", "process")
# glibc then copies records past the caches, which a batch does not fit anyway.
STREAMING = {"GLIBC_TUNABLES": "glibc.cpu.x86_non_temporal_threshold=0x40000"}
TARGET_SECONDS = 1.5


def consume(folder: Path, name: str, mode: str, touch: bool, core: int, seconds: float) -> dict[str, float]:
    """Samples per second of CPU time and of the clock, after a warm-up; in a process of its own.

    Args:
        folder: that `write_all` filled.
        name: of the format.
        mode: "thread" or "process".
        touch: let the consumer read every byte of a batch once more.
        core: that everything here runs on.
        seconds: to measure, at least.
    """
    import numpy as np

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    import torch

    torch.set_num_threads(1)
    batches = open_format(folder, name, mode)
    seen = 0
    began = began_cpu = 0.0
    total = 0
    start = cpu_seconds()
    warm = False
    for number, (pixels, bits) in enumerate(batches, 1):
        if touch:
            seen ^= int(pixels.view(np.uint64).max()) ^ int(bits.view(np.uint64).max())
        del pixels, bits
        total += BATCH * warm
        # The first batches fill page tables and buffers.
        if not warm and (number >= 8 or (number >= 2 and cpu_seconds() - start > seconds)):
            warm, began, began_cpu = True, time.perf_counter(), cpu_seconds()
        elif total and cpu_seconds() - began_cpu > seconds:
            break
    clock, cpu = time.perf_counter() - began, cpu_seconds() - began_cpu
    return {"rate": total / cpu, "clock": total / clock, "seen": float(seen & 1)}


def cpu_seconds() -> float:
    """CPU time of this process and its children so far, where the system tells that of children that still run."""
    used = os.times()
    total = used.user + used.system
    tick = os.sysconf("SC_CLK_TCK")
    for children in Path("/proc/self/task").glob("*/children"):
        for child in children.read_text().split():
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / tick
    return total


def copy_limit(core: int, runs: int = 5) -> float:
    """Bytes per second that one core copies from one large array to another, record by record: the limit."""
    import numpy as np

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    record = 12 * 128 * 128 * 2
    source = np.ones((2048, record), np.uint8)
    batch = np.zeros((BATCH, record), np.uint8)
    order = np.random.default_rng(0).permutation(len(source)).tolist()
    rates = []
    for run in range(runs):
        began = time.process_time()
        for place, i in enumerate(order[run * BATCH : (run + 1) * BATCH]):
            batch[place] = source[i]
        rates.append(batch.nbytes / (time.process_time() - began))
    return statistics.median(rates)


def _child(words: Sequence[str], environment: dict[str, str] | None = None) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "swath.bench.data", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return float(done.stdout.strip().splitlines()[-1])


def measure(folder: Path, runs: int, core: int) -> dict[tuple[str, str, bool, bool], list[float]]:
    """Rates by (format, mode, touched, streaming); formats take turns, so that a busy moment meets all of them."""
    cases = [(name, mode, False, False) for name in FORMATS for mode in MODES]
    cases += [("shards", "thread", True, False), ("hdf5", "thread", True, False)]
    cases += [("shards", "thread", False, True), ("shards", "thread", True, True)]
    found: dict[tuple[str, str, bool, bool], list[float]] = {case: [] for case in cases}
    for _ in range(runs):
        for case in cases:
            name, mode, touch, streaming = case
            words = ["--one", name, "--folder", str(folder), "--mode", mode, "--core", str(core)]
            found[case].append(_child(words + ["--touch"] * touch, STREAMING if streaming else None))
            log.info("%s: %.0f/s", case, found[case][-1])
    return found


def records_of(
    found: dict[tuple[str, str, bool, bool], list[float]], limits: Sequence[float]
) -> Iterator[dict[str, Any]]:
    """Records of design §5."""
    common = {"unit": "samples per CPU second", **about(COMMAND), "threads": 1}
    load = f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores at the end"
    frame = (
        f"12 x 128 x 128 uint16 and packed validity, batches of {BATCH}, random order, warm, one core; {load}"
    )
    deflate = statistics.median(found["geotiff-deflate", "thread", False, False])
    record = 12 * 128 * 128 * 2 + 12 * 128 * 128 // 8
    for (name, mode, touch, streaming), runs in found.items():
        value = statistics.median(runs)
        # Reading a batch once more costs what it costs whoever made it: next to nothing of a GeoTIFF's time.
        base = deflate
        note = f"{mode}; baseline GeoTIFF (deflate, predictor 2) through rasterio, thread; {frame}"
        if touch:
            note = "every byte of the batch is read once more after it was copied; " + note
        if streaming:
            note = f"with {STREAMING['GLIBC_TUNABLES']}; {note}"
        measure = f"feed.{name.replace('-', '_')}_per_core.{mode}"
        yield {
            "measure": measure + ".touched" * touch + ".streaming" * streaming,
            "value": round(value, 1),
            **common,
            "baseline": round(base, 1),
            "ratio": round(value / base, 2),
            "runs": [round(r, 1) for r in runs],
            "note": note,
        }
    shards = found["shards", "thread", False, False]
    ratios = [a / b for a, b in zip(shards, found["geotiff-deflate", "thread", False, False], strict=True)]
    yield {
        "measure": "feed.shards_per_core_vs_geotiff",
        "value": round(statistics.median(shards), 1),
        **common,
        "baseline": round(deflate, 1),
        "ratio": round(statistics.median(ratios), 2),
        "runs": [round(r, 1) for r in shards],
        "note": f"thread; baseline GeoTIFF (deflate, predictor 2) through rasterio, thread; {frame}",
    }
    limit = statistics.median(limits)
    yield {
        "measure": "feed.copy_limit_per_core",
        "value": round(limit / 1e9, 3),
        **common,
        "unit": "GB/s",
        "baseline": round(statistics.median(shards) * record / 1e9, 3),
        "ratio": round(limit / (statistics.median(shards) * record), 3),
        "runs": [round(r / 1e9, 3) for r in limits],
        "note": f"copying records of {record} bytes between arrays in memory; baseline: bytes per second from shards",
    }


def training_wait(folder: Path, runs: int, steps: int = 40) -> dict[str, Any]:
    """The share of its time that a real `swath pretrain` from shards waits for data."""
    shares = []
    for run in range(runs):
        target = folder / f"run-{run}"
        words = [
            "pretrain", "--run.folder", str(target), "--run.overwrite", "true",
            "--model.system", "st_swin_mae", "--model.preset", "tiny",
            "--data.shards", f"[{folder / 'shards'}]", "--data.window", "96",
            "--data.normalise.scope", "record", "--mask.ratio", "0.75",
            "--training.steps", str(steps), "--training.batch_size", "16", "--training.log_every", "10",
            "--training.warmup_steps", "1",
        ]  # fmt: skip
        subprocess.run([sys.executable, "-m", "swath", *words], check=True, capture_output=True)
        lines = [json.loads(line) for line in (target / "metrics.jsonl").read_text("utf-8").splitlines()]
        # Without the first line: it holds the start, when there is nothing to compute on yet.
        waits = [line["data_wait"] for line in lines if "data_wait" in line][1:]
        shares.append(statistics.mean(waits))
    value = statistics.median(shares)
    return {
        "measure": "feed.training_wait",
        "value": round(value, 5),
        "unit": "share of the step",
        **about(COMMAND),
        "baseline": 0.02,
        "ratio": round(0.02 / max(value, 1e-5), 2),
        "runs": [round(s, 5) for s in shares],
        "note": f"swath pretrain, ST-SwinMAE tiny (the faster the network, the harder), crops of 96 px from shards, {steps} steps of 16 samples; baseline: "
        "the most it may be",
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the files, measures, writes the records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=2048)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument(
        "--folder", type=Path, default=None, help="keep the files there, and use what is there"
    )
    parser.add_argument("--results", type=Path, default=Path("bench/results/data.json"))
    parser.add_argument("--one", default="", help="measure one format in this process, and print its rate")
    parser.add_argument("--mode", default="thread", choices=MODES)
    parser.add_argument("--touch", action="store_true")
    parser.add_argument("--limit", action="store_true", help="print how many bytes per second a core copies")
    options = parser.parse_args(argv)
    if options.limit:
        sys.stdout.write(f"{copy_limit(options.core)}\n")
        return
    if options.one:
        found = consume(
            options.folder, options.one, options.mode, options.touch, options.core, TARGET_SECONDS
        )
        sys.stdout.write(f"{found['rate']}\n")
        return
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "shards" / "shards.json").exists():
            write_all(folder, options.records)
        limits = [_child(["--limit", "--core", str(options.core)]) for _ in range(options.runs)]
        found_rates = measure(folder, options.runs, options.core)
        limits += [_child(["--limit", "--core", str(options.core)])]
        records = list(records_of(found_rates, limits))
        options.results.parent.mkdir(parents=True, exist_ok=True)
        # Twice: what took long to measure is kept should the training fail.
        options.results.write_text(json.dumps(records, indent=1) + "\n", "utf-8")
        records.append(training_wait(folder, options.runs))
        options.results.write_text(json.dumps(records, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
