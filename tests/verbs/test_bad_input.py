"""Whatever is wrong with the input: exit code 2, one line that says what, where and the mend, and nothing left behind.

All through the command line, with files as people have them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml

from swath import cli
from swath.files import atomic
from swath.weights.build import meta_for
from swath.weights.file import load, save

BANDS = ("B2", "B3", "B4")
READERS = ("pretrain", "finetune", "predict", "inspect")


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    # The tests' own logging must survive.
    monkeypatch.setattr(cli, "_set_up_logging", lambda **_: None)


class Bench:
    """A folder to make bad files in, and the verbs to run on them."""

    def __init__(self, chain: Any, folder: Path, raster: Callable[..., str], capsys: Any) -> None:
        self.chain, self.land, self.folder, self.raster, self.capsys = (
            chain,
            chain.land,
            folder,
            raster,
            capsys,
        )
        self.inputs, self.outputs = folder / "inputs", folder / "outputs"
        self.inputs.mkdir()
        self.outputs.mkdir()
        with rasterio.open(self.land.scene) as file:
            self.pixels = file.read()
        with rasterio.open(self.land.labels) as file:
            self.label_values = file.read(1)

    def scene(self, pixels: np.ndarray | None = None, name: str = "bad scene.tif", **options: Any) -> str:
        given = {"names": BANDS, "unit": "dn", "nodata": 0, **options}
        return self.raster(self.inputs / name, self.pixels if pixels is None else pixels, **given)

    def labels(self, values: np.ndarray | None = None, **options: Any) -> str:
        chosen = self.label_values if values is None else values
        return self.raster(self.inputs / "bad labels.tif", chosen, **{"nodata": 0, **options})

    def yaml(self, options: dict[str, Any], name: str = "options.yaml") -> str:
        path = self.inputs / name
        path.write_text(yaml.safe_dump(options), "utf-8")
        return str(path)

    def words(
        self,
        verb: str,
        *,
        scene: str = "",
        labels: str = "",
        weights: str = "",
        out: object = None,
        sensor: str = "landsat7",
        map: str = "",
    ) -> list[str]:
        """A command line that works, but for what is given."""
        scene, labels = scene or self.land.scene, labels or self.land.labels
        if verb == "inspect":
            return [verb, weights] if weights else [verb, scene, "--sensor", sensor]
        if verb == "predict":
            target = out or self.outputs / "new" / "map.tif"
            return [
                verb, "--weights", weights or self.chain.finetuned.weights, "--input", scene, "--input.sensor", sensor,
                "--output", str(target), "--precision", "fp32",
            ]  # fmt: skip
        if verb == "evaluate":
            target = out or self.outputs / "new" / "scores.json"
            options = {**self.chain.scoring, "labels": labels, "map": map or self.chain.map}
            return [verb, self.yaml(options), "--output", str(target)]
        target = out or self.outputs / "new" / "run"
        if verb == "pretrain":
            options = self.land.pretraining(target)
            options["data"]["scenes"] = [{"files": scene, "sensor": sensor}]
        else:
            options = self.land.finetuning(target, weights)
            options["data"].update(scene={"files": scene, "sensor": sensor}, labels=labels)
        return [verb, self.yaml(options)]

    def refuse(self, words: list[str], *parts: str) -> None:
        before = self.listing()
        self.capsys.readouterr()
        assert cli.main(words) == 2, words
        said = self.capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("error: "), said.err
        assert said.err.count("\n") == 1, said.err
        assert "Traceback" not in said.err
        for part in parts:
            assert part in said.err, said.err
        assert ";" in said.err, f"no mend: {said.err}"
        assert self.listing() == before

    def listing(self) -> dict[str, tuple[int, int]]:
        """Every file and folder under outputs, hidden ones too, with size and time of change."""
        found = {}
        for path in sorted(self.outputs.rglob("*")):
            stat = path.stat()
            found[str(path)] = (
                stat.st_size if path.is_file() else -1,
                stat.st_mtime_ns if path.is_file() else 0,
            )
        return found


@pytest.fixture
def bench(
    chain: Any, tmp_path: Path, raster: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(chain, tmp_path, raster, capsys)


@pytest.mark.parametrize("verb", READERS)
@pytest.mark.parametrize(
    "kind", ["text", "empty", "truncated", "missing", "folder", "all no-data", "band missing", "no names"]
)
def test_a_bad_scene(bench: Bench, verb: str, kind: str) -> None:
    path = str(bench.inputs / "bad scene.tif")
    words: tuple[str, ...] = ("bad scene.tif",)
    if kind == "text":
        Path(path).write_text("this is no raster\n" * 40)
    elif kind == "empty":
        Path(path).touch()
        words += ("is an empty file; fetch it anew",)
    elif kind == "truncated":
        bench.scene()
        data = Path(path).read_bytes()
        Path(path).write_bytes(data[: len(data) // 2])
        words += ("cut short",)
    elif kind == "missing":
        words += ("there is no such file; check the path",)
    elif kind == "folder":
        Path(path).mkdir()
        words += ("is a folder, not a raster",)
    elif kind == "all no-data":
        bench.scene(np.zeros_like(bench.pixels))
        words += ("no valid pixel",)
    elif kind == "band missing":
        # To inspect it is no error, unless the band is asked for.
        bench.scene(bench.pixels[:2], names=BANDS[:2])
        words += ("B4", "missing")
    else:
        bench.scene(names=())
        words += ("bear no names of landsat7; name them in file order",)
    line = bench.words(verb, scene=path, weights="" if verb != "finetune" else bench.chain.pretrained.weights)
    if kind == "band missing" and verb in ("pretrain", "inspect"):
        line += [f"--{'bands' if verb == 'inspect' else 'data.scenes'}"]
        asked = list(BANDS)
        line += [str(asked if verb == "inspect" else [{"files": path, "sensor": "landsat7", "bands": asked}])]
    bench.refuse(line, *words)


@pytest.mark.parametrize("verb", ["predict", "finetune"])
@pytest.mark.parametrize("kind", ["unit", "sensor", "resolution", "dates"])
def test_a_scene_that_the_weights_do_not_eat(bench: Bench, verb: str, kind: str) -> None:
    weights = bench.chain.finetuned.weights if verb == "predict" else bench.chain.pretrained.weights
    sensor, more = "landsat7", []
    key = "--input" if verb == "predict" else "--data.scene"
    path = bench.scene()
    if kind == "unit":
        more = [f"{key}.unit", "reflectance", f"{key}.scale", "0.0001"]
        words = ("band B2 is in reflectance, the model eats dn", "use a product in dn")
    elif kind == "sensor":
        sensor = "landsat8"
        words = ("band B2 of landsat7 is missing", "add the band, or use weights that do not need")
    elif kind == "dates":
        more = [f"{key}.stack_dates", "2", f"{key}.bands", "[B2, B3, B4]"]
        path = bench.scene(np.concatenate([bench.pixels] * 2), names=())
        words = ("has 2 dates, the model eats 1", "choose dates to fit")
    else:
        with rasterio.open(path, "r+") as file:
            file.transform = rasterio.Affine(10.0, 0.0, 600_000.0, 0.0, -10.0, 200_000.0)
        words = ("has 10 m pixels, the model eats 30 m", "resample it to 30 m")
    labels = ""
    if kind == "resolution" and verb == "finetune":
        labels = bench.labels()
        with rasterio.open(labels, "r+") as file:
            file.transform = rasterio.Affine(10.0, 0.0, 600_000.0, 0.0, -10.0, 200_000.0)
    line = bench.words(verb, scene=path, weights=weights, sensor=sensor, labels=labels)
    bench.refuse(line + more, "bad scene.tif", *words)


@pytest.mark.parametrize("verb", ["finetune", "evaluate"])
@pytest.mark.parametrize(
    "kind",
    ["text", "truncated", "missing", "folder", "crs", "no crs", "grid", "size", "empty", "value", "bands"],
)
def test_bad_labels(bench: Bench, verb: str, kind: str) -> None:
    path = str(bench.inputs / "bad labels.tif")
    values = bench.label_values
    words: tuple[str, ...] = ()
    if kind == "text":
        Path(path).write_text("value,class\n3,forest\n")
    elif kind == "truncated":
        bench.labels()
        data = Path(path).read_bytes()
        Path(path).write_bytes(data[: len(data) // 2])
        words = ("cut short",)
    elif kind == "missing":
        words = ("there is no such file",)
    elif kind == "folder":
        Path(path).mkdir()
        words = ("is a folder",)
    elif kind == "crs":
        bench.labels(crs="EPSG:32617")
        words = ("is in EPSG:32617, but ", "EPSG:32119", "reproject the labels")
    elif kind == "no crs":
        bench.labels(crs=None)
        words = ("is in no reference system, but ", "EPSG:32119", "reproject the labels")
    elif kind == "grid":
        bench.labels(x=600_015.0)
        words = ("covers another grid", "resample the labels to the scene's grid")
    elif kind == "size":
        bench.labels(values[:20])
        words = ("covers another grid", "20x112")
    elif kind == "empty":
        bench.labels(np.zeros_like(values))
        words = ("holds no labelled pixel", "check its no-data")
    elif kind == "value":
        bench.labels(np.where(values == 9, 77, values))
        words = ("holds 1 unknown label values: 77 (known: 3, 5, 9)", "add them to the classes")
    else:
        bench.labels(np.stack([values, values]))
        words = ("holds 2 bands, labels have one", "name the label raster")
    bench.refuse(bench.words(verb, labels=path), "bad labels.tif", *words)


@pytest.mark.parametrize("part", ["west", "validation"])
def test_labels_that_leave_a_part_without_any(bench: Bench, part: str) -> None:
    values = bench.label_values.copy()
    values[:, slice(0, 48) if part == "west" else slice(48, 64)] = 0
    bench.refuse(bench.words("finetune", labels=bench.labels(values)))


@pytest.mark.parametrize("verb", ["predict", "finetune", "inspect"])
@pytest.mark.parametrize(
    "kind", ["missing", "folder", "text", "empty", "flipped", "cut", "other kind", "foreign"]
)
def test_bad_weights(bench: Bench, verb: str, kind: str) -> None:
    good = bench.chain.finetuned.weights if verb == "predict" else bench.chain.pretrained.weights
    path = bench.inputs / "bad.safetensors"
    words: tuple[str, ...] = ()
    if kind == "missing":
        words = ("no such file",)
    elif kind == "folder":
        path.mkdir()
        words = ("is a folder",)
    elif kind == "text":
        path.write_text("weights\n" * 99)
    elif kind == "empty":
        path.touch()
    elif kind == "flipped":
        data = bytearray(Path(good).read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        words = ("the weights are damaged: their hash is another; fetch them again",)
    elif kind == "cut":
        path.write_bytes(Path(good).read_bytes()[:-100])
        words = ("damaged",)
    elif kind == "foreign":
        from safetensors.torch import save_file
        from torch import zeros

        save_file({"x": zeros(2)}, path)
        words = ("without swath's",)
    else:
        words = ("draws no map; fine-tune them first",) if verb == "predict" else ("cannot continue it",)
        if verb == "finetune":
            from swath.models.vit_encoder import ViT, ViTConfig

            network = ViT(ViTConfig(embed_dim=16, depth=1, heads=2))
            save(path, network, meta_for(network, contract=load(good).meta.contract))
        else:
            shutil.copy(bench.chain.pretrained.weights, path)
        if verb == "inspect":
            pytest.skip("any kind can be inspected")
    bench.refuse(bench.words(verb, weights=str(path)), "bad.safetensors", *words)


def test_weights_without_a_contract(bench: Bench) -> None:
    from dataclasses import replace

    for verb, source in (("predict", bench.chain.finetuned), ("finetune", bench.chain.pretrained)):
        loaded = load(source.weights)
        path = bench.inputs / f"{verb}.safetensors"
        save(path, loaded.state, replace(loaded.meta, contract=None))
        bench.refuse(bench.words(verb, weights=str(path)), path.name, "use weights")


@pytest.mark.parametrize("kind", ["scene", "text", "missing", "truncated"])
def test_a_map_that_is_none(bench: Bench, kind: str) -> None:
    path = bench.inputs / "bad map.tif"
    words: tuple[str, ...] = ()
    if kind == "scene":
        path = Path(bench.land.scene)
        words = ("is no map of swath",)
    elif kind == "text":
        path.write_text("no map")
    elif kind == "truncated":
        data = Path(bench.chain.map).read_bytes()
        path.write_bytes(data[: len(data) // 2])
    bench.refuse(bench.words("evaluate", map=str(path)), path.name, *words)


@pytest.mark.parametrize("verb", ["pretrain", "finetune", "predict", "evaluate"])
@pytest.mark.parametrize("kind", ["taken", "other kind", "within a file", "long"])
def test_an_output_that_cannot_be(bench: Bench, verb: str, kind: str) -> None:
    run = verb in ("pretrain", "finetune")
    name = {"predict": "map.tif", "evaluate": "scores.json"}.get(verb, "run")
    path = bench.outputs / name
    if kind == "taken":
        if run:
            path.mkdir()
            (path / "weights.safetensors").write_text("mine")
        else:
            path.write_text("mine")
        words = ("exists", "overwrite")
    elif kind == "other kind":
        if run:
            path.write_text("mine")
        else:
            path.mkdir()
        words = (name,)
    elif kind == "within a file":
        (bench.outputs / "file").write_text("mine")
        path = bench.outputs / "file" / name
        words = ("file",)
    else:
        path = bench.outputs / ("x" * 300 + name)
        words = ("xxx",)
    bench.refuse(bench.words(verb, out=path), *words)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("verb", ["pretrain", "finetune", "predict", "evaluate"])
def test_a_folder_that_may_not_be_written_to(bench: Bench, verb: str) -> None:
    bench.outputs.chmod(0o555)
    try:
        bench.refuse(bench.words(verb), "new")
    finally:
        bench.outputs.chmod(0o755)


@pytest.mark.parametrize("verb", ["pretrain", "finetune", "predict", "evaluate"])
def test_an_output_that_cannot_be_written_while_it_is_made(
    bench: Bench, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, whoever meets it first."""
    from swath.scenes import work
    from swath.training import metrics_log

    def full(*_: object, **__: object) -> Iterator[Path]:
        raise OSError(28, "No space left on device", "somewhere")

    if verb == "predict":
        monkeypatch.setattr(work, "atomic", full)
    elif verb == "evaluate":
        monkeypatch.setattr("json.dumps", full)
    else:
        monkeypatch.setattr(metrics_log, "atomic", full)
    line = bench.words(verb)
    before = bench.listing()
    assert cli.main(line) == 2
    said = bench.capsys.readouterr().err
    assert said.startswith("error: ") and "No space left on device" in said and said.count("\n") == 1
    assert bench.listing() == before
    assert atomic is not full


