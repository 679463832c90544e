"""SSL4EO-S12 v1.0: one folder per place, one folder per date in it, one file per band in that.

    s2c/0000200/20200604T054639_20200604T054831_T43RCP/B1.tif … B12.tif   Sentinel-2 L1C, 13 bands
    s2a/0000200/20200604T054639_20200604T054831_T43RCP/B1.tif … B12.tif   Sentinel-2 L2A, 12 bands (no B10)
    s1/0000200/S1A_IW_GRDH_1SDV_20200607T010800_…/VV.tif VH.tif           Sentinel-1 GRD, dB

Four seasons of 251,079 places (Wang et al., "SSL4EO-S12", IEEE GRSM 2023). Ids have gaps; dates come from the
names of the scenes, for folders come in no order and names of Sentinel-1 begin with the satellite. Bands lie at
264, 132 and 44 pixels, on grids that do not quite nest (see `swath.data.layouts.native`).
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

from swath.bands import SENSORS
from swath.cube import Cube, Encoding, Sample
from swath.data.layouts.base import Item, LayoutInfo
from swath.data.layouts.disk import check_split, existing_folder
from swath.data.layouts.files import subfolders
from swath.data.layouts.native import read_native, stack_dates
from swath.data.sentinel2_meta import baseline_of, encoding_of
from swath.data.spec import Resampling
from swath.errors import ConfigError, InputError

Modality = Literal["s2c", "s2a", "s1"]
L1C = SENSORS["sentinel2"].names
L2A = tuple(b for b in L1C if b != "B10")
BANDS: dict[str, tuple[str, ...]] = {"s2c": L1C, "s2a": L2A, "s1": SENSORS["sentinel1"].names}
SEASONS = 4
# Product ids of Google Earth Engine: sensing start, and for Sentinel-1 the satellite before it.
_S2_SCENE = re.compile(r"(\d{8}T\d{6})_\d{8}T\d{6}_T\d{2}[A-Z]{3}")
_S1_SCENE = re.compile(r"S1[AB]_IW_GRDH_1S[A-Z]{2}_(\d{8}T\d{6})_\w+")
_PLACE = re.compile(r"\d{7}")
# Products of this day and later carry the offset of baseline 04.00 if nothing else is said.
_OFFSET_FROM = dt.date(2022, 1, 25)


def scene_time(name: str, modality: str) -> dt.datetime:
    """When a scene was taken, from its id. Raises InputError if that is none of the modality."""
    found = (_S1_SCENE if modality == "s1" else _S2_SCENE).match(name)
    try:
        if found is not None:
            return dt.datetime.strptime(found[1], "%Y%m%dT%H%M%S")
    except ValueError:
        pass
    raise InputError(f"'{name}' is not the name of a scene of {modality}", mend="use the published names")


def check_modalities(modalities: Sequence[str]) -> tuple[str, ...]:
    """The modalities as a tuple. Raises ConfigError for an unknown or repeated one."""
    chosen = (modalities,) if isinstance(modalities, str) else tuple(modalities)
    if not chosen or len(set(chosen)) != len(chosen) or any(m not in BANDS for m in chosen):
        raise ConfigError(
            f"modalities are '{', '.join(chosen)}'",
            where="modalities",
            mend=f"choose from {', '.join(BANDS)}",
        )
    return chosen


class SSL4EO:
    """Places with up to four dates per sensor.

    Args:
        root: holds the folders s2c, s2a, s1; only those that are asked for need be there.
        split: it has none.
        modalities: "s2c", "s2a", "s1"; each becomes a cube of that name with its own dates. A place counts if
            any of them has it; what it lacks is then an error when it is read.
        missing_dates: what becomes of a place with fewer than four dates: "error", or "invalid": wholly
            invalid dates without a day follow the others.
        resampling: how bands of 20 m and 60 m come to 10 m.
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        name="ssl4eo-s12",
        title="SSL4EO-S12 v1.0",
        tasks=("pretraining",),
        sensors=BANDS,
        classes=(),
        splits=(),
        size="264 x 264 (2.64 km at 10 m)",
        dates="4 per sensor, one a season, in date order",
        items="251,079 places",
        unit="reflectance x 1e4 (L1C, L2A); decibel (S1)",
        licence="CC-BY-4.0",
        source="https://mediatum.ub.tum.de/1660427, https://huggingface.co/datasets/wangyi111/SSL4EO-S12",
        files=(
            "{s2c,s2a}/<7 digits>/<YYYYMMDDThhmmss_…_Txxxxx>/{B1,…,B12}.tif",
            "s1/<7 digits>/<S1A_IW_GRDH_1SDV_YYYYMMDDThhmmss_…>/{VV,VH}.tif",
        ),
        notes=(
            "Ids have gaps: a place is known by its folder, never by counting.",
            "Dates of sensors differ by days; S1 names begin with the satellite, so their order is not that of time.",
            "Bands of 20 m and 60 m are cut at their own pixels: extents are taken as equal, up to 25 m off.",
            "Grids are in degrees: pixels measure 10 m in name, 9.8 m in the sample at 30 degrees north.",
            "A pixel that is 0 in all bands is no data.",
            "The variant as 8-bit JPEG is lossy and not read.",
        ),
    )

    def __init__(
        self,
        root: Path | str,
        split: str | None = None,
        *,
        modalities: Sequence[str] = ("s2c",),
        missing_dates: Literal["error", "invalid"] = "error",
        resampling: Resampling = "nearest",
    ) -> None:
        check_split(self.info, split)
        self.root = existing_folder(root)
        self.modalities = check_modalities(modalities)
        if missing_dates not in ("error", "invalid"):
            raise ConfigError(
                f"missing_dates is '{missing_dates}'", where="missing_dates", mend="use 'error' or 'invalid'"
            )
        self.missing_dates = missing_dates
        self.resampling: Resampling = resampling
        places = {
            p.name for m in self.modalities for p in subfolders(self.root / m) if _PLACE.fullmatch(p.name)
        }
        if not places:
            raise InputError(
                "holds no place (folders of 7 digits)",
                where=self.root / self.modalities[0],
                mend="give the folder that holds s2c, s2a and s1",
            )
        self._items = tuple(
            Item(place, str(self.root / self.modalities[0] / place), group=place) for place in sorted(places)
        )

    @property
    def items(self) -> Sequence[Item]:
        return self._items

    def read(self, index: int) -> Sample:
        """Cubes by modality, each [4,C,264,264]."""
        item = self._items[index]
        return Sample({m: self._modality(m, item.id) for m in self.modalities}, item.id, group=item.group)

    def _modality(self, modality: str, place: str) -> Cube:
        folder = self.root / modality / place
        timed: list[tuple[dt.datetime, Path]] = []
        for scene in subfolders(folder):
            try:
                timed.append((scene_time(scene.name, modality), scene))
            except InputError as err:
                raise InputError(err.what, where=folder, mend=err.mend) from None
        if len(timed) > SEASONS or not timed or (len(timed) < SEASONS and self.missing_dates == "error"):
            raise InputError(
                f"holds {len(timed)} dates of {modality}, not {SEASONS}",
                where=folder,
                mend="fetch it anew"
                if len(timed) > SEASONS
                else "fetch it anew, or set missing_dates: invalid",
            )
        cubes = [self._date(modality, scene, time.date()) for time, scene in sorted(timed)]
        stacked = stack_dates(cubes, total=SEASONS, source=str(folder))
        # Files are in degrees, so that pixels measure a little less or more, by latitude; the set says 10 m.
        return replace(stacked, gsd=10.0)

    def _date(self, modality: str, scene: Path, date: dt.date) -> Cube:
        device = "sentinel1" if modality == "s1" else "sentinel2"
        return read_native(
            # Files are named without a zero: B1.tif, but B8A.tif.
            {b: scene / f"{b[0]}{b[1:].lstrip('0')}.tif" for b in BANDS[modality]},
            device=device,
            date=date,
            encoding=_encoding(modality, scene, date),
            zeros_are_nodata=True,
            resampling=self.resampling,
            source=str(scene),
        )


def _encoding(modality: str, scene: Path, date: dt.date) -> Encoding:
    """By the baseline in metadata.json; without that file, scenes from before baseline 04.00 have no offset."""
    if modality == "s1":
        return Encoding("decibel", level="GRD")
    level = "L1C" if modality == "s2c" else "L2A"
    path = scene / "metadata.json"
    if path.is_file():
        try:
            text = str(json.loads(path.read_text(encoding="utf-8"))["PROCESSING_BASELINE"])
        except (OSError, ValueError, KeyError, TypeError) as err:
            raise InputError(
                f"says no processing baseline ({type(err).__name__})", where=path, mend="fetch it anew"
            ) from err
        return encoding_of(baseline_of(text, path), level)
    if date >= _OFFSET_FROM:
        raise InputError(
            f"is from {date}, and nothing says its processing baseline",
            where=scene,
            mend="put its metadata.json beside the bands",
        )
    return Encoding("reflectance", 1e-4, 0.0, level)
