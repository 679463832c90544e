"""Bands and sensors by name: centre wavelengths and widths in nm, ground sampling distance in m.

Sources: Sentinel-2 MSI, ESA spectral responses of S2A (document COPE-GSEG-EOPG-TN-15-0007); Landsat TM, ETM+
and OLI/TIRS, USGS band designations; HLS user guide v2.0 (L30 and S30 keep their parents' names at 30 m);
Sentinel-1, C-band SAR at 5.405 GHz.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from swath.errors import ConfigError, InputError


@dataclass(frozen=True)
class Band:
    """One band of one sensor.

    Attributes:
        sensor: name of the sensor it belongs to, such as "sentinel2".
        name: the sensor's own name for it, such as "B8A".
        center_nm: centre wavelength, nm.
        width_nm: full width at half maximum, nm.
        gsd_m: native ground sampling distance, m.
        common: the common name of the STAC electro-optical extension, such as "nir08".
    """

    sensor: str
    name: str
    center_nm: float
    width_nm: float
    gsd_m: float
    common: str

    @property
    def wave(self) -> str:
        """Its centre wavelength as people write it: light in nm, radar in cm."""
        return f"{self.center_nm:g} nm" if self.center_nm < 1e6 else f"{self.center_nm / 1e7:.3g} cm"


def _key(name: str) -> str:
    """'B01', 'b1' and 'B1' are one band: compare without case and leading zeros."""
    lower = name.strip().lower()
    if lower[:1] == "b" and lower[1:2].isdigit():
        return "b" + lower[1:].lstrip("0")
    return lower


@dataclass(frozen=True)
class Sensor:
    """A sensor: its name and its bands in order of the sensor's own numbering."""

    name: str
    title: str
    bands: tuple[Band, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The bands' names in the sensor's order."""
        return tuple(b.name for b in self.bands)

    def band(self, name: str) -> Band:
        """The band of that name; the sensor's name or a common name that fits exactly one band.

        Raises:
            InputError: no band, or several, go by that name.
        """
        key = _key(name)
        found = [b for b in self.bands if _key(b.name) == key] or [b for b in self.bands if b.common == key]
        if len(found) == 1:
            return found[0]
        if found:
            several = ", ".join(b.name for b in found)
            raise InputError(f"'{name}' fits several bands of {self.name}: {several}", mend="name one")
        near = difflib.get_close_matches(name, [*self.names, *(b.common for b in self.bands)], n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise InputError(
            f"{self.name} has no band '{name}'{hint}", mend=f"use its names: {', '.join(self.names)}"
        )

    def select(self, names: Iterable[str]) -> tuple[Band, ...]:
        """Bands by name, in the order given. Raises InputError for an unknown or repeated one."""
        chosen = tuple(self.band(n) for n in names)
        seen: set[Band] = set()
        for b in chosen:
            if b in seen:
                raise InputError(f"band {b.name} of {self.name} is named twice", mend="name each band once")
            seen.add(b)
        return chosen


@dataclass(frozen=True)
class Spectrometer(Sensor):
    """Any imaging spectrometer: a band is named by its centre wavelength, such as "423.5nm".

    Instruments number their hundreds of bands each in its own way and move them between products; the wavelength is
    what a model needs. Text around it is allowed, as in "band 1 (423.5 nm)"; a number alone is nanometres.

    Attributes:
        width_nm: taken for every band.
        gsd_m: taken for every band.
    """

    width_nm: float = 10.0
    gsd_m: float = 30.0

    def band(self, name: str) -> Band:
        """The band at the wavelength that the name tells.

        Raises:
            InputError: it tells none, several, or none that light has here (100 nm to 100 µm).
        """
        found = re.findall(r"(\d+(?:\.\d+)?)\s*(?:nm|nanometers?)\b", name, re.IGNORECASE)
        if not found and re.fullmatch(r"\s*\d+(?:\.\d+)?\s*", name):
            found = [name]
        if len(found) != 1 or not 100 <= float(found[0]) <= 100_000:
            raise InputError(
                f"'{name}' tells no wavelength", mend="name the bands by nanometres, such as 423.5nm"
            )
        nm = float(found[0])
        return Band(self.name, f"{nm:g}nm", nm, self.width_nm, self.gsd_m, "")


def _sensor(name: str, title: str, rows: Iterable[tuple[str, float, float, float, str]]) -> Sensor:
    return Sensor(name, title, tuple(Band(name, n, c, w, g, common) for n, c, w, g, common in rows))


def _edges(low: float, high: float) -> tuple[float, float]:
    return (low + high) / 2, high - low


_S2 = (
    ("B01", 442.7, 21.0, 60.0, "coastal"),
    ("B02", 492.4, 66.0, 10.0, "blue"),
    ("B03", 559.8, 36.0, 10.0, "green"),
    ("B04", 664.6, 31.0, 10.0, "red"),
    ("B05", 704.1, 15.0, 20.0, "rededge071"),
    ("B06", 740.5, 15.0, 20.0, "rededge075"),
    ("B07", 782.8, 20.0, 20.0, "rededge078"),
    ("B08", 832.8, 106.0, 10.0, "nir"),
    ("B8A", 864.7, 21.0, 20.0, "nir08"),
    ("B09", 945.1, 20.0, 60.0, "nir09"),
    ("B10", 1373.5, 31.0, 60.0, "cirrus"),
    ("B11", 1613.7, 91.0, 20.0, "swir16"),
    ("B12", 2202.4, 175.0, 20.0, "swir22"),
)
_TM = (
    ("B1", *_edges(450, 520), 30.0, "blue"),
    ("B2", *_edges(520, 600), 30.0, "green"),
    ("B3", *_edges(630, 690), 30.0, "red"),
    ("B4", *_edges(760, 900), 30.0, "nir"),
    ("B5", *_edges(1550, 1750), 30.0, "swir16"),
    ("B6", *_edges(10400, 12500), 120.0, "lwir"),
    ("B7", *_edges(2080, 2350), 30.0, "swir22"),
)
_ETM = (
    ("B1", *_edges(450, 520), 30.0, "blue"),
    ("B2", *_edges(520, 600), 30.0, "green"),
    ("B3", *_edges(630, 690), 30.0, "red"),
    ("B4", *_edges(770, 900), 30.0, "nir"),
    ("B5", *_edges(1550, 1750), 30.0, "swir16"),
    ("B6", *_edges(10400, 12500), 60.0, "lwir"),
    ("B7", *_edges(2090, 2350), 30.0, "swir22"),
    ("B8", *_edges(520, 900), 15.0, "pan"),
)
_OLI = (
    ("B1", *_edges(435, 451), 30.0, "coastal"),
    ("B2", *_edges(452, 512), 30.0, "blue"),
    ("B3", *_edges(533, 590), 30.0, "green"),
    ("B4", *_edges(636, 673), 30.0, "red"),
    ("B5", *_edges(851, 879), 30.0, "nir08"),
    ("B6", *_edges(1566, 1651), 30.0, "swir16"),
    ("B7", *_edges(2107, 2294), 30.0, "swir22"),
    ("B8", *_edges(503, 676), 15.0, "pan"),
    ("B9", *_edges(1363, 1384), 30.0, "cirrus"),
    ("B10", *_edges(10600, 11190), 100.0, "lwir11"),
    ("B11", *_edges(11500, 12510), 100.0, "lwir12"),
)
_C_BAND_NM = 299_792_458 / 5.405e9 * 1e9
_HLS_L30_NAMES = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B09", "B10", "B11")

SENSORS: dict[str, Sensor] = {
    s.name: s
    for s in (
        _sensor("sentinel2", "Sentinel-2 MSI (L1C has all 13 bands, L2A lacks B10)", _S2),
        _sensor("hls_s30", "Harmonized Landsat Sentinel-2, S30", ((*r[:3], 30.0, r[4]) for r in _S2)),
        _sensor(
            "hls_l30",
            "Harmonized Landsat Sentinel-2, L30",
            (
                (n, c, w, 30.0, k)
                for n, (_, c, w, _, k) in zip(_HLS_L30_NAMES, (r for r in _OLI if r[0] != "B8"), strict=True)
            ),
        ),
        _sensor("landsat5", "Landsat 5 TM", _TM),
        _sensor("landsat7", "Landsat 7 ETM+", _ETM),
        _sensor("landsat8", "Landsat 8 OLI/TIRS", _OLI),
        _sensor("landsat9", "Landsat 9 OLI-2/TIRS-2", _OLI),
        _sensor(
            "sentinel1",
            "Sentinel-1 C-band SAR",
            (("VV", _C_BAND_NM, 0.0, 10.0, "vv"), ("VH", _C_BAND_NM, 0.0, 10.0, "vh")),
        ),
        Spectrometer("hyperspectral", "Any imaging spectrometer, its bands named by wavelength", ()),
    )
}


def sensor(name: str) -> Sensor:
    """The sensor of that name. Raises ConfigError naming the nearest one when there is none."""
    found = SENSORS.get(name.strip().lower())
    if found is None:
        near = difflib.get_close_matches(name.lower(), SENSORS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ConfigError(f"unknown sensor '{name}'{hint}", mend=f"use one of {', '.join(SENSORS)}")
    return found


# The order the SpectralGPT weights expect: fMoW-Sentinel without B10 (spec §1.1), sorted by wavelength.
SPECTRALGPT_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
# The six bands shared by Prithvi's tasks and, by inference, ST-SwinMAE (spec §1.1), in Sentinel-2 names.
SIX_BANDS = ("B02", "B03", "B04", "B8A", "B11", "B12")
