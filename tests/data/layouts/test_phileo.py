from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from swath.data.layouts.phileo import BANDS, PhilEO
from swath.data.layouts.phileo_shots import BUCKETS, draw, region_of, shots_of
from swath.errors import ConfigError, InputError

ONLY = pytest.mark.parametrize("built", ["phileo"], indirect=True)


def test_the_buckets() -> None:
    assert [len(r) for r in BUCKETS.values()] == [3, 7, 7, 1, 1, 1]
    assert region_of("isreal-2") == region_of("israel-2") == "israel-2" and region_of("tanzanipa-1") is None
    assert [shots_of("val", n) for n in (1, 5, 50, 51, 5000)] == [1, 1, 10, 11, 1000]


@ONLY
def test_a_patch(built) -> None:
    layout = PhilEO(built.root, "test")
    index = next(i for i, item in enumerate(layout.items) if item.id == "isreal-1_0_test:000001")
    sample = layout.read(index)
    stored = np.load(built.root / "isreal-1_0_test_s2.npy")[1]
    np.testing.assert_array_equal(sample.cube.pixels[0], stored.transpose(2, 0, 1))
    assert tuple(b.name for b in sample.cube.bands) == BANDS and BANDS.index("B08") == 3
    assert not sample.cube.valid[0, :, 0, :3].any() and sample.cube.valid[0, :, 1:].all()
    assert sample.group == "isreal-1_0" and sample.target.max() == 10 and sample.target.min() == 0


@ONLY
def test_a_folder_named_s2_is_no_trap(built, tmp_path: Path) -> None:
    # Published code replaces 's2' in the whole path and then finds no label.
    other = tmp_path / "s2_patches"
    shutil.copytree(built.root, other)
    here, there = PhilEO(built.root), PhilEO(other)
    assert [i.id for i in here.items] == [i.id for i in there.items]
    np.testing.assert_array_equal(here.read(0).target, there.read(0).target)


@ONLY
def test_the_misspelt_region_is_in_the_test_set_unless_asked(built) -> None:
    right = {i.group for i in PhilEO(built.root, "test").items}
    published = {i.group for i in PhilEO(built.root, "test", published_typo=True).items}
    assert right - published == {"tanzania-1_0"}
    # The misspelling touches the test set alone.
    assert len(PhilEO(built.root, "train").items) == len(
        PhilEO(built.root, "train", published_typo=True).items
    )


@ONLY
def test_shots_are_the_published_draw(built) -> None:
    train, val = PhilEO(built.root, "train", shots=5), PhilEO(built.root, "val", shots=5)
    # europe (18 patches of train), east-africa (12), northwest-africa and japan (6 each).
    assert (len(train.items), len(val.items)) == (4 * 5, 4 * 1)
    # The bucket's regions in its order, files sorted by their whole names: "europe_10_" comes before "europe_1_".
    regions = ("europe_10", "europe_1", "denmark-1_0")
    want = {f"{regions[i // 6]}_train:{i % 6:06d}" for i in random.Random(12345).sample(range(18), 5)}
    assert {i.id for i in train.items if i.id.startswith(("europe", "denmark"))} == want
    assert len(PhilEO(built.root, "train", shots=5000).items) == 7 * 6
    assert len(PhilEO(built.root, "test", shots=1).items) == 7 * 2


@ONLY
def test_shots_of_density_prefer_patches_that_have_some(built) -> None:
    layout = PhilEO(built.root, "train", shots=4, task="building")
    means = [float(layout.read(i).target.mean()) for i in range(len(layout.items))]
    assert len(means) == 4 * 4 and np.mean([m > 0.005 for m in means]) > 0.5

    def mean(i: int) -> float:
        return 0.0 if i % 2 else 1.0

    # A plain form of the walk: full patches always, empty ones with a chance of a quarter.
    chance, want = random.Random(156), []
    for i in random.Random(12345).sample(range(50), 50):
        if len(want) < 12 and (i % 2 == 0 or chance.random() < 0.25):
            want.append(i)
    assert draw("train", 50, 12, mean) == want


@ONLY
def test_stored_indices_are_the_last_word(built, tmp_path: Path) -> None:
    path = tmp_path / "indices.json"
    table = {
        b: {
            "train_indices": [2, 1],
            "val_indices": [0],
            "length_multi_array_train": n,
            "length_multi_array_val": m,
        }
        for b, n, m in (
            ("europe", 18, 9),
            ("east-africa", 12, 6),
            ("northwest-africa", 6, 3),
            ("japan", 6, 3),
        )
    }
    path.write_text(json.dumps(table))
    layout = PhilEO(built.root, "train", shots=2, indices=str(path))
    assert [i.id for i in layout.items if "japan" in i.id] == ["japan_2_train:000001", "japan_2_train:000002"]
    table["japan"]["length_multi_array_train"] = 33591
    path.write_text(json.dumps(table))
    with pytest.raises(InputError, match="is for 33591 patches in bucket japan, the folder has 6"):
        PhilEO(built.root, "train", shots=2, indices=str(path))
    with pytest.raises(ConfigError, match="indices are for shots"):
        PhilEO(built.root, "train", indices=str(path))


@ONLY
def test_the_scale_of_density_is_stated_never_guessed(built) -> None:
    layout = PhilEO(built.root, "test", task="building")
    index = next(i for i, item in enumerate(layout.items) if item.id.endswith("1"))
    target = layout.read(index).target
    stored = np.load(layout.items[index].where.replace("_s2.npy", "_label_building.npy"))[1, ..., 0]
    assert target.dtype == np.float32
    np.testing.assert_allclose(target, stored / 100, rtol=1e-6)
    with pytest.raises(InputError, match="0 to 1 is stated; state label_scale"):
        PhilEO(built.root, "test", task="building", label_scale="fraction").read(index)
    with pytest.raises(ConfigError, match="'bits' is unknown"):
        PhilEO(built.root, label_scale="bits")


@ONLY
def test_whole_tiles(built, tif_writer, real_pixels) -> None:
    folder = built.root / "tif"
    planes = real_pixels(11, 50, 60, 0)
    planes[0] = 4
    planes[0, 0], planes[0, 1] = 0, 9
    tif_writer(folder / "japan_7.tif", planes)
    tif_writer(folder / "japan_7_label_lc.tif", np.full((50, 60), 40, np.uint8))
    layout = PhilEO(folder, form="tif", mask_clouds=True)
    sample = layout.read(0)
    assert [i.id for i in layout.items] == ["japan_7"] and (sample.target == 3).all()
    np.testing.assert_array_equal(sample.cube.pixels[0], planes[1:])
    assert not sample.cube.valid[:, :, :2].any() and sample.cube.valid[:, :, 2:].all()
    assert PhilEO(folder, form="tif").read(0).cube.valid[:, :, 1:].all()


@ONLY
def test_arrays_that_do_not_belong_together(built) -> None:
    layout = PhilEO(built.root, "val")
    np.save(built.root / "japan_2_val_label_lc.npy", np.ones((4, 128, 128, 1), np.uint8))
    index = next(i for i, item in enumerate(layout.items) if "japan" in item.id)
    with pytest.raises(InputError, match="holds 4 patches, the images 3"):
        layout.read(index)
    np.save(built.root / "atlantis_1_val_s2.npy", np.ones((1, 128, 128, 10), np.uint16))
    with pytest.raises(InputError, match="'atlantis' is no region"):
        PhilEO(built.root)
