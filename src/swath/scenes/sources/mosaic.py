"""Images of many places and dates as one scene: those of one date mosaicked, dates stacked.

Of every band and pixel the first image in order that has it counts (`Image.order`); masks are applied before. So a
date's clouds are filled by other images of the same date, and what none has is invalid on that date.
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from swath.bands import Band
from swath.cube import Array, BoolArray, Encoding, Grid
from swath.data.gdal import is_remote
from swath.data.windowed import Windowed, gsd_of
from swath.errors import InputError, ReadError
from swath.scenes.sources.files import identity_of
from swath.scenes.sources.images import Image, Layer
from swath.scenes.sources.placed import Placed
from swath.scenes.sources.retry import retrying
from swath.scenes.sources.spec import MaskOptions, RetryOptions

Window = tuple[int, int, int, int]
# Files that are open at a time: many tiles must not use up a process's handles.
MOST_OPEN = 48


@dataclass(frozen=True)
class MosaicSpec:
    """A mosaic whose images and grid are settled: it is opened again without asking a catalogue.

    Attributes:
        name: in messages.
        bands: C bands.
        dates: T dates.
        images: per date, in order.
        places: per date and image, the rows and columns (top, left, height, width) of the grid it may touch.
        grid: of the scene.
        encodings: per (date, band).
        dtype: of the stored numbers.
        mask: what of the images' masks makes a pixel invalid.
        resampling: "nearest" or "bilinear".
        sparse: blocks that a TIFF leaves out are meant to be 0.
        retry: how often what is read over a network is tried again.
    """

    name: str
    bands: tuple[Band, ...]
    dates: tuple[dt.date | None, ...]
    images: tuple[tuple[Image, ...], ...]
    places: tuple[tuple[Window, ...], ...]
    grid: Grid
    encodings: tuple[tuple[Encoding, ...], ...]
    dtype: str
    mask: MaskOptions = field(default_factory=MaskOptions)
    resampling: str = "nearest"
    sparse: bool = False
    retry: RetryOptions = field(default_factory=RetryOptions)


class MosaicSource(Windowed):
    """A scene of images. Use `open_source`.

    Attributes:
        spec: from which it is opened again.
    """

    # The mosaic, a file as it lies on the grid, and as it was read.
    COPIES = 3

    def __init__(self, spec: MosaicSpec) -> None:
        self.spec = spec
        self._dtype = np.dtype(spec.dtype)
        self._open: OrderedDict[tuple[str, float | None, str], Placed] = OrderedDict()
        super().__init__(gsd_of(spec.grid))

    @property
    def source(self) -> str:
        return self.spec.name

    @property
    def grid(self) -> Grid:
        return self.spec.grid

    @property
    def bands(self) -> tuple[Band, ...]:
        return self.spec.bands

    @property
    def dates(self) -> tuple[dt.date | None, ...]:
        return self.spec.dates

    @property
    def encodings(self) -> tuple[tuple[Encoding, ...], ...]:
        return self.spec.encodings

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._dtype

    @property
    def items(self) -> tuple[str, ...]:
        """The STAC items it is made from, each once."""
        return tuple(dict.fromkeys(i.item for row in self.spec.images for i in row if i.item))

    def identity(self) -> str:
        """Text that is another when the images are, or a file on this machine."""
        return identity_of(replace(self.spec, retry=RetryOptions()), self.files)

    @property
    def files(self) -> tuple[str, ...]:
        """What it is read from: each band of each image, and its mask."""
        images = [image for row in self.spec.images for image in row]
        layers = [layer for image in images for _, layer in image.layers]
        layers += [image.mask for image in images if image.mask is not None]
        return tuple(layer.path for layer in layers)

    def close(self) -> None:
        for placed in self._open.values():
            placed.close()
        self._open.clear()

    def _read_date(self, date: int, window: Window) -> Iterator[tuple[int, BoolArray, Array]]:
        _, _, height, width = window
        count = len(self.bands)
        pixels = np.zeros((count, height, width), self.dtype)
        valid: BoolArray = np.zeros(pixels.shape, np.bool_)
        for image, place in zip(self.spec.images[date], self.spec.places[date], strict=True):
            if not _touch(place, window):
                continue
            clear = None if image.mask is None else self._clear(image.mask, window)
            if clear is not None and not clear.any():
                continue
            for bands, values, good in self._files(image, window):
                for i, band in enumerate(bands):
                    here = good[i] if clear is None else good[i] & clear
                    fresh = here & ~valid[band]
                    shift = self._shift(image, date, band)
                    pixels[band][fresh] = values[i][fresh]
                    if shift:
                        pixels[band][fresh] += shift
                    valid[band] |= fresh
                del values, good  # before the next file is read
            if valid.all():
                break
        for band in range(count):
            yield band, valid[band], pixels[band]

    def _files(self, image: Image, window: Window) -> Iterator[tuple[list[int], Array, BoolArray]]:
        """Bands of the scene, their pixels and validity [n,h,w] of each file; one read per file."""
        files: dict[tuple[str, float | None], list[tuple[int, Layer]]] = {}
        for band, own in enumerate(self.bands):
            layer = image.layer(own)
            files.setdefault((layer.path, layer.nodata), []).append((band, layer))
        for (path, nodata), rows in files.items():
            yield (
                [band for band, _ in rows],
                *self._fitting(path, [layer.index for _, layer in rows], window, nodata),
            )

    def _fitting(
        self, path: str, indexes: list[int], window: Window, nodata: float | None
    ) -> tuple[Array, BoolArray]:
        values, good = self._read(path, indexes, window, nodata, self.spec.resampling)
        if np.result_type(values.dtype, self.dtype) != self.dtype:
            raise ReadError(
                f"holds {values.dtype}, which the scene's {self.dtype} cannot",
                where=path,
                mend="leave the image out",
            )
        return values, good

    def _clear(self, mask: Layer, window: Window) -> BoolArray:
        """Where a mask says that the ground is seen; where it says nothing, the pixel is not known to be clear."""
        values, known = self._read(mask.path, [mask.index], window, None, "nearest")
        clear: BoolArray = clear_of(values[0], self.spec.mask) & known[0]
        return clear

    def _shift(self, image: Image, date: int, band: int) -> int:
        """What is added to stored numbers where images of one date have other offsets (see `planning`)."""
        own, all_of_it = image.layer(self.bands[band]).encoding, self.encodings[date][band]
        if own is None or own.offset == all_of_it.offset:
            return 0
        return round((own.offset - all_of_it.offset) / all_of_it.scale)

    def _read(
        self, path: str, indexes: list[int], window: Window, nodata: float | None, method: str
    ) -> tuple[Array, BoolArray]:
        key = (path, nodata, method)

        def read() -> tuple[Array, BoolArray]:
            if key not in self._open:
                self._open[key] = Placed(path, self.grid, method, nodata, sparse=self.spec.sparse)
                if len(self._open) > MOST_OPEN:
                    self._open.popitem(last=False)[1].close()
            self._open.move_to_end(key)
            return self._open[key].read(indexes, window)

        def again() -> None:
            if key in self._open:
                self._open.pop(key).close()

        try:
            return retrying(read, self.spec.retry, remote=is_remote(path), again=again)
        except ReadError:
            raise
        except InputError as err:
            # One image of many that is gone or damaged: its windows are lost, not the scene.
            raise ReadError(err.what, where=err.where, mend=err.mend) from err


def clear_of(kinds: Array, mask: MaskOptions) -> BoolArray:
    """Where a mask's numbers mean that a pixel can be seen."""
    clear: BoolArray = ~np.isin(kinds, mask.values)
    if mask.bits:
        bits = sum(1 << bit for bit in set(mask.bits))
        with np.errstate(invalid="ignore"):  # what says nothing (NaN) has any bits
            clear &= (kinds.astype(np.int64) & bits) == 0
    return clear


def _touch(place: Window, window: Window) -> bool:
    return (
        place[0] < window[0] + window[2]
        and window[0] < place[0] + place[2]
        and place[1] < window[1] + window[3]
        and window[1] < place[1] + place[3]
    )