@pytest.mark.parametrize("verb", ["pretrain", "finetune", "predict", "evaluate", "inspect"])
def test_unknown_keys_and_options(bench: Bench, verb: str) -> None:
    path = bench.inputs / "typo.yaml"
    path.write_text(
        "# mine\nweigths: a\n" if verb in ("predict", "finetune", "inspect") else "# mine\nlables: a\n"
    )
    bench.refuse([verb, "--config", str(path)], f"{path}:2: unknown key")
    bench.refuse([verb, "--no.such.option", "3"], "--no.such.option: unknown option")
    bench.refuse([verb, "--config", str(bench.inputs / "none.yaml")], "no such file")
    path.write_bytes(b"\xff\xfe\x00")
    bench.refuse([verb, "--config", str(path)], "is not text in UTF-8")


@pytest.mark.parametrize("verb", ["pretrain", "finetune"])
def test_windows_larger_than_the_scene(bench: Bench, verb: str) -> None:
    bench.refuse([*bench.words(verb), "--data.window", "512"])


def test_maps_of_scenes_smaller_than_the_window_are_made(bench: Bench) -> None:
    """Not an error: what lies outside of the scene is invalid, as everywhere."""
    path = bench.scene(bench.pixels[:, 10:15, 10:17])
    assert cli.main(bench.words("predict", scene=path)) == 0
    with rasterio.open(bench.outputs / "new" / "map.tif") as file:
        assert file.shape == (5, 7)
        assert (file.read(3) == 100).all()


