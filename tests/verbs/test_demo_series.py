"""Several dates: the demo's pretraining on a real series, and the map of a WorldCereal site."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

import swath
from swath.data.layouts.worldcereal import BANDS, FINE, find_site
from swath.errors import ConfigError
from swath.verbs import demo_series
from swath.verbs.demo import DemoConfig
from swath.verbs.run_report import EXAMPLES, Examples

SITES = "worldcereal-sites"


def make_site(folder: Path, size: int = 64, dates: int = 9) -> Path:
    """A site of noise over four fields; the third date is clouded, and one corner is in shadow on all."""
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    fields = np.array([11, 13, 60, 99], np.uint16)[
        np.arange(size)[None] * 4 // size + np.zeros((size, 1), int)
    ]
    for part, step, bands in (
        ("S2_L2A_10m", 10.0, FINE),
        ("S2_L2A_20m", 20.0, tuple(b for b in BANDS if b not in FINE)),
        ("OUTPUT_POLY-110_10m", 10.0, ()),
    ):
        n = int(size * 10 / step)
        with h5py.File(folder / f"{part}_x.nc", "w") as file:
            file.attrs["epsg"] = "32631"
            file["x"] = 501360.0 + step * (np.arange(n) + 0.5)
            file["y"] = 5629680.0 - step * (np.arange(n) + 0.5)
            if not bands:
                file["LC"] = fields
                continue
            file["timestamp"] = np.arange(dates) * 864000
            file["timestamp"].attrs["units"] = "seconds since 2017-08-04 10:53:28"
            for band in bands:
                coarse = fields[:: size // n, :: size // n] * 20
                file[band] = (coarse + rng.integers(1, 400, (dates, n, n))).astype(np.uint16)
                file[band].attrs["scale_factor"] = 1e-4
            if step == 20:
                scl = np.full((dates, n, n), 4, np.uint8)
                scl[2:3] = 9
                scl[:, 0, 0] = 3
                file["SCL"] = scl
    return folder


def test_a_series_is_pretrained_on_and_shown(tmp_path: Path) -> None:
    options = {"training.steps": 2, "training.batch_size": 2, "training.warmup_steps": 0}
    made = swath.pretrain("demo-pretrain-series", **{"run.folder": str(tmp_path / "run"), **options})
    shown = Examples.load(tmp_path / "run" / EXAMPLES)
    assert shown.original.shape == (1, 4, 3, 24, 24)
    assert not np.isnat(shown.dates).any() and (np.diff(shown.dates) > np.timedelta64(0)).all()
    # Each date has a mask of its own.
    masks = shown.hidden[0].any(axis=1)
    assert all((masks[0] != m).any() for m in masks[1:])
    assert (shown.valid.mean((2, 3, 4)) >= 0.5).all() and not shown.valid.all()
    assert made.held_out_loss is not None and np.isfinite(made.held_out_loss)
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "date by date" in page


def test_a_site_is_divided_with_a_buffer_and_clear_dates(tmp_path: Path) -> None:
    site = demo_series.read(str(make_site(tmp_path / "sites" / "one").parent))
    assert (site.north, site.south) == (32, 48)
    assert len(site.dates) == demo_series.DATES and 2 not in site.dates
    assert site.cube.shape[0] == demo_series.DATES
    assert not site.scored[: site.south].any() and site.scored[site.south :].all()
    # Statistics are of the north alone.
    north = site.whole.pixels[:, 0, : site.north][site.whole.valid[:, 0, : site.north]] * 1e-4
    scale = site.contract.encoding.scale
    np.testing.assert_allclose(site.contract.normalisation.centre[0] * scale, north.mean(), rtol=1e-5)


def test_a_quick_map_from_several_dates(tmp_path: Path) -> None:
    folder = make_site(tmp_path / "site")
    out = tmp_path / "out"
    result = swath.demo(series=str(folder), output=str(out), quick=True)
    table = json.loads(Path(result.table).read_text("utf-8"))
    assert [row["name"][:3] for row in table["rows"]] == ["(a)", "(b)", "(c)", "(d)"]
    assert all(0 <= row["values"]["overall_accuracy"] <= 1 for row in table["rows"])
    assert table["notes"][0].startswith("QUICK RUN")
    with rasterio.open(result.map) as file:
        assert file.shape == (64, 64) and file.crs.to_epsg() == 32631
        mapped = file.read(1)
        # The corner is in shadow on every date.
        assert (mapped[:2, :2] == 255).all() and (mapped == 255).sum() == 4
        assert set(np.unique(mapped)) <= {11, 13, 60, 99, 255}
    page = Path(result.report).read_text("utf-8")
    assert "Several dates in, one map out" in page and f"swath demo --series {folder}" in page
    weights = dict(swath.inspect(str(out / "seed-0" / "pretrained" / "weights.safetensors")).rows)
    assert any("st_swin_unet" in value for value in weights.values())


def test_what_cannot_be_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        swath.demo(series=str(tmp_path / "none"), output=str(tmp_path / "out"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no WorldCereal site"):
        swath.demo(series=str(tmp_path / "empty"), output=str(tmp_path / "out"))
    with pytest.raises(ConfigError, match="series: has one seed and one length"):
        DemoConfig(series="x", seeds=2)
    site = make_site(tmp_path / "site", size=32, dates=2)
    with pytest.raises(ConfigError, match="32 rows leave 8 to learn from"):
        swath.demo(series=str(site), output=str(tmp_path / "out"))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ConfigError, match=r'needs h5py.*pip install "swath\[series\]"'):
        swath.demo(series=str(site), output=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.shared_data
def test_the_real_site_is_found_and_divided(shared_data: Path) -> None:
    pytest.importorskip("h5py")
    if not (shared_data / SITES).is_dir():
        pytest.skip("the WorldCereal sites are not on this machine")
    assert find_site(shared_data / SITES).name == "00002806639B424A"
    site = demo_series.read(str(shared_data / SITES))
    assert site.whole.shape == (118, 10, 64, 64) and site.scored.sum() > 900
    assert site.cube.valid.mean() > 0.95


@pytest.mark.slow
@pytest.mark.shared_data
def test_the_real_site_is_mapped(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    if not (shared_data / SITES).is_dir():
        pytest.skip("the WorldCereal sites are not on this machine")
    result = swath.demo(series=str(shared_data / SITES), output=str(tmp_path / "out"))
    rows = json.loads(Path(result.table).read_text("utf-8"))["rows"]
    # More than naming the most frequent class of the south everywhere (0.40).
    assert all(row["values"]["overall_accuracy"] > 0.5 for row in rows)
