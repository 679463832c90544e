"""Measures how scenes become maps: memory, speed, and how much of the time is the network's own.

    python -m swath.bench.scenes [--only memory,share,peers] [--huge] [--peer-python PATH] [--results PATH]

`make bench-scenes` runs it; `make bench-scenes-huge` maps 50,000 x 50,000 pixels. Every measurement is a process of its
own with one thread for torch, and a second is one of CPU time of all its threads together: reading, computing and
writing overlap on a machine with a core to spare, and no such gain is counted here; what others do on the machine costs
nothing but cache and bandwidth.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swath.bench.record import about, write
from swath.words import counted

log = logging.getLogger(__name__)
COMMAND = "make bench-scenes"
RESULTS = Path("bench/results/scenes.json")
# Of GDAL in the runs that measure memory.
CACHE = 32 << 20
BLOCK = 1024
SIDES = {"1k": 1024, "2k": 2048, "4k": 4096, "5k": 5120, "10k": 10240, "20k": 20480, "50k": 50176}
Numbers = dict[str, float]


@dataclass(frozen=True)
class Shape:
    """A scene.

    Attributes:
        height, width: pixels.
        dates: of six bands each.
        sparse: a file without pixels.
    """

    height: int
    width: int
    dates: int = 1
    sparse: bool = False

    @property
    def km2(self) -> float:
        """Of pixels of 10 m."""
        return self.height * self.width * 1e-4

    def file(self, folder: Path) -> Path:
        """Where it lies; written if it does not."""
        from swath.bench.scene_parts import write_scene

        path = folder / f"{self.height}x{self.width}{'-sparse' * self.sparse}.tif"
        if not path.exists():
            write_scene(path, self.height, self.width, sparse=self.sparse)
        return path


def map_once(path: Path, shape: Shape, network: str) -> Numbers:
    """One map, in this process."""
    from swath.bench.scene_parts import Case, make_map, opened
    from swath.memory import peak_resident

    small = network == "convolution"
    case = Case(network, 256, 32, BLOCK, "fp32") if small else Case(network, precision="fp32")
    output = path.with_suffix(f".{os.getpid()}.tif")
    try:
        with opened(path, shape.dates, sparse=shape.sparse) as scene:
            net = case.build(shape.dates)
            began, clock = time.process_time(), time.perf_counter()
            made = make_map(case, scene, net, output)
            cpu, seconds = time.process_time() - began, time.perf_counter() - clock
    finally:
        for file in (output, Path(f"{output}.aux.xml"), output.with_suffix(".qml")):
            file.unlink(missing_ok=True)
    return {"cpu": cpu, "seconds": seconds, "peak": float(peak_resident()), "windows": float(made.windows)}


def share_once(path: Path, network: str, runs: int, tell: Callable[[Numbers], None]) -> None:
    """The bare forward pass and the map in turn, in this process; tells of each pair."""
    from swath.bench.scene_parts import Case, all_windows, bare_pass, in_memory, make_map, opened

    case = Case(network)
    output = path.with_suffix(f".{os.getpid()}.tif")
    with opened(path, 1) as scene:
        plan, net = case.plan(scene.height, scene.width), case.build(1)
        pixels, windows = in_memory(case, scene), all_windows(plan)
        bare_pass(case, net, pixels, windows[:32])  # kernels are chosen, pages are there
        try:
            for _ in range(runs):
                marks = [(time.process_time(), time.perf_counter())]
                bare_pass(case, net, pixels, windows)
                marks.append((time.process_time(), time.perf_counter()))
                made = make_map(case, scene, net, output)
                marks.append((time.process_time(), time.perf_counter()))
                (a, a_clock), (b, b_clock), (c, c_clock) = marks
                tell({
                    "bare": b - a, "bare_clock": b_clock - a_clock, "map": c - b, "map_clock": c_clock - b_clock,
                    "windows": float(len(windows)), "run": float(made.windows),
                    "parameters": float(sum(p.numel() for p in net.parameters())),
                })  # fmt: skip
        finally:
            for file in (output, Path(f"{output}.aux.xml"), output.with_suffix(".qml")):
                file.unlink(missing_ok=True)


def child(words: Sequence[str], *, cache: int | None = None) -> list[dict[str, Any]]:
    """What a process of its own prints, line by line."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if cache is not None:
        environment["GDAL_CACHEMAX"] = str(cache)
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _own(shape: Shape, path: Path, job: str, network: str, *more: str) -> list[str]:
    size = f"{shape.height},{shape.width},{shape.dates},{int(shape.sparse)}"
    return [
        sys.executable, "-W", "ignore", "-m", "swath.bench.scenes", "--job", job, "--scene", str(path),
        "--shape", size, "--network", network, *more,
    ]  # fmt: skip


