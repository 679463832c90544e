"""Small copies of the sets for pretraining, in their exact structure; see conftest.py."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swath.data.demo import demo_folder

S2_BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
FACTOR = {"B1": 6, "B9": 6, "B10": 6, "B5": 2, "B6": 2, "B7": 2, "B8A": 2, "B11": 2, "B12": 2}
# Not in the order of time: the satellite's name comes first.
S1_SCENES = (
    "S1A_IW_GRDH_1SDV_20201207T010803_20201207T010828_035575_0428C5_0001",
    "S1A_IW_GRDH_1SDV_20200607T010800_20200607T010825_032904_03CFBA_D457",
    "S1B_IW_GRDH_1SDV_20200303T131212_20200303T131237_034195_03F8F5_AC1C",
    "S1B_IW_GRDH_1SDV_20200903T131212_20200903T131237_034195_03F8F5_AC1D",
)
S2_SCENES = (
    "20200604T054639_20200604T054831_T43RCP",
    "20200823T054639_20200823T055618_T43RCP",
    "20201121T055049_20201121T055049_T43RCP",
    "20210309T054639_20210309T054831_T43RDP",
)
PATCHES = (
    "S2A_MSIL2A_20171221T112501_56_35",
    "S2A_MSIL2A_20170613T101031_87_48",
    "S2A_MSIL2A_20170617T113321_4_55",
)
V2_NAME = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
Tif = Callable[..., Path]


class Builders:
    """Writers of the sets, with the helpers of conftest.py."""

    def __init__(self, tif: Tif, real: Callable[..., np.ndarray], text: Callable[..., Path]) -> None:
        self.tif, self.real, self.text = tif, real, text

    def ssl4eo_date(self, folder: Path, start: int, size: int = 264, level: str = "s2c") -> None:
        """One date of Sentinel-2: grids that do not quite nest, as published."""
        degree = 1e-4
        for i, band in enumerate(S2_BANDS):
            if level == "s2a" and band == "B10":
                continue
            factor = FACTOR.get(band, 1)
            plane = self.real(13, size, size, start)[i][::factor, ::factor].astype(np.uint16)
            if band == "B10":
                plane = plane * 0
            shift = (factor - 1) / 2 * degree
            self.tif(
                folder / f"{band}.tif",
                plane,
                crs="EPSG:4326",
                res=degree * factor,
                origin=(73.29 - shift, 30.47 + shift),
            )
        (folder / "metadata.json").write_text(json.dumps({"PROCESSING_BASELINE": "02.14"}))

    def ssl4eo(self, root: Path) -> dict[str, Any]:
        for place, start in (("0000200", 0), ("0000117", 5), ("0100000", 9)):
            for t, scene in enumerate(S1_SCENES):
                planes = -self.real(2, 24, 24, start + t).astype(np.float32) / 100
                for band, plane in zip(("VV", "VH"), planes, strict=True):
                    self.tif(root / "s1" / place / scene / f"{band}.tif", plane, crs="EPSG:4326", res=1e-4)
        return {"modalities": ("s1",)}

    def ssl4eo_v11(self, root: Path) -> dict[str, Any]:
        for part in ("train", "val"):
            for modality in ("S2L2A", "S1GRD"):
                self.zarr_zip(root, part, modality)
        return {"modalities": ("s2a", "s1"), "samples": 2}

    def zarr_zip(
        self,
        root: Path,
        part: str,
        modality: str,
        *,
        size: int = 24,
        chunk: int = 1,
        number: str = "000001",
        **changes: Any,
    ) -> Path:
        """Two places in zarr format 2 within a zip."""
        import zarr

        optical = modality != "S1GRD"
        bands = (
            [f"B{b[1:]:0>2}" for b in S2_BANDS if modality == "S2L1C" or b != "B10"]
            if optical
            else ["vv", "vh"]
        )
        scenes = list(S2_SCENES) if optical else list(S1_SCENES)
        path = root / part / modality / f"ssl4eos12_{part}_seasonal_data_{number}.zarr.zip"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.stack(
            [np.stack([self.real(len(bands), size, size, 3 * s + t) for t in range(4)]) for s in range(2)]
        )
        pixels = (pixels + 1000).astype(np.int16) if optical else (-pixels / 100).astype(np.float16)
        pixels[0, 0, :, 0, 0] = 0 if optical else np.nan
        arrays: dict[str, np.ndarray] = {
            "bands": pixels,
            "band": np.array(bands),
            "sample": np.array(["0080717", "0012333"]),
            "file_id": np.array([scenes] * 2),
            "sample_id": np.array([[f"{p}_{t}" for t in range(4)] for p in ("0080717", "0012333")]),
            "crs": np.array([32651, 32639]),
            "center_lat": np.array([42.66, 29.99]),
            "center_lon": np.array([125.6, 48.18]),
            "x_": np.stack([5e5 + 10.0 * np.arange(size) + 5] * 2),
            "y_": np.stack([4.7e6 - 10.0 * np.arange(size) - 5] * 2),
        }
        if optical:
            mask = np.zeros((2, 4, size, size), np.uint8)
            mask[:, 1, :2] = [[3], [4]]
            mask[:, 1, 2, 0] = 1
            arrays["cloud_mask"] = mask
        arrays.update(changes)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # zarr says of format 2 that its strings are not in the standard of 3
            store = zarr.storage.ZipStore(path, mode="w")
            group = zarr.create_group(store, zarr_format=2)
            for name, values in arrays.items():
                chunks = (chunk, 1, *values.shape[2:]) if values.ndim > 3 else values.shape
                made = group.create_array(name, shape=values.shape, dtype=values.dtype, chunks=chunks)
                made[...] = values
            store.close()
        return path

    def fmow(self, root: Path) -> dict[str, Any]:
        rows = {
            "train": (
                ("zoo", 3, 100),
                ("airport", 10, 2),
                ("airport", 9, 104),
                ("multi-unit_residential", 1, 0),
            ),
            "val": (("airport", 0, 6),),
            "test_gt": (("wind_farm", 7, 1),),
        }
        for part, images in rows.items():
            lines = [",category,location_id,image_id,timestamp,polygon"]
            for i, (category, location, image) in enumerate(images):
                polygon = '"POLYGON ((10.1 50.2, 10.1 50.1, 10.3 50.1, 10.3 50.2, 10.1 50.2))"'
                lines.append(f"{i},{category},{location},{image},2017-05-16T00:00:00Z,{polygon}")
                place = f"{category}_{location}"
                planes = self.real(13, 45 + i, 60 - i, i).astype(np.uint16)
                planes[10] = 0
                planes[:, 0, 0] = 0
                path = root / "fmow-sentinel" / part / category / place / f"{place}_{image}.tif"
                self.tif(path, planes, crs="EPSG:4326", res=1e-4, origin=(10.1, 50.2), names=S2_BANDS)
            self.text(root / f"{part}.csv", *lines)
        return {}

    def bigearthnet(self, root: Path) -> dict[str, Any]:
        for i, (part, name) in enumerate(zip(("train", "val", "test"), PATCHES, strict=True)):
            shutil.copytree(demo_folder() / "bigearthnet" / name, root / "BigEarthNet-v1.0" / name)
            day = name.split("_")[2][:8]
            s1 = f"S1A_IW_GRDH_1SDV_{day}T165043_33UUP_{'_'.join(name.split('_')[-2:])}"
            for band, plane in zip(("VV", "VH"), self.real(2, 120, 120, i), strict=True):
                self.tif(
                    root / "BigEarthNet-S1-v1.0" / s1 / f"{s1}_{band}.tif", -plane.astype(np.float32) / 100
                )
            self.text(
                root / "BigEarthNet-S1-v1.0" / s1 / f"{s1}_labels_metadata.json",
                json.dumps({"labels": ["Pastures"], "corresponding_s2_patch": name}),
            )
            self.text(root / f"{part}.csv", f"{name},{s1}")
        return {"s1": True}

    def bigearthnet_v2(self, root: Path) -> dict[str, Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = []
        for i, (part, source) in enumerate(zip(("train", "validation", "test"), PATCHES, strict=True)):
            name = f"{V2_NAME}_{26 + i}_57"
            s1 = f"S1A_IW_GRDH_1SDV_20170613T165043_33UUP_{26 + i}_57"
            for path in (demo_folder() / "bigearthnet" / source).glob("*.tif"):
                to = root / "BigEarthNet-S2" / V2_NAME / name / path.name.replace(source, name)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, to)
            for band, plane in zip(("VV", "VH"), self.real(2, 120, 120, i), strict=True):
                scene = s1.rsplit("_", 3)[0]
                self.tif(
                    root / "BigEarthNet-S1" / scene / s1 / f"{s1}_{band}.tif", -plane.astype(np.float32) / 100
                )
            self.reference_map(root, name, source)
            labels = ["Arable land", "Inland waters"]
            rows.append(
                {
                    "patch_id": name,
                    "labels": labels[: 1 + i % 2],
                    "split": part,
                    "country": "Austria",
                    "s1_name": s1,
                    "s2v1_name": source,
                    "contains_seasonal_snow": False,
                    "contains_cloud_or_shadow": False,
                }
            )
        pq.write_table(pa.Table.from_pylist(rows[::-1]), root / "metadata.parquet")
        return {}

    def reference_map(self, root: Path, name: str, source: str) -> None:
        import rasterio

        with rasterio.open(demo_folder() / "bigearthnet" / source / f"{source}_B02.tif") as like:
            place = {"crs": str(like.crs), "origin": (like.transform.c, like.transform.f)}
        codes = np.resize(np.array([211, 312, 512, 142, 0], np.uint16), (120, 120))
        self.tif(
            root / "Reference_Maps" / V2_NAME / name / f"{name}_reference_map.tif", codes, nodata=0, **place
        )

    def major_tom(self, root: Path) -> dict[str, Any]:
        for i, cell in enumerate(("0U_199R", "199U_1099R")):
            product = f"S1A_IW_GRDH_1SDV_2022070{3 + i}T043413_20220703T043438_043931_053E87_rtc"
            folder = root / "S1RTC" / cell.split("_")[0] / cell / product
            for band, plane in zip(("vv", "vh"), self.real(2, 24, 24, i), strict=True):
                linear = plane.astype(np.float32) / 1e4
                linear[0, 0] = -32768
                self.tif(folder / f"{band}.tif", linear, nodata=-32768)
        return {"product": "s1rtc"}

    def earthnet(self, root: Path) -> dict[str, Any]:
        """A series per part: seven channels in train, five in the halves of the tests; of fewer dates than published."""
        rest = "2105_2233_2873_3001_32_112_44_124"
        self.earthnet_file(root / f"train/29SND/29SND_2017-06-20_2017-07-14_{rest}.npz", 5, 7)
        for i, part in enumerate(("iid", "ood", "extreme", "seasonal")):
            name = f"32UQ{'CDEF'[i]}_2018-01-28_2018-02-21_{rest}.npz"
            for half, images in (("context", 3), ("target", 2)):
                folder = root / f"{part}_test_split" / half / name[:5]
                self.earthnet_file(folder / f"{half}_{name}", images, 5)
        return {}

    def earthnet_file(self, path: Path, images: int, channels: int) -> Path:
        """Reflectance whose first row is masked and whose first pixel of the second row is NaN."""
        held = np.zeros((128, 128, channels, images), np.float16)
        for t in range(images):
            held[:, :, :4, t] = self.real(4, 128, 128, t).transpose(1, 2, 0) / 1e4
        held[0, :, -1] = 1
        held[1, 0, :4] = np.nan
        path.parent.mkdir(parents=True, exist_ok=True)
        still = np.zeros((128, 128, 1), np.float16)
        weather = np.zeros((8, 8, 5, 5 * images), np.float16)
        np.savez(
            path, highresdynamic=held, highresstatic=still, mesodynamic=weather, mesostatic=still[:8, :8]
        )
        return path

    def greenearthnet(self, root: Path) -> dict[str, Any]:
        """A series per part, as netCDF-4; smaller and shorter than published."""
        rest = "441_569_2745_2873_6_86_42_122"
        for part in ("train", "iid", "ood", "extreme", "seasonal"):
            self.minicube(root / part / f"29SND/29SND_2018-09-03_2018-09-27_{rest}.nc")
        for part in ("val", "iid", "ood-t", "ood-s", "ood-st"):
            self.minicube(root / f"{part}_chopped/MJJ21/{part}_7.nc")
        return {}

    def minicube(self, path: Path, days: int = 25, size: int = 16) -> Path:
        """Images on every fifth day, NaN between them; a corner of cloud, one of water, one that was not seen."""
        h5py = pytest.importorskip("h5py")

        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            axes = {
                "time": np.arange(days),
                "lat": 38.5 - 2e-4 * np.arange(size),
                "lon": -8.7 + 2e-4 * np.arange(size),
            }
            for name, values in axes.items():
                file[name] = values
                file[name].make_scale(name)
            file["time"].attrs["units"] = "days since 2018-09-03"
            images = np.full((4, days, size, size), np.nan, np.float32)
            for t in range(4, days, 5):
                images[:, t] = self.real(4, size, size, t) / 1e4
            images[:, 4::5, :2, :2] = np.nan
            cloud = np.zeros((days, size, size), np.float32)
            cloud[:, -2:] = 1
            scene = np.full((days, size, size), 4, np.float32)
            scene[:, 5], scene[:, 6] = 6, 9
            held = dict(zip(("s2_B02", "s2_B03", "s2_B04", "s2_B8A"), images, strict=True))
            for name, values in {**held, "s2_mask": cloud, "s2_dlmask": cloud, "s2_SCL": scene}.items():
                file[name] = values
                for axis, of in enumerate(axes):
                    file[name].dims[axis].attach_scale(file[of])
            file["eobs_tg"] = np.zeros(days, np.float32)
        return path

    def all(self) -> dict[str, Callable[[Path], dict[str, Any]]]:
        """By the layout's name."""
        return {
            "ssl4eo-s12": self.ssl4eo,
            "ssl4eo-s12-v1.1": self.ssl4eo_v11,
            "fmow-sentinel": self.fmow,
            "bigearthnet": self.bigearthnet,
            "bigearthnet-v2": self.bigearthnet_v2,
            "major-tom": self.major_tom,
            "earthnet": self.earthnet,
            "greenearthnet": self.greenearthnet,
        }
