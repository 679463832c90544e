"""All that a worker needs to begin, as a value: it can be sent to another process or machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import nn

from swath.contract import InputContract
from swath.cube import BandStatistics
from swath.data.gdal import bounded_cache
from swath.errors import WeightsError
from swath.scenes.engine import Engine, WindowNetwork
from swath.scenes.features import FeatureMap
from swath.scenes.layers import DatedLayers, FeatureLayers, Layers
from swath.scenes.reading import SceneLike
from swath.scenes.sources.opening import Reopenable, open_source
from swath.scenes.windows import Plan
from swath.scenes.worker import Worker, torch_threads


class Job(Protocol):
    """A map to be made. It must survive pickling to be given to other processes.

    Attributes:
        plan: how the scene is cut.
        threads: of each worker; the bits depend on it, and not on how many workers there are.
        device: "cpu" or "cuda", of each worker.
    """

    @property
    def plan(self) -> Plan: ...

    @property
    def threads(self) -> int: ...

    @property
    def device(self) -> str: ...

    def open(self) -> AbstractContextManager[Worker]:
        """A worker with its own scene and network."""
        ...


@dataclass(frozen=True)
class WeightsJob:
    """A map from a file of weights.

    Attributes:
        weights: the file.
        input: from which the scene is opened again.
        contract: what the weights eat.
        plan: how the scene is cut.
        layers: what the map holds.
        batch_size: windows per call of the network.
        threads: of each worker.
        device: "cpu" or "cuda".
        precision: "bf16" or "fp32", chosen once for all workers.
        turns: average over the ways to turn a window.
        holes: go on where the scene cannot be read.
        statistics: of the scene, where the contract normalises by them: read once for all workers.
        cell: pixels per cell, where the plan counts in cells.
        sha256: of the weights: another machine may hold other ones under that name. Empty: not compared.
    """

    weights: str
    input: Reopenable
    contract: InputContract
    plan: Plan
    layers: Layers
    batch_size: int
    threads: int
    device: str
    precision: Literal["bf16", "fp32"]
    turns: bool
    holes: bool
    statistics: BandStatistics | None
    cell: int = 1
    sha256: str = ""

    @contextmanager
    def open(self) -> Iterator[Worker]:
        """A worker; torch has the job's threads as long as it is open.

        Raises:
            SwathError: weights or scene cannot be read, or do not fit.
        """
        from swath.weights.build import build_loaded
        from swath.weights.file import load

        loaded = load(Path(self.weights))
        if self.sha256 and loaded.sha256 != self.sha256:
            raise WeightsError(
                "are not those that the work was begun with",
                where=loaded.path,
                mend="let all machines have the same file, and leave it as it is",
            )
        network = self.network(build_loaded(loaded)).to(self.device).eval()
        with open_source(self.input) as scene, self.worker(scene, network) as worker:
            yield worker

    def network(self, built: nn.Module) -> nn.Module:
        """What sees the windows, of the network that the weights are of."""
        return built

    @contextmanager
    def worker(self, scene: SceneLike, network: WindowNetwork) -> Iterator[Worker]:
        """As `open`, with a scene and a network that are at hand."""
        engine = self.engine(scene, network)
        with bounded_cache(), torch_threads(self.threads), Worker(engine, self.layers) as worker:
            yield worker

    def about(self, weights_sha256: str, scene_identity: str) -> dict[str, Any]:
        """All that the output's bits depend on: two runs with the same may share finished blocks."""
        return {
            "weights": weights_sha256,
            "scene": scene_identity,
            "plan": asdict(self.plan),
            "bands": {"kind": type(self.layers).__name__, **asdict(self.layers)},  # type: ignore[call-overload]  # all kinds are dataclasses
            "batch_size": self.batch_size,
            "threads": self.threads,
            "device": self.device,
            "precision": self.precision,
            "turns": self.turns,
            "torch": torch.__version__,
        }

    def engine(self, scene: SceneLike, network: WindowNetwork) -> Engine:
        """What computes the blocks."""
        return Engine(
            scene, network, self.contract, self.plan, self.batch_size, self.device, self.precision,
            self.layers.activation, self.turns, self.layers.spread, self.holes, self.statistics,
            temperature=self.layers.temperature or 1.0,
            cell=self.cell,
            each_date=isinstance(self.layers, DatedLayers),
        )  # fmt: skip


@dataclass(frozen=True)
class FeatureJob(WeightsJob):
    """Features from a file of weights.

    Attributes:
        level: of the encoder's maps.
        pooled: one vector per window instead.
    """

    layers: FeatureLayers
    level: int = -1
    pooled: bool = False

    def about(self, weights_sha256: str, scene_identity: str) -> dict[str, Any]:
        """All that the output's bits depend on."""
        about = super().about(weights_sha256, scene_identity)
        return {**about, "level": self.level, "pooled": self.pooled, "cell": self.cell}

    def network(self, built: nn.Module) -> nn.Module:
        """The encoder of it."""
        return FeatureMap(built, self.level, self.pooled)
