"""The same records as shards, GeoTIFFs, WebDataset and HDF5, written and read as each is usually read."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from swath.contract import InputContract, Normalisation, contract_for
from swath.cube import Cube, Encoding, Sample

BATCH = 256
SHAPE = (1, 12, 128, 128)
BITS = 12 * 128 * 128 // 8
FORMATS = ("shards", "geotiff", "geotiff-deflate", "hdf5", "webdataset")
Record = tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8]]
T = TypeVar("T")


def records(count: int) -> Iterator[Cube]:
    """Real pixels, turned and shifted; a tenth of the records has holes."""
    from swath.data.demo import open_demo_bigearthnet

    patches = [sample.cube for sample in open_demo_bigearthnet()]
    for number in range(count):
        draw = np.random.default_rng(number)
        cube = patches[int(draw.integers(len(patches)))]
        wide = np.pad(cube.pixels, ((0, 0), (0, 0), (4, 4), (4, 4)), "reflect")
        shift = (int(draw.integers(128)), int(draw.integers(128)))
        pixels = np.rot90(np.roll(wide, shift, (2, 3)), int(draw.integers(4)), (2, 3))
        valid = np.ones(SHAPE, np.bool_)
        if number % 10 == 0:
            valid[:, :, : int(draw.integers(1, 64))] = False
        yield replace(
            cube,
            pixels=np.ascontiguousarray(pixels, np.uint16),
            valid=valid,
            grid=None,
            statistics=None,
            source=f"record-{number}",
        ).with_statistics()


def write_all(folder: Path, count: int) -> None:
    """Every format, of the same records."""
    import rasterio

    from swath.feed.shard_finish import Index, finish
    from swath.feed.shard_format import SHARD_BYTES
    from swath.feed.shard_write import BlockWriter

    h5py: Any = importlib.import_module("h5py")
    wds: Any = importlib.import_module("webdataset")
    blocks = [folder / "blocks" / f"{first:06d}" for first in range(0, count, 512)]
    cubes = records(count)
    for name in ("geotiff", "geotiff-deflate", "shards"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    profile: dict[str, Any] = {"driver": "GTiff", "count": 12, "height": 128, "width": 128}
    with (
        h5py.File(folder / "records.h5", "w") as hdf,
        wds.TarWriter(str(folder / "records.tar")) as tar,
    ):
        pixels = hdf.create_dataset("pixels", (count, *SHAPE), "u2", chunks=(1, *SHAPE))
        bits = hdf.create_dataset("valid", (count, BITS), "u1", chunks=(1, BITS))
        for first, block in zip(range(0, count, 512), blocks, strict=True):
            with BlockWriter(block) as writer:
                for number in range(first, min(count, first + 512)):
                    cube = next(cubes)
                    packed = np.packbits(cube.valid.reshape(-1))
                    writer.add(Sample({"sentinel2": cube}, cube.source))
                    pixels[number], bits[number] = cube.pixels, packed
                    tar.write(
                        {
                            "__key__": f"{number:06d}",
                            "pixels.npy": _npy(cube.pixels),
                            "valid.npy": _npy(packed),
                        }
                    )
                    for name, extra in (
                        ("geotiff", {}),
                        ("geotiff-deflate", {"compress": "deflate", "predictor": 2}),
                    ):
                        path = folder / name / f"{number:06d}.tif"
                        with rasterio.open(path, "w", dtype="uint16", **profile, **extra) as file:
                            file.write(cube.pixels[0])
                        holes = {"nbits": 1, "compress": "deflate"} if extra else {"nbits": 1}
                        mask = path.with_suffix(".valid.tif")
                        with rasterio.open(mask, "w", dtype="uint8", **profile, **holes) as file:
                            file.write(cube.valid[0].astype(np.uint8))
                writer.finish()
    finish(folder / "shards", blocks, Index(blocks), SHARD_BYTES, {"layout": "bench"})


def _npy(array: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def open_format(folder: Path, name: str, mode: str) -> Iterator[Record]:
    """Endless batches ([256,1,12,128,128] uint16, [256,bytes] uint8) of a format, collated in this process."""
    if name == "shards" and mode == "thread":
        return _ahead(_shard_batches(folder))
    read = RecordReader(folder, name)
    if mode == "process":
        return _collated(_from_worker(read))
    return _ahead(_collated(read.stream()))


class RecordReader:
    """Reads records one by one, in random order; what it opens is opened where it is used.

    Args:
        folder: that `write_all` filled.
        name: of the format.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name

    def stream(self) -> Iterator[Record]:
        """Endless."""
        if self.name == "webdataset":
            yield from self._tar()
        read = {"shards": self._shards, "hdf5": self._hdf5}.get(self.name, self._geotiff)()
        count = len(list((self.folder / "geotiff").glob("*[0-9].tif")))
        draw = np.random.default_rng(0)
        while True:
            for index in draw.permutation(count).tolist():
                yield read(index)

    def _shards(self) -> Callable[[int], Record]:
        from swath.feed.shards import Shards

        shards = Shards(self.folder / "shards")

        def read(index: int) -> Record:
            return (
                shards.array(index, "sentinel2.pixels").view(np.uint16),
                shards.array(index, "sentinel2.valid").view(np.uint8),
            )

        return read

    def _geotiff(self) -> Callable[[int], Record]:
        import rasterio

        folder = self.folder / self.name

        def read(index: int) -> Record:
            path = folder / f"{index:06d}.tif"
            with rasterio.open(path) as file:
                pixels = file.read()
            with rasterio.open(path.with_suffix(".valid.tif")) as file:
                valid = file.read()
            return pixels[None], np.packbits(valid.reshape(-1))

        return read

    def _hdf5(self) -> Callable[[int], Record]:
        h5py: Any = importlib.import_module("h5py")
        file = h5py.File(self.folder / "records.h5", "r")
        pixels, bits = file["pixels"], file["valid"]
        return lambda index: (pixels[index], bits[index])

    def _tar(self) -> Iterator[Record]:
        """As WebDataset is read: in the tar's order, shuffled in a buffer of one thousand records."""
        wds: Any = importlib.import_module("webdataset")
        url = str(self.folder / "records.tar")
        while True:
            stream = wds.WebDataset(url, shardshuffle=False, empty_check=False).shuffle(1000).decode()
            for sample in stream:
                yield sample["pixels.npy"], sample["valid.npy"]


