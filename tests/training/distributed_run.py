"""One process of a distributed run, started by test_distributed: `distributed_run.py FOLDER JSON`."""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from swath.feed.normalise import normalise
from swath.training.keeper import Periodic

spec = importlib.util.spec_from_file_location("fakes", Path(__file__).with_name("conftest.py"))
assert spec is not None and spec.loader is not None
fakes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fakes)


def segmentation(wavelengths: tuple[float, ...], *, adapters: bool) -> torch.nn.Module:
    """A small encoder and head on the labels, with LoRA or without."""
    from swath.models.lora import add_lora
    from swath.models.lora_config import LoRAConfig
    from swath.models.task_network import TaskNetwork, TaskNetworkConfig
    from swath.models.vit_encoder import ViTConfig
    from swath.tasks.config import TaskConfig
    from swath.tasks.segmentation import SegmentationTask

    torch.manual_seed(0)
    encoder = ViTConfig(wavelengths, (), 16, 8, 8, 2, 2)
    task = SegmentationTask(TaskNetwork(TaskNetworkConfig("vit", encoder, 3)), TaskConfig(("a", "b", "c")))
    if adapters:
        add_lora(task, LoRAConfig(rank=2))
    return task


def published(kind: str, wavelengths: tuple[float, ...]) -> torch.nn.Module:
    """MoCo v2, whose copy and queue move after each step, or BEiT, whose network encodes hidden tokens."""
    from swath.models.beit import BEiT, BEiTConfig
    from swath.models.vit_encoder import ViT, ViTConfig
    from swath.pretraining.beit import BEiTObjective
    from swath.pretraining.moco import MoCoConfig, MoCoObjective

    torch.manual_seed(0)
    size = {"image_size": 16, "patch_size": 4, "embed_dim": 8, "depth": 1, "heads": 2}
    if kind == "moco":
        config = MoCoConfig("v2", momentum=0.9, hidden=0, embedding=8, queue=10)
        return MoCoObjective(ViT(ViTConfig(wavelengths=wavelengths, **size)), 8, config)
    network = BEiT(BEiTConfig(wavelengths=wavelengths, cells=2, codes=6, **size))
    network.visual_tokens.codes.copy_(torch.rand(6, 12, generator=torch.Generator().manual_seed(9)))
    return BEiTObjective(network, 0.4, 3)


def families(kind: str, wavelengths: tuple[float, ...]) -> torch.nn.Module:
    """The two families on series, small."""
    from swath.models.spectralgpt import SpectralGPT, SpectralGPTConfig
    from swath.models.st_swin import STSwinConfig, STSwinMAE
    from swath.pretraining.spectralgpt import LOSSES, SpectralGPTObjective
    from swath.pretraining.st_swin_mae import STSwinMAEObjective

    torch.manual_seed(0)
    if kind == "spectralgpt":
        decoder = {"decoder_embed_dim": 8, "decoder_depth": 1, "decoder_heads": 2}
        config = SpectralGPTConfig(
            wavelengths=wavelengths,
            image_size=16,
            embed_dim=16,
            depth=2,
            heads=2,
            temporal=True,
            drop_path=0.4,
            **decoder,
        )
        return SpectralGPTObjective(SpectralGPT(config), replace(LOSSES["three_target"], mask_ratio=0.5))
    swin = STSwinConfig(
        bands=3, patch_size=(1, 4, 4), embed_dim=8, depths=(2, 1), heads=(1, 2), window=(2, 2, 2),
        decoder_depths=(1,), drop_path=0.4, encoder_sees="visible" if kind == "visible" else "all",
    )  # fmt: skip
    return STSwinMAEObjective(STSwinMAE(swin), 0.5, 2)


def series(cube: Any) -> Any:
    """The scene at three dates, of which windows hold one, two or three."""
    draw = np.random.default_rng(1)
    pixels = np.concatenate(
        [cube.pixels + draw.normal(0, 0.1, cube.pixels.shape).astype("f4") for _ in range(3)]
    )
    valid = np.concatenate([cube.valid] * 3)
    valid[1, :, :, 20:] = False
    valid[2, :, 18:] = False
    dates = tuple(dt.date(2020, month, 1) for month in (3, 6, 9))
    made = replace(
        cube, pixels=pixels, valid=valid, dates=dates, encodings=cube.encodings * 3, statistics=None
    )
    return made.with_statistics()


def looks(objective: Any, feed: Any) -> Periodic:
    """Features from the network itself, asked for more often on one process than on another."""

    def look(current: Any, step: int) -> dict[str, float]:
        batch = feed.take(1000, 4)
        for _ in range(1 + int(os.environ.get("RANK", "0"))):
            given = normalise(batch), batch.valid, batch.days, batch.wavelengths
            pooled = current.network.features(*given).pooled
        return {"feature": float(pooled.mean())}

    return Periodic("look", 4, look)


def main() -> None:
    from swath.contract import Normalisation, contract_for
    from swath.cube import Encoding
    from swath.feed.windows import WindowFeed
    from swath.training.config import TrainConfig
    from swath.training.ranks import joined
    from swath.training.run import fit

    folder, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    torch.set_num_threads(1)
    part, kind = options.pop("part", None), options.pop("objective", "")
    dated = kind in ("spectralgpt", "swin", "visible")
    contract = contract_for("landsat7", fakes.BANDS, Encoding("dn"), Normalisation("standard", "scene"))
    cube, labels = fakes.make_cube()
    # Half of the scene is a hole, so that the processes count very different numbers of pixels.
    valid = cube.valid.copy()
    valid[:, :, :18, :24] = False
    cube = replace(cube, valid=valid)
    cube = series(cube) if dated else cube
    cubes = [contract.convert(cube)]
    if dated:
        # Of half of the windows nobody knows the dates.
        cubes.append(replace(cubes[0], dates=(None,) * len(cube.dates)))
    feed = WindowFeed(cubes, contract, 16, seed=3, labels=[labels] * len(cubes), min_valid=0.1)
    resume = options.pop("resume", False)
    poison = options.pop("poison", None)
    config = TrainConfig(**{**fakes.TRAINING, **options})
    objective = fakes.FakeBlocks() if options.get("strategy") == "fsdp" else fakes.FakeObjective(dropout=0.0)
    if part is not None:
        objective = segmentation(contract.wavelengths, adapters=part == "lora")
    if dated:
        objective = families(kind, contract.wavelengths)
    elif kind:
        objective = published(kind, contract.wavelengths)
    if poison is not None:
        take = feed.take

        def poisoned(first: int, count: int) -> object:
            batch = take(first, count)
            if first <= poison < first + count:
                batch.pixels[poison - first] = torch.where(
                    batch.valid[poison - first], float("inf"), batch.pixels[poison - first]
                )
            return batch

        feed.take = poisoned
    with joined("cpu") as place:
        periodic = [looks(objective, feed)] if dated else []
        result = fit(objective, feed, config, folder, resume=resume, periodic=periodic)
        if place.leads:
            torch.save(objective.state_dict(), folder / "end.pt")
            print(json.dumps({"loss": result.loss, "steps": result.steps, "world": place.size}))


if __name__ == "__main__":
    main()
