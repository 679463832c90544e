from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from swath.bands import sensor
from swath.contract import BandSpec, InputContract
from swath.cube import CubeBatch, Encoding
from swath.errors import InputError
from swath.training.features import FrozenFeatures
from swath.training.features_cache import FeatureCache, digest

BANDS = sensor("sentinel2").select(("B02", "B03", "B04"))
CONTRACT = InputContract(bands=tuple(BandSpec(b) for b in BANDS), encoding=Encoding("reflectance"))


def batch(seed: int = 0, count: int = 2) -> CubeBatch:
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.rand(count, 1, 3, 8, 8, generator=draw)
    valid = torch.rand(count, 1, 3, 8, 8, generator=draw) < 0.9
    return CubeBatch(
        pixels,
        valid,
        BANDS,
        torch.full((count, 1, 2), torch.nan),
        torch.ones(count, 3),
        torch.zeros(count, 3),
        tuple(f"{seed}-{i}" for i in range(count)),
    )


class Counting:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, given: CubeBatch) -> FrozenFeatures:
        self.calls += 1
        mean = given.pixels.mean(dim=(1, 3, 4))
        return FrozenFeatures(mean, (given.pixels[:, 0], given.pixels[:, 0, :, ::2, ::2]), (1, 2))


def test_features_are_computed_once_and_come_back_bit_for_bit(tmp_path):
    compute = Counting()
    first = FeatureCache(tmp_path, "w", CONTRACT, {"maps": True})
    made, _ = first.get(batch(), compute)
    again = FeatureCache(tmp_path, "w", CONTRACT, {"maps": True})
    found, _ = again.get(batch(), compute)
    assert compute.calls == 1 and (first.computed, again.kept, again.computed) == (1, 1, 0)
    assert torch.equal(found.pooled, made.pooled) and found.strides == made.strides
    assert all(torch.equal(a, b) for a, b in zip(found.maps, made.maps, strict=True))


def test_whatever_changes_is_computed_anew_and_nothing_else(tmp_path):
    compute = Counting()
    FeatureCache(tmp_path, "w", CONTRACT, {}).get(batch(), compute)
    one = batch()
    changed = [
        FeatureCache(tmp_path, "other", CONTRACT, {}),
        FeatureCache(tmp_path, "w", replace(CONTRACT, gsd=10.0), {}),
        FeatureCache(tmp_path, "w", CONTRACT, {"precision": "bf16"}),
    ]
    for n, cache in enumerate(changed, start=2):
        cache.get(one, compute)
        assert compute.calls == n
    same = FeatureCache(tmp_path, "w", CONTRACT, {})
    pixels = one.pixels.clone()
    where = one.valid.nonzero()[0].tolist()
    pixels[tuple(where)] += 1e-6
    days = torch.zeros_like(one.days)
    for other in (
        replace(one, pixels=pixels),
        replace(one, gain=one.gain * 2),
        replace(one, ids=("x", "y")),
        replace(one, days=days),
        replace(one, valid=torch.ones_like(one.valid)),
    ):
        before = compute.calls
        same.get(other, compute)
        assert compute.calls == before + 1
    # A target, and what an invalid pixel holds, are nothing to an encoder.
    hidden = torch.where(one.valid, one.pixels, torch.nan)
    assert digest(replace(one, pixels=hidden, target=torch.zeros(2))) == digest(one)


def test_a_run_that_was_stopped_goes_on(tmp_path):
    compute = Counting()
    cache = FeatureCache(tmp_path, "w", CONTRACT, {})
    cache.get(batch(0), compute)

    def killed(given: CubeBatch) -> FrozenFeatures:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get(batch(1), killed)
    for seed in range(3):
        cache.get(batch(seed), compute)
    assert compute.calls == 3 and (cache.computed, cache.kept) == (3, 1)
    assert [p for p in tmp_path.rglob("*") if p.name.endswith(".tmp")] == []


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "swap"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, harm):
    cache = FeatureCache(tmp_path, "w", CONTRACT, {})
    cache.get(batch(0), Counting())
    (file,) = tmp_path.rglob("*.safetensors")
    data = bytearray(file.read_bytes())
    if harm == "flip":
        data[-3] ^= 1
    elif harm == "cut":
        data = data[:-7]
    elif harm == "empty":
        data = bytearray()
    else:  # another batch's file, whole in itself
        file.unlink()
        cache.get(batch(1), Counting())
        (other,) = tmp_path.rglob("*.safetensors")
        data = bytearray(other.read_bytes())
    file.write_bytes(data)
    with pytest.raises(InputError, match="damaged; delete it"):
        cache.get(batch(0), Counting())
