"""`swath pack`, what inspects its shards, and a pretraining that learns from them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_layout import Toy

import swath
from swath.cli import main
from swath.cube import Sample
from swath.data.layouts import registry
from swath.data.layouts.base import LayoutInfo
from swath.errors import ConfigError, InputError
from swath.feed.shards import Shards
from swath.training import keeper
from swath.verbs.inspect import InspectConfig
from swath.verbs.inspect import run as inspect
from swath.verbs.options import LayoutOptions, PixelData
from swath.verbs.pack import PackConfig, run
from swath.verbs.scene_data import read_pretraining
from swath.verbs.split_options import SplitOptions
from swath.weights.file import load, same_state


class OnDisk(Toy):
    """The toy set as a layout that is opened by name; one file says how many records there are."""

    def __init__(self, root: Path | str, split: str | None = None, *, size: int = 16) -> None:
        self._split = split
        super().__init__(
            int((Path(root) / "count").read_text()), sizes=(size,), dates=1, radar=False, bad=(4,)
        )

    def read(self, index: int) -> Sample:
        """Split or not, a record is the same."""
        everything = Toy(self.count, self.sizes, 1, radar=False, bad=self.bad)
        return everything.read([i.id for i in everything.items].index(self.items[index].id))

    @property
    def items(self) -> list[Any]:
        return [item for item in super().items if self._split in (None, item.split)]

    info: LayoutInfo = Toy.info


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("toy set")
    (folder / "count").write_text("24")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.LAYOUTS, "toy", "toy:Toy")
        found = registry.layout_class
        patch.setattr(registry, "layout_class", lambda name: OnDisk if name == "toy" else found(name))
        patch.setattr("os.fsync", lambda handle: None)
        yield str(folder)


@pytest.fixture(scope="module")
def shards(root: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    output = str(tmp_path_factory.mktemp("out") / "shards")
    result = run(PackConfig("toy", root, output, workers=1, bad_items=0.1, statistics=True))
    assert (result.records, result.groups, result.bad_items) == (24, 1, 1)
    assert "24 records of 1 shape in" in result.summary()
    return output


def test_statistics_are_those_of_all_valid_pixels_in_physical_units(shards: str) -> None:
    packed = Shards(shards)
    found = json.loads((Path(shards) / "statistics.json").read_text())["cubes"]["sentinel2"]["B03"]
    cubes = [packed.cube(i, "sentinel2") for i in range(len(packed))]
    x = np.concatenate(
        [c.pixels[:, 1][c.valid[:, 1]] * c.encodings[0][1].scale + c.encodings[0][1].offset for c in cubes]
    )
    assert found["count"] == x.size and found["unit"] == "reflectance"
    np.testing.assert_allclose(
        [found[k] for k in ("mean", "std", "minimum", "maximum")],
        [x.mean(), x.std(), x.min(), x.max()],
        rtol=1e-12,
    )


def test_verify_names_the_damaged_file_and_record(shards: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(shards, copy)
    assert run(PackConfig(output=str(copy), verify=True)).records == 24
    group = json.loads((copy / "shards.json").read_text())["groups"][0]
    file = group["files"]["sentinel2.pixels"][0]
    path = copy / file["name"]
    data = bytearray(path.read_bytes())
    data[file["offset"] + 7 * (file["bytes"] - file["offset"]) // file["records"] + 5] ^= 4
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"g000/00000\.sentinel2\.pixels\.npy is not .*record item-0007"):
        run(PackConfig(output=str(copy), verify=True))
    path.write_bytes(data[:-100])
    with pytest.raises(InputError, match=r"has \d+ bytes, not \d+"):
        Shards(copy).sample(23)
    with pytest.raises(InputError, match=r"record item-0023|g000/00000"):
        run(PackConfig(output=str(copy), verify=True))


def test_verify_sees_a_digit_that_changed_in_what_explains_them(shards: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(shards, copy)
    path = copy / "shards.json"
    said = json.loads(path.read_text())
    said["encodings"][0][0][0][1] *= 2  # unit, scale, offset, level
    path.write_text(json.dumps(said))
    with pytest.raises(InputError, match=r"shards\.json is not as it was written"):
        run(PackConfig(output=str(copy), verify=True))
    del said["sha256"]  # as in shards that were packed before it was there
    path.write_text(json.dumps(said))
    assert run(PackConfig(output=str(copy), verify=True)).records == 24


def test_inspect_sums_them_up(shards: str) -> None:
    rows = dict(inspect(InspectConfig(shards)).rows)
    assert rows["records"] == "24, of which 1 are bad (weight 0)"
    assert rows["splits"] == "test 8, train 16"
    assert rows["group 0"] == "24 records: sentinel2 1 x 4 x 16 x 17 uint16, target 16 x 17 int64"
    assert rows["sentinel2 dates"] == "2020-01-01 to 2020-01-24"
    assert rows["sentinel2 B8A"].startswith("mean 0.4")
    assert rows["sentinel2 places"].startswith("longitude 10.000 to 33.000, latitude 46.714 to 50.000, 23")


def test_options_that_do_not_go_together_are_refused(root: str, tmp_path: Path) -> None:
    for given, words in [
        ({"layout": "toy", "root": "x"}, "no folder is named"),
        ({"output": "x"}, "no layout is named"),
        (
            {"output": "s3://bucket/x", "verify": True},
            "^output: 's3://bucket/x' is an address; pack into a f",
        ),
        ({"output": "x", "verify": True, "split_by": SplitOptions("dates")}, "checks shards that are there"),
        ({"output": "x", "layout": "toy"}, "no folder is named"),
        ({"output": "x", "layout": "toy", "root": "x", "verify": True}, "checks shards that are there"),
        ({"output": "x", "layout": "toy", "root": "x", "shard_mb": 0}, "^shard_mb: is 0; give 1 or more$"),
        ({"output": "x", "layout": "toy", "root": "x", "workers": -1}, r"^workers: is -1; give 0 \(one per"),
        ({"output": "x", "layout": "toy", "root": "x", "bad_items": 2.0}, "^bad_items: is 2; give a share"),
    ]:
        with pytest.raises(ConfigError, match=words):
            PackConfig(**given)
    output = str(tmp_path / "test part")
    assert run(PackConfig("toy", root, output, split="test", workers=1, bad_items=0.5)).records == 8


def options(folder: Path, data: dict[str, Any], **training: Any) -> dict[str, Any]:
    return {
        "run": {"folder": str(folder)},
        "model": {
            "system": "st_swin_mae",
            "preset": "tiny",
            "options": {
                "patch_size": [1, 2, 2],
                "window": [1, 4, 4],
                "embed_dim": 8,
                "depths": [1, 1],
                "heads": [1, 2],
                "decoder_depths": [1],
            },
        },
        "data": {"window": 16, "bands": ["B8A", "B02"], **data},
        "mask": {"ratio": 0.5, "window": 2},
        "training": {
            "steps": 6,
            "batch_size": 4,
            "warmup_steps": 1,
            "checkpoint_every": 2,
            "log_every": 2,
            "validate_every": 3,
            "precision": "fp32",
            "threads": 1,
            **training,
        },
    }


@pytest.mark.parametrize("scope", ["record", "fixed"])
def test_pretraining_from_shards_equals_pretraining_from_the_layout(
    root: str, shards: str, tmp_path: Path, scope: str
) -> None:
    part = {"hold_out": ["item-0001"], "split": "train", "normalise": {"scope": scope}}
    a = swath.pretrain(**options(tmp_path / "a", {"shards": [shards], **part}))
    layout = {"name": "toy", "root": root, "bad_items": 0.1}
    b = swath.pretrain(**options(tmp_path / "b", {"layout": layout, **part}))
    one, two = load(a.weights), load(b.weights)
    assert one.meta.contract is not None and two.meta.contract is not None
    assert [s.band.name for s in one.meta.contract.bands] == ["B8A", "B02"]
    if scope == "record":
        # The same samples in the same order: the same weights.
        assert same_state(one.state, two.state)
        assert a.held_out_loss == b.held_out_loss
    else:
        got, wanted = one.meta.contract.normalisation, two.meta.contract.normalisation
        assert (got.kind, got.scope) == ("standard", "fixed")
        # The layout's are over the learned-from and the held-out records, these over the former alone.
        np.testing.assert_allclose(got.centre, wanted.centre, rtol=0.05)
    assert one.meta.provenance["data"] == ["shards (15 records)"]


def test_a_run_from_shards_that_was_stopped_goes_on_to_the_same_bits(
    shards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {"shards": [shards], "window": 8}
    whole = swath.pretrain(**options(tmp_path / "whole", data))

    class Stopped(BaseException):
        """As a kill would."""

    save = keeper.Keeper._save

    def stop_after_four(self: Any, trainer: Any, step: int) -> None:
        save(self, trainer, step)
        if step == 4:
            raise Stopped

    monkeypatch.setattr(keeper.Keeper, "_save", stop_after_four)
    with pytest.raises(Stopped):
        swath.pretrain(**options(tmp_path / "parts", data))
    monkeypatch.undo()
    again = options(tmp_path / "parts", data)
    again["run"]["resume"] = True
    resumed = swath.pretrain(**again)
    assert same_state(load(whole.weights).state, load(resumed.weights).state)


def test_two_sets_of_shards_are_shuffled_together(root: str, shards: str, tmp_path: Path) -> None:
    from swath.verbs.config import load_config
    from swath.verbs.pretrain import PretrainConfig, make_feed

    other = str(tmp_path / "other")
    run(PackConfig("toy", root, other, split="test", workers=1, bad_items=0.5))
    config = load_config(PretrainConfig, [], options(tmp_path / "x", {"shards": [shards, other]}))
    feed = make_feed(config, read_pretraining(config.data))
    assert len(feed) == 32
    whole = feed.take(0, 32)
    assert sorted(whole.ids) == sorted(
        [f"item-{i:04}" for i in range(24)] + [f"item-{i:04}" for i in range(2, 24, 3)]
    )
    parts = [feed.take(n, 4) for n in range(0, 32, 4)]
    assert torch.equal(whole.pixels, torch.cat([p.pixels for p in parts]))
    assert whole.ids == tuple(i for p in parts for i in p.ids)


def test_records_with_too_few_valid_pixels_are_not_learned_from(root: str, shards: str) -> None:
    packed = Shards(shards)
    shares = {packed.id(i): packed.cube(i, "sentinel2").valid.mean() for i in range(len(packed))}
    least = float(np.median(list(shares.values())))
    wanted = {name for name, share in shares.items() if share >= least}
    assert 2 < len(wanted) < 22

    def learned(**given: Any) -> tuple[set[str], set[str]]:
        from_shards = read_pretraining(PixelData(shards=(shards,), window=8, **given))
        layout = LayoutOptions("toy", root, bad_items=0.1)
        from_layout = read_pretraining(PixelData(layout=layout, window=8, **given))
        ids = {s.id(int(i)) for s, index in from_shards.records for i in index}
        return ids, {cube.source for cube in from_layout.cubes}

    assert learned(min_valid=least) == (wanted, wanted)
    assert learned(min_valid=least, bands=("B02",)) == (wanted, wanted)
    assert learned() == (set(shares), set(shares))
    with pytest.raises(ConfigError, match=r"data.min_valid: is 1\.0, and no record has more than 0\.8"):
        read_pretraining(
            PixelData(shards=(shards,), split="test", hold_out=("item-0008", "item-0020"), min_valid=1.0)
        )
    with pytest.raises(ConfigError, match=r"data.min_valid: is 0.99, and no record"):
        read_pretraining(
            PixelData(
                layout=LayoutOptions("toy", root, bad_items=0.2),
                split="test",
                hold_out=("item-0008", "item-0020"),
                window=8,
                min_valid=0.99,
            )
        )


def test_parts_by_the_command_line_are_learned_from(
    root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "shards")
    words = ["--split_by", "dates", "--split_by.starts", '{"early": "start", "late": "2020-01-21"}']
    packing = ["pack", "toy", root, output, "--workers", "1", "--bad_items", "0.1"]
    assert main([*packing, *words]) == 0
    assert "parts early 19, late 4, none 1" in capsys.readouterr().out
    late = read_pretraining(PixelData(shards=(output,), split="late", window=8))
    assert [index.tolist() for _, index in late.records] == [[20, 21, 22, 23]]
    assert main(["pack", "--output", output, "--split_by", "groups", "--split_by.shares.a", "1"]) == 0
    assert "parts a 24" in capsys.readouterr().out
    assert dict(inspect(InspectConfig(output)).rows)["divided"] == 'by groups, shares {"a": 1}'
    assert main(["pack", "--output", output, "--split_by", "blocks", "--split_by.shares.a", "1"]) == 2
    assert capsys.readouterr().err == "error: split_by: block is missing; say how wide a block is\n"
