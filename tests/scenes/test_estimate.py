from __future__ import annotations

from types import SimpleNamespace

import torch

from swath.scenes.engine import Engine
from swath.scenes.estimate import Estimate, block_bytes, estimate
from swath.scenes.layers import ClassLayers
from swath.scenes.windows import make_plan


def told(fakes: SimpleNamespace, height: int, width: int, **more: int) -> Estimate:
    scene = fakes.scene(height, width)
    plan = make_plan(height, width, (32, 32))
    engine = Engine(scene, fakes.ConvNet(), fakes.contract("scene"), plan)
    options = {"stored_bands": 3, "stored": 4, "workers": 1, "threads": 1, **more}
    return estimate(engine, ClassLayers(fakes.classes), **options)


def test_a_plan_says_what_it_takes_and_reads_next_to_nothing(fakes: SimpleNamespace) -> None:
    got = told(fakes, 600, 700)
    plan = make_plan(600, 700, (32, 32))
    assert (got.windows, got.blocks, got.halo_share) == (plan.run_count, plan.block_count, plan.extra)
    assert got.seconds is not None and got.window_seconds is not None
    assert abs(got.seconds - got.window_seconds * plan.run_count) < 1e-6
    assert "nothing was written" in got.summary()
    assert f"{got.memory_bytes:,} bytes" in got.summary()
    halved = told(fakes, 600, 700, workers=2, finished=2)
    assert halved.finished_blocks == 2
    assert halved.memory_bytes > got.memory_bytes


def test_a_pass_for_statistics_is_said_only_where_there_is_one(fakes: SimpleNamespace) -> None:
    once_more = told(fakes, 600, 700, statistics_bytes=5 << 30)
    assert once_more.to_dict()["statistics_bytes"] == 5 << 30
    assert "statistics: 5.0 GiB before compression (5,368,709,120 bytes)" in once_more.summary()
    assert "statistics" not in told(fakes, 600, 700).summary()


def test_memory_does_not_grow_with_the_scene() -> None:
    sizes = [(5_000, 5_000), (5_000, 500_000), (500_000, 5_000), (500_000, 500_000)]
    classes = SimpleNamespace(bands=[None] * 3, dtype="uint8")
    found = {
        block_bytes(
            make_plan(h, w, (96, 96)),
            classes,  # type: ignore[arg-type]  # no more of it is looked at
            dates=3,
            bands=6,
            stored_bands=6,
            stored=2,
            values=7,
        )
        for h, w in sizes
    }
    assert len(found) == 1


def test_a_large_network_counts_twice_in_every_process(fakes: SimpleNamespace) -> None:
    """As it is in the file, whose tensors are kept, and as the network that was made of them."""
    scene, plan = fakes.scene(40, 40), make_plan(40, 40, (32, 32))

    class Large(fakes.ConvNet):  # type: ignore[name-defined, misc]  # a class that the fixture holds
        def __init__(self) -> None:
            super().__init__()
            # Its pages are never touched: what is counted is what it will be.
            self.more = torch.nn.Parameter(torch.empty(1 << 28))

    told = {}
    for name, network in (("small", fakes.ConvNet()), ("large", Large())):
        engine = Engine(scene, network, fakes.contract("scene"), plan)
        for workers in (1, 2):
            found = estimate(
                engine, ClassLayers(fakes.classes), stored_bands=3, stored=4, workers=workers, threads=1,
                measure=False,
            )  # fmt: skip
            told[name, workers] = found.memory_bytes
    assert told["large", 1] - told["small", 1] == 2 << 30
    assert told["large", 2] - told["small", 2] == 3 * (2 << 30)
