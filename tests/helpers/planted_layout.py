"""A layout whose chips are drawn, with every kind of target, and fine-tunings on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import swath
from swath.bands import sensor
from swath.cube import Cube, Encoding, Grid, Sample
from swath.data.layouts.base import Item, LayoutInfo
from swath.data.layouts.disk import Listed
from swath.data.legend import LandClass
from swath.verbs.finetune import FinetuneResult

BANDS = sensor("sentinel2").select(("B03", "B04", "B08"))
VIT: dict[str, Any] = {"system": "mae", "options": {
    "embed_dim": 16, "depth": 1, "heads": 2, "decoder_embed_dim": 16, "decoder_depth": 1, "decoder_heads": 2,
    "patch_size": 4,
}}  # fmt: skip
UNET: dict[str, Any] = {"system": "unet", "preset": "unet_16", "options": {"levels": 2}}
TRAINING: dict[str, Any] = {
    "steps": 40, "batch_size": 8, "learning_rate": 5e-3, "warmup_steps": 2, "validate_every": 10,
    "checkpoint_every": 10, "log_every": 10, "precision": "fp32", "threads": 1, "monitor": "auto",
}  # fmt: skip


TASKS = {
    "density": "regression",
    "amount": "regression",
    "dated": "segmentation",
    "dated_density": "regression",
}


class Planted(Listed):
    """Chips whose brightness says what they are: a planted signal of every kind of target.

    Args:
        root: a folder; nothing is in it.
        split: train, val or test.
        target: the kind; of "dated" ones each date has kinds of its own, so that no answer for all dates can be right.
        dates: of each.
        size: pixels of a side; every fifth chip is two pixels larger.
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        "planted", "Planted", ("classification",), {"sentinel2": ("B03", "B04", "B08")},
        (LandClass(3, "dark", (0, 0, 0)), LandClass(5, "bright", (255, 255, 0)), LandClass(9, "green", (0, 200, 0))),
        ("train", "val", "test"), "", "", "", "", "", "", (),
    )  # fmt: skip
    opened: ClassVar[list[str]] = []

    def __init__(
        self,
        root: Path | str,
        split: str | None = None,
        *,
        target: str = "classification",
        dates: int = 1,
        size: int = 16,
    ) -> None:
        self.target, self.dates, self.size = target, dates, size
        items = [
            Item(f"chip-{i:02}", f"/there/{i}", f"tile{i // 4}", ("train", "train", "val", "test")[i % 4])
            for i in range(40)
        ]
        super().__init__(Path(root), items, split)

    @classmethod
    def describe(cls, *, target: str = "classification", **others: object) -> LayoutInfo:
        from dataclasses import replace

        task = TASKS.get(target, target)
        real = task == "regression"
        quantities: Mapping[str, str] = {"depth": "m"} if real else {}
        return replace(
            cls.info, tasks=(task,), classes=() if real else cls.info.classes, quantities=quantities
        )

    def read(self, index: int) -> Sample:
        item = self.items[index]
        Planted.opened.append(item.id)
        number = int(item.id[-2:])
        draw = np.random.default_rng(number)
        size = self.size + 2 * (number % 5 == 0)
        kinds = draw.integers(0, 3, (size // 4 + 1, size // 4 + 1)).repeat(4, 0).repeat(4, 1)[:size, :size]
        if self.target in ("classification", "amount", "multilabel"):
            kinds[:] = number % 3
        levels = np.array([[500, 500, 500], [3000, 3000, 3000], [500, 3000, 500]])
        pixels = levels[kinds].transpose(2, 0, 1) + draw.normal(0, 100, (self.dates, 3, size, size))
        if self.target.startswith("dated"):
            coarse = draw.integers(0, 3, (self.dates, size // 4 + 1, size // 4 + 1))
            kinds = coarse.repeat(4, 1).repeat(4, 2)[:, :size, :size]
            pixels = levels[kinds].transpose(0, 3, 1, 2) + draw.normal(0, 100, pixels.shape)
        if self.target == "change":
            pixels[1:] += 2500 * (kinds == 1)
            pixels[0] = 1000
        target: Any = {
            "classification": lambda: np.asarray(number % 3),
            "multilabel": lambda: np.array([number % 3 == 0, number % 3 > 0, number % 3 == 2]).astype(
                np.int64
            ),
            "segmentation": lambda: np.where(draw.random(kinds.shape) < 0.1, -1, kinds),
            "change": lambda: (kinds == 1).astype(np.int64),
            "density": lambda: np.where(kinds == 0, np.nan, kinds * 0.5).astype(np.float32),
            "amount": lambda: np.asarray(0.25 * (number % 3), np.float32),
            "dated": lambda: np.where(draw.random(kinds.shape) < 0.1, -1, kinds),
            "dated_density": lambda: np.where(kinds == 0, np.nan, kinds * 0.5).astype(np.float32),
        }[self.target]()
        grid = Grid("EPSG:32633", (10.0, 0.0, 5e5 + 1000 * number, 0.0, -10.0, 5e6), size, size)
        cube = Cube(
            pixels.clip(1).astype(np.uint16), np.ones(pixels.shape, bool), BANDS, (None,) * self.dates,
            ((Encoding("reflectance", 1e-4, 0.0, "L2A"),) * 3,) * self.dates, gsd=10.0, grid=grid, source=item.where,
        )  # fmt: skip
        return Sample({"sentinel2": cube.with_statistics()}, item.id, target, item.group)


def tune(folder: Path, target: str, model: dict[str, Any], **more: Any) -> FinetuneResult:
    data = {
        "layout": {"name": "planted", "root": str(folder.parent), "options": {"target": target}},
        "window": 16,
    }
    for name in ("dates", "size"):
        if name in more:
            data["layout"]["options"][name] = more.pop(name)  # type: ignore[index]
    return swath.finetune(
        run={"folder": str(folder)},
        model=model,
        data={**data, **more.pop("data", {})},
        training={**TRAINING, **more.pop("training", {})},
        **more,
    )
