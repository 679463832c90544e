"""A Sentinel-2 SAFE product, as a folder or a zip: its XML and which file holds which band.

    safe = read_safe("S2B_MSIL2A_20220301T101031_N0400_R022_T32TQM_20220301T130000.SAFE")
    scene = open_scene(safe.scene_spec(("B02", "B03", "B04", "B8A")))

A zip is read in place, through GDAL's /vsizip/.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from swath.bands import sensor
from swath.data.sentinel2_meta import Sentinel2Product, parse_product
from swath.data.spec import Resampling, SceneSpec
from swath.errors import InputError

_META = re.compile(r"MTD_MSIL(1C|2A)\.xml")
# T32TQM_20220301T101031_B02_10m.jp2 of L2A, …_B02.jp2 of L1C, and the scene classification at 20 m.
_IMAGE = re.compile(r".*_(B\d{2}|B8A|SCL)(?:_(\d{2})m)?\.jp2", re.IGNORECASE)


@dataclass(frozen=True)
class Safe:
    """A product at hand.

    Attributes:
        path: of the folder or zip.
        meta: name of the XML, for messages.
        product: what it says.
        images: band -> file, each band at its finest resolution; a path that GDAL opens.
        scl: the scene classification (20 m) of an L2A product, or None.
    """

    path: str
    meta: str
    product: Sentinel2Product
    images: Mapping[str, str]
    scl: str | None

    def scene_spec(
        self, bands: Sequence[str] = (), *, resampling: Resampling = "nearest", mask: Sequence[int] = ()
    ) -> SceneSpec:
        """The files and the encoding of some bands (empty: all), on the finest one's grid.

        Args:
            bands: by name.
            resampling: how 20 m and 60 m bands come to the finest grid.
            mask: values of the scene classification that make a pixel invalid, such as 3, 8, 9, 10 for clouds
                and their shadows; empty: none.

        Raises:
            InputError: a band is not in the product, or the classification is asked for and not there.
        """
        wanted = [b.name for b in sensor("sentinel2").select(bands)] or list(self.images)
        missing = [name for name in wanted if name not in self.images]
        if missing:
            raise InputError(
                f"band {', '.join(missing)} is missing (it has {', '.join(self.images)})",
                where=self.path,
                mend=f"leave it out of bands{', or use an L1C product' if 'B10' in missing else ''}",
            )
        if mask and self.scl is None:
            raise InputError("holds no scene classification", where=self.path, mend="use an L2A product")
        encodings = [self.product.encoding(name) for name in wanted]
        return SceneSpec(
            tuple(self.images[name] for name in wanted),
            sensor="sentinel2",
            bands=tuple(wanted),
            dates=(self.product.date.isoformat(),),
            unit="reflectance",
            scale=encodings[0].scale,
            offset=(tuple(e.offset for e in encodings),),
            level=self.product.level,
            nodata=self.product.nodata,
            mask_files=(self.scl,) if mask and self.scl else (),
            mask_values=tuple(mask),
            resampling=resampling,
        )


def is_safe(path: str) -> bool:
    """Whether a name is that of a SAFE folder, or of a zip that could hold one; nothing is opened."""
    return PurePosixPath(path.rstrip("/")).suffix.lower() in (".safe", ".zip")


def find_safe(path: str) -> str | None:
    """The SAFE folder that a file lies in, by its name; None if in none."""
    if path.startswith("/vsi"):
        return None
    for folder in Path(path).absolute().parents:
        if folder.suffix.upper() == ".SAFE":
            return str(folder)
    return None


def read_safe(path: str) -> Safe:
    """Read the XML of a product and find its images; no image is opened.

    Raises:
        InputError: there is no such product, it holds no XML or several, or the XML lacks what units need.
    """
    names, prefix, read = _listing(path)
    metas = [name for name in names if _META.fullmatch(PurePosixPath(name).name)]
    if len(metas) != 1:
        raise InputError(
            "holds no MTD_MSIL1C.xml or MTD_MSIL2A.xml" if not metas else f"holds {len(metas)} products",
            where=path,
            mend="fetch the whole product: its XML says what its numbers mean"
            if not metas
            else "name one of them",
        )
    product = parse_product(read(metas[0]), f"{path}: {PurePosixPath(metas[0]).name}")
    found: dict[str, tuple[int, str]] = {}
    for name in sorted(names):
        match = _IMAGE.fullmatch(PurePosixPath(name).name)
        if match is None or "IMG_DATA" not in PurePosixPath(name).parts:
            continue
        band, resolution = match[1].upper(), int(match[2] or 0)
        if band not in found or resolution < found[band][0]:
            found[band] = (resolution, prefix + name)
    order = [name for name in sensor("sentinel2").names if name in found]
    if not order:
        raise InputError("holds no image of a band", where=path, mend="fetch the whole product")
    scl = found.get("SCL")
    return Safe(
        path, PurePosixPath(metas[0]).name, product, {b: found[b][1] for b in order}, scl[1] if scl else None
    )


def _listing(path: str) -> tuple[list[str], str, Callable[[str], bytes]]:
    """Names of the files in a product, what GDAL puts before them, and how to read one."""
    root = Path(path)
    if root.is_dir():
        names = [p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()]
        # The copies of other products' XML below (such as DATASTRIP) have other names.
        return names, f"{root}/", lambda name: (root / name).read_bytes()
    if not root.exists():
        raise InputError("there is no such file", where=path, mend="check the path")
    try:
        with zipfile.ZipFile(root) as archive:
            names = [n for n in archive.namelist() if not n.endswith("/")]
    except (zipfile.BadZipFile, OSError) as err:
        raise InputError(f"cannot be read as a zip ({err})", where=path, mend="fetch it anew") from err

    def read(name: str) -> bytes:
        try:
            with zipfile.ZipFile(root) as archive:
                return archive.read(name)
        except (zipfile.BadZipFile, OSError) as err:
            raise InputError(f"cannot be read as a zip ({err})", where=path, mend="fetch it anew") from err

    return names, f"/vsizip/{root.absolute()}/", read
