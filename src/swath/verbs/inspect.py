"""`swath inspect`: what a file of weights or a raster is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from swath.errors import ConfigError, InputError

POSITIONAL = ("file",)


@dataclass(frozen=True)
class InspectConfig:
    """Say what a file is.

    Attributes:
        file: weights (.safetensors), the folder of a run, whose weights are meant, a raster, or "demo:landsat".
        weights: also say whether the raster fits these weights.
        sensor: of the raster, to name its bands by.
        bands: names of the raster's bands, if the file does not say them.
        unit: of the raster, if the file does not say it.
        scale: of the raster, if the file does not say it.
        offset: of the raster, if the file does not say it.
        presets: list the networks' named sizes instead.
    """

    file: str = ""
    weights: str = ""
    sensor: str = ""
    bands: tuple[str, ...] = ()
    unit: str = ""
    scale: float | None = None
    offset: float | None = None
    presets: bool = False


@dataclass(frozen=True)
class InspectResult:
    """Rows of (what, value); the exit code is 1 where a scene was asked to fit weights and does not."""

    rows: tuple[tuple[str, str], ...]
    exit_code: int = 0

    def summary(self) -> str:
        """The rows, aligned."""
        width = max(len(name) for name, _ in self.rows)
        return "\n".join(f"{name:{width}}  {value}" for name, value in self.rows)


def run(config: InspectConfig) -> InspectResult:
    """Describes a file.

    Raises:
        SwathError: in one line, if it cannot be read.
    """
    if config.presets:
        return InspectResult(tuple(_presets()))
    if not config.file:
        raise ConfigError("no file is named", where="file", mend="write: swath inspect FILE")
    path = Path(config.file)
    if path.is_dir():
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
    rows = tuple(_scene(config))
    return InspectResult(rows, exit_code=int(any(k == "fits" and v.startswith("no") for k, v in rows)))


def _presets() -> list[tuple[str, str]]:
    import torch

    from swath.verbs.networks import presets
    from swath.weights.build import REGISTRY

    rows = []
    for system in ("spectralgpt", "st_swin_mae", "unet"):
        network, _ = REGISTRY[system].load()
        for name, config in presets(system).items():
            with torch.device("meta"):
                count = sum(p.numel() for p in network(config).parameters())
            rows.append((f"{system} {name}", f"{count:,} parameters"))
    return rows


def _scene(config: InspectConfig) -> list[tuple[str, str]]:
    from swath.cube import UNITS
    from swath.data.raster import open_scene
    from swath.data.spec import SceneSpec

    unit = next((u for u in UNITS if u == config.unit), None)
    if config.unit and unit is None:
        raise ConfigError(
            f"unknown unit '{config.unit}'", where="unit", mend=f"use one of {', '.join(UNITS)}"
        )
    spec = SceneSpec(
        config.file,
        sensor=config.sensor or None,
        bands=config.bands,
        unit=unit,
        scale=config.scale,
        offset=config.offset,
    )
    with open_scene(spec) as scene:
        statistics = scene.statistics()
        if not any(statistics.count):
            scene.require_valid()
        t, c, h, w = scene.shape
        gsd = "unknown" if scene.gsd is None else f"{scene.gsd:g} m"
        rows = [
            ("file", scene.source),
            ("size", f"{t} dates, {c} bands, {h} x {w} pixels of {gsd}"),
            ("coordinates", (scene.grid.crs or "unknown")[:80]),
            ("dates", ", ".join("unknown" if d is None else str(d) for d in scene.dates)),
            ("stored as", str(scene.dtype)),
        ]
        for i, band in enumerate(scene.bands):
            e = scene.encodings[0][i]
            share = statistics.count[i] / (t * h * w)
            rows.append(
                (
                    f"band {band.name}",
                    f"{band.center_nm:g} nm, {e.unit} = stored x {e.scale:g} + {e.offset:g}; {share:.1%} valid, "
                    f"stored {statistics.minimum[i]:g} to {statistics.maximum[i]:g}, mean {statistics.mean[i]:.4g}",
                )
            )
        if config.weights:
            rows.append(("fits", _fit(config.weights, scene)))
    return rows


def _fit(weights: str, scene: object) -> str:
    from swath.data.raster import Scene
    from swath.errors import ContractError
    from swath.weights.file import load_meta

    assert isinstance(scene, Scene)
    contract = load_meta(weights).contract
    if contract is None:
        raise InputError("these weights do not say what they eat", where=weights)
    try:
        contract.convert(scene.read(0, 0, min(64, scene.height), min(64, scene.width)))
    except ContractError as err:
        return f"no: {err}"
    return f"yes, as bands {' '.join(s.band.name for s in contract.bands)}"