def _collated(stream: Iterator[Record]) -> Iterator[Record]:
    """Batches in memory that is used again, so that peers do not pay for fresh pages either."""
    from swath.feed.buffers import Buffers

    buffers = Buffers()
    while True:
        pixels = buffers.array((BATCH, *SHAPE), np.uint16)
        bits = buffers.array((BATCH, BITS), np.uint8)
        for place in range(BATCH):
            pixels[place], bits[place] = next(stream)
        yield pixels, bits


def contract() -> InputContract:
    """What the records fulfil as they are."""
    from swath.data.layouts.bigearthnet import BANDS

    encoding = Encoding("reflectance", 1e-4, 0.0, "L2A")
    return contract_for("sentinel2", BANDS, encoding, Normalisation("standard", "record"), gsd=10.0)


def _shard_batches(folder: Path) -> Iterator[Record]:
    """As training takes them: by the feed, with everything else that belongs to a batch."""
    from swath.feed.shard_feed import ShardFeed
    from swath.feed.shards import Shards

    feed = ShardFeed(Shards(folder / "shards"), contract(), seed=0)
    number = 0
    while True:
        batch = feed.take_stored(number * BATCH, BATCH)
        number += 1
        yield batch.pixels.numpy(), batch.valid.numpy()


def _ahead(batches: Iterator[T]) -> Iterator[T]:
    """One batch is prepared by a thread while the last is used."""
    with ThreadPoolExecutor(1) as pool:
        coming: Future[T] = pool.submit(next, batches)
        while True:
            batch = coming.result()
            coming = pool.submit(next, batches)
            yield batch
            del batch


def _from_worker(read: RecordReader) -> Iterator[Record]:
    """Records through one worker process of torch's DataLoader."""
    from torch.utils.data import DataLoader, IterableDataset

    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            import torch

            for pixels, bits in read.stream():
                yield torch.from_numpy(np.array(pixels)), torch.from_numpy(np.array(bits))

    for pixels, bits in DataLoader(Stream(), batch_size=None, num_workers=1):
        yield pixels.numpy(), bits.numpy()
