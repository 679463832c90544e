"""`swath inspect`: what a file of weights or a raster is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from swath.errors import ConfigError, InputError

if TYPE_CHECKING:
    from swath.verbs.inspect_layouts import LayoutsResult

POSITIONAL = ("file",)


@dataclass(frozen=True)
class InspectConfig:
    """Say what a file is.

    Attributes:
        file: weights (.safetensors), the folder of a run, whose weights are meant, shards, a raster, a Zarr store,
            netCDF, a Sentinel-2 SAFE folder or zip, the JSON of a STAC item, or "demo:landsat".
        weights: also say whether the raster fits these weights, a run's folder too, and what would be converted.
        sensor: of the raster, to name its bands by.
        bands: names of the raster's bands, if the file does not say them.
        unit: of the raster, if the file does not say it.
        scale: of the raster, if the file does not say it.
        offset: of the raster, if the file does not say it.
        presets: list the networks' named sizes instead.
        layouts: list the published data sets that can be read instead: classes, bands, splits, sizes, licence and
            source.
    """

    file: str = ""
    weights: str = ""
    sensor: str = ""
    bands: tuple[str, ...] = ()
    unit: str = ""
    scale: float | None = None
    offset: float | None = None
    presets: bool = False
    layouts: bool = False


@dataclass(frozen=True)
class InspectResult:
    """Rows of (what, value); the exit code is 1 where a scene was asked to fit weights and does not."""

    rows: tuple[tuple[str, str], ...]
    exit_code: int = 0

    def summary(self) -> str:
        """The rows, aligned."""
        width = max(len(name) for name, _ in self.rows)
        return "\n".join(f"{name:{width}}  {value}" for name, value in self.rows)


def run(config: InspectConfig) -> InspectResult | LayoutsResult:
    """Describes a file, or lists presets or layouts.

    Raises:
        SwathError: in one line, if it cannot be read.
    """
    if config.presets:
        return InspectResult(tuple(_presets()))
    if config.layouts:
        from swath.verbs.inspect_layouts import list_layouts

        return list_layouts()
    if not config.file:
        raise ConfigError("no file is named", where="file", mend="write: swath inspect FILE")
    from swath.verbs.inspect_shards import describe_shards, is_shards

    if is_shards(config.file):
        return InspectResult(tuple(describe_shards(config.file)))
    from swath.verbs.inspect_scene import describe_scene, is_array

    path = Path(config.file)
    if path.is_dir() and path.suffix.upper() != ".SAFE" and not is_array(config.file):
        path /= "weights.safetensors"
        if not path.is_file():
            raise InputError(
                "is a folder, not a raster, and holds no weights.safetensors",
                where=config.file,
                mend="name a file in it, or the folder of a run that came to its end",
            )
    if path.suffix == ".safetensors":
        from swath.weights.file import load
        from swath.weights.meta import describe

        loaded = load(path)
        return InspectResult(tuple(describe(loaded.meta, loaded.parameters, loaded.sha256)))
    if Path(config.file).suffix in (".pth", ".pt", ".ckpt", ".bin"):
        raise InputError(
            "a published checkpoint, which swath reads only to convert it",
            where=config.file,
            mend=f"run 'swath convert {config.file} OUT.safetensors --from KIND', then inspect that",
        )
    rows = tuple(describe_scene(config))
    return InspectResult(rows, exit_code=int(any(k == "fits" and v.startswith("no") for k, v in rows)))


def _presets() -> list[tuple[str, str]]:
    import torch

    from swath.verbs.networks import presets
    from swath.weights.build import REGISTRY

    rows = []
    for system in ("spectralgpt", "st_swin_mae", "unet", "resnet"):
        network, _ = REGISTRY[system].load()
        for name, config in presets(system).items():
            with torch.device("meta"):
                count = sum(p.numel() for p in network(config).parameters())
            rows.append((f"{system} {name}", f"{count:,} parameters"))
    return rows