@pytest.mark.parametrize("verb", READERS)
def test_nan_and_infinity_are_invalid_pixels_and_no_error(bench: Bench, verb: str) -> None:
    pixels = bench.pixels.astype(np.float32)
    pixels[:, 5:9, 20:30] = np.nan
    pixels[1, 30, 100] = np.inf
    path = bench.scene(pixels, nodata=None)
    assert cli.main(bench.words(verb, scene=path)) == 0
    said = bench.capsys.readouterr().out
    assert "nan" not in said.replace(str(bench.folder), "").lower()
    if verb == "predict":
        with rasterio.open(bench.outputs / "new" / "map.tif") as file:
            classes, confidence, coverage = file.read()
        assert (classes[5:9, 20:30] == 255).all() and (coverage[5:9, 20:30] == 0).all()
        assert coverage[30, 100] == 66 and classes[30, 100] != 255
        assert (confidence[coverage > 0] <= 100).all()
    elif verb in ("pretrain", "finetune"):
        state = load(bench.outputs / "new" / "run" / "weights.safetensors").state
        assert all(bool(t.isfinite().all()) for t in state.values() if t.is_floating_point())


def test_the_program_itself_says_one_line_and_exits_with_2(bench: Bench) -> None:
    text = bench.inputs / "scene.tif"
    text.write_text("no raster")
    for verb, words in (
        ("predict", bench.words("predict", scene=str(text))),
        ("inspect", bench.words("inspect", scene=str(text))),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "swath", *words], capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 2, verb
        assert done.stdout == ""
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    assert bench.listing() == {}