def measure_memory(
    folder: Path, names: Sequence[str], dates: int, runs: int, sparse: bool = False
) -> Iterator[list[dict[str, Any]]]:
    """Records of peak memory and speed with a convolution, so far, after each scene.

    `sparse`: files without pixels, which are soon there; the network runs all the same.
    """
    found: dict[str, list[Numbers]] = {}
    for name in names:
        large = SIDES[name] > SIDES["10k"]
        shape = Shape(SIDES[name], SIDES[name], dates, sparse)
        path = shape.file(folder)
        for _ in range(1 if large else runs):
            found.setdefault(name, []).extend(child(_own(shape, path, "map", "convolution"), cache=CACHE))
            log.info("%s, %d dates: %s", name, dates, found[name][-1])
        if large:
            path.unlink()
        yield memory_records(found, dates, sparse)


def memory_records(found: dict[str, list[Numbers]], dates: int, sparse: bool = False) -> list[dict[str, Any]]:
    """As design §5 describes them; memory against that of 5k, or of the smallest scene where that is not measured."""
    common = {**about(COMMAND), "threads": 1}
    first = "5k" if "5k" in found else next(iter(found))
    base = statistics.median(t["peak"] for t in found[first]) / 2**20
    frame = (
        f"6 bands, {counted(dates, 'date')}, a convolution over windows of 256 overlapping by 32, blocks of {BLOCK}, "
        f"GDAL's cache {CACHE >> 20} MiB; {load()}"
    )
    kind = ".sparse" * sparse
    records = []
    for name, taken in found.items():
        shape = Shape(SIDES[name], SIDES[name], dates)
        peaks = [t["peak"] / 2**20 for t in taken]
        rates = [shape.km2 / t["cpu"] for t in taken]
        clock = statistics.median(shape.km2 / t["seconds"] for t in taken)
        pixels = f"{shape.height}x{shape.width} pixels" + " of a sparse file" * sparse
        few = "" if len(taken) > 2 else f"; {counted(len(taken), 'run')} only, for the length"
        value = statistics.median(peaks)
        records.append({
            "measure": f"scene.peak_memory.{name}.{dates}d{kind}", "value": round(value, 1), "unit": "MiB",
            "baseline": round(base, 1), "ratio": round(base / value, 4), "runs": [round(p, 1) for p in peaks],
            **common, "note": f"{pixels}; baseline: the peak at {first}; {frame}{few}",
        })  # fmt: skip
        records.append({
            "measure": f"scene.speed.{name}.{dates}d{kind}", "value": round(statistics.median(rates), 3),
            "unit": "km2 per CPU second", "baseline": None, "ratio": None, "runs": [round(r, 3) for r in rates],
            **common, "note": f"{pixels} of 10 m; {clock:.3g} km2 per second of the clock; {frame}{few}",
        })  # fmt: skip
    return records


def measure_share(folder: Path, network: str, shape: Shape, runs: int) -> list[dict[str, Any]]:
    """The map's speed against the bare forward pass."""
    taken = child(_own(shape, shape.file(folder), "share", network, "--runs", str(runs)))
    return share_records(network, shape, taken)


def share_records(network: str, shape: Shape, taken: Sequence[Numbers]) -> list[dict[str, Any]]:
    """As design §5 describes them: windows of the scene per second, and windows that are run, halo and all."""
    from swath.training.precision import choose_precision

    first = taken[0]
    windows, run = first["windows"], first["run"]
    common = {"unit": "windows per CPU second", **about(COMMAND), "threads": 1}
    bare = statistics.median(t["windows"] / t["bare"] for t in taken)
    clock = statistics.median(t["bare_clock"] / t["map_clock"] for t in taken)
    note = (
        f"ST-SwinUNet {network} ({first['parameters'] / 1e6:.1f} M), {choose_precision('auto').name}, "
        f"{shape.height}x{shape.width} pixels x 6 bands from a deflated GeoTIFF to a map; windows of 224 at the default "
        f"overlap, {windows:.0f} of them, of which the map runs {run:.0f}; baseline: the forward pass alone over the "
        f"{windows:.0f} in the same batches of 16, pixels in memory; in turn, {counted(len(taken), 'pair')}; {load()}"
    )
    found = []
    for ending, number, about_halo in (
        ("", windows, "what the halo runs again counts against the map"),
        (".same_windows", run, "what the halo runs again counts as run"),
    ):
        rates = [number / t["map"] for t in taken]
        ratio = statistics.median(t["bare"] / windows * number / t["map"] for t in taken)
        found.append({
            "measure": f"scene.vs_bare_forward.{network}{ending}", "value": round(statistics.median(rates), 3),
            **common, "baseline": round(bare, 3), "ratio": round(ratio, 3), "runs": [round(r, 3) for r in rates],
            "note": f"{about_halo}; by the clock {clock * number / windows:.3f}; {note}",
        })  # fmt: skip
    return found


