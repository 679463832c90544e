"""One process of a distributed run, started by test_distributed: `distributed_run.py FOLDER JSON`."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

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


def main() -> None:
    from swath.contract import Normalisation, contract_for
    from swath.cube import Encoding
    from swath.feed.windows import WindowFeed
    from swath.training.config import TrainConfig
    from swath.training.ranks import joined
    from swath.training.run import fit

    folder, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    torch.set_num_threads(1)
    contract = contract_for("landsat7", fakes.BANDS, Encoding("dn"), Normalisation("standard", "scene"))
    cube, labels = fakes.make_cube()
    # Half of the scene is a hole, so that the processes count very different numbers of pixels.
    valid = cube.valid.copy()
    valid[:, :, :18, :24] = False
    cube = replace(cube, valid=valid)
    feed = WindowFeed([contract.convert(cube)], contract, 16, seed=3, labels=[labels], min_valid=0.1)
    resume = options.pop("resume", False)
    poison = options.pop("poison", None)
    part, kind = options.pop("part", None), options.pop("objective", "")
    config = TrainConfig(**{**fakes.TRAINING, **options})
    objective = fakes.FakeBlocks() if options.get("strategy") == "fsdp" else fakes.FakeObjective(dropout=0.0)
    if part is not None:
        objective = segmentation(contract.wavelengths, adapters=part == "lora")
    if kind:
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
        result = fit(objective, feed, config, folder, resume=resume)
        if place.leads:
            torch.save(objective.state_dict(), folder / "end.pt")
            print(json.dumps({"loss": result.loss, "steps": result.steps, "world": place.size}))


if __name__ == "__main__":
    main()