def measure_peers(folder: Path, names: Sequence[str], runs: int, peer_python: str) -> list[dict[str, Any]]:
    """The same network and windows by a plain loop and, where its Python is given, by TerraTorch."""
    script = str(Path(__file__).with_name("scene_peer.py"))
    found = []
    for name in names:
        shape = Shape(SIDES[name], SIDES[name])
        path = shape.file(folder)
        output = str(folder / "peer.tif")
        words = {
            "swath": _own(shape, path, "map", "peer"),
            "loop": [sys.executable, script, "loop", str(path), output],
        }
        if peer_python:
            words["terratorch"] = [peer_python, "-W", "ignore", script, "terratorch", str(path), output]
        taken: dict[str, list[dict[str, Any]]] = {way: [] for way in words}
        for _ in range(runs):
            for way, command in words.items():
                taken[way] += child(command)
                log.info("%s %s: %s", name, way, taken[way][-1])
        found += peer_records(name, shape, taken)
    with suppress(FileNotFoundError):
        (folder / "peer.tif").unlink()
    return found


def peer_records(name: str, shape: Shape, taken: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """As design §5 describes them, ours against each of the others."""
    common = {**about(COMMAND), "threads": 1}
    rates = [shape.km2 / t["cpu"] for t in taken["swath"]]
    peaks = [t["peak"] / 2**20 for t in taken["swath"]]
    rate, memory = statistics.median(rates), statistics.median(peaks)
    records = []
    for way, theirs in taken.items():
        if way == "swath":
            continue
        their_rate = statistics.median(shape.km2 / t["cpu"] for t in theirs)
        their_memory = statistics.median(t["peak"] / 2**20 for t in theirs)
        before = statistics.median(t["before"] / 2**20 for t in theirs)
        inside = statistics.median(t["forward"] / t["cpu"] for t in theirs)
        few = "" if len(theirs) > 2 else f"; {counted(len(theirs), 'run')} only"
        who = {"loop": "a plain loop over rasterio's windows", "terratorch": "TerraTorch's tiled_inference"}[
            way
        ]
        note = (
            f"{shape.height}x{shape.width} pixels x 6 bands of 10 m, from file to file, three small convolutions in "
            "float32 over windows of 224 at a stride of 128, batches of 16, in turn; baseline: "
            f"{who}, torch {theirs[0]['torch']}, {inside:.0%} of its CPU time in the network, {before:.0f} MiB "
            f"before the scene; ours also writes coverage and overviews; {load()}{few}"
        )
        records.append({
            "measure": f"scene.vs_{way}.{name}", "value": round(rate, 3), "unit": "km2 per CPU second",
            "baseline": round(their_rate, 3), "ratio": round(rate / their_rate, 3), "runs": [round(r, 3) for r in rates],
            **common, "note": note,
        })  # fmt: skip
        records.append({
            "measure": f"scene.peak_memory_vs_{way}.{name}", "value": round(memory, 1), "unit": "MiB",
            "baseline": round(their_memory, 1), "ratio": round(their_memory / memory, 3),
            "runs": [round(p, 1) for p in peaks], **common, "note": note,
        })  # fmt: skip
    return records


def load() -> str:
    """How busy the machine is."""
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and writes the records; those of other measures stay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="share,peers,memory", help="of share, peers, memory, by comma")
    parser.add_argument("--sides", default="1k,5k,20k", help=f"of memory, by comma: {', '.join(SIDES)}")
    parser.add_argument("--dates", default="1,3", help="of memory, by comma")
    parser.add_argument(
        "--sparse", action="store_true", help="of memory: scenes without pixels, which are soon there"
    )
    parser.add_argument("--huge", action="store_true", help="memory alone, at 5k and 50k, sparse")
    parser.add_argument("--networks", default="small,base", help="of share")
    parser.add_argument("--rows", type=int, default=4096, help="of share's scene of 4096 columns")
    parser.add_argument("--peer-python", default="", help="a Python with TerraTorch")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="keep scenes there, and use what is there")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--job", default="", choices=["", "map", "share"], help=argparse.SUPPRESS)
    parser.add_argument("--scene", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--shape", default="", help=argparse.SUPPRESS)
    parser.add_argument("--network", default="", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)

    def tell(numbers: Numbers) -> None:
        sys.stdout.write(json.dumps(numbers) + "\n")
        sys.stdout.flush()

    if options.job:
        height, width, dates, sparse = map(int, options.shape.split(","))
        if options.job == "map":
            shape = Shape(height, width, dates, bool(sparse))
            tell(map_once(options.scene, shape, options.network))
        else:
            share_once(options.scene, options.network, options.runs, tell)
        return
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    only = ["memory"] if options.huge else options.only.split(",")
    sides = ["5k", "50k"] if options.huge else options.sides.split(",")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if "share" in only:
            for network in options.networks.split(","):
                shape = Shape(options.rows, SIDES["4k"])
                write(options.results, measure_share(folder, network, shape, options.runs))
        if "peers" in only:
            peers = measure_peers(folder, ("1k", "2k", "4k"), options.runs, options.peer_python)
            write(options.results, peers)
        if "memory" in only:
            for dates in map(int, options.dates.split(",")):
                for records in measure_memory(
                    folder, sides, dates, options.runs, options.sparse or options.huge
                ):
                    write(options.results, records)


if __name__ == "__main__":
    main()
