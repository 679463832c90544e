from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from swath.tasks.losses import smoothed
from swath.tasks.mix import mix


def batch(seed: int, unlabelled: bool = False):
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.randn(4, 1, 2, 8, 6, generator=draw)
    valid = torch.rand(pixels.shape, generator=draw) < 0.8
    target = torch.tensor([0, 1, -1 if unlabelled else 2, 1])
    return torch.where(valid, pixels, 0.0), valid, smoothed(target, 3, 0.0)


@given(st.integers(0, 2**31), st.booleans(), st.booleans())
def test_shares_stay_shares_and_match_the_pixels(seed, cut, unlabelled):
    pixels, valid, shares = batch(seed, unlabelled)
    torch.manual_seed(seed)
    got, seen, mixed = mix(pixels, valid, shares, mixup=0.0 if cut else 0.8, cutmix=1.0 if cut else 0.0)
    labelled = shares.sum(1) > 0
    torch.testing.assert_close(mixed.sum(1), labelled.float())
    assert seen is not None
    for i in range(4):
        j = (i + 1) % 4
        if not (labelled[i] and labelled[j]):
            # Nothing to mix with: the record is as it was.
            assert (got[i] == pixels[i]).all() and (seen[i] == valid[i]).all()
            continue
        if shares[i].argmax() == shares[j].argmax():
            continue
        own = float(mixed[i, shares[i].argmax()])
        if cut:
            from_own = got[i] == pixels[i]
            from_other = got[i] == pixels[j]
            assert (from_own | from_other).all()
            # The patch is one box, and what it covers is what the other class gets.
            different = (pixels[i] != pixels[j]).any(0).any(0)
            taken = (got[i] != pixels[i]).any(0).any(0)
            assert int(taken.sum()) <= round((1 - own) * 48) + 1
            if different.all():
                assert int(taken.sum()) == round((1 - own) * 48)
        else:
            both = valid[i] & valid[j]
            assert (seen[i] == both).all() and (got[i][~both] == 0).all()
            blend = own * pixels[i] + (1 - own) * pixels[j]
            torch.testing.assert_close(got[i][both], blend[both], rtol=1e-4, atol=1e-5)


def test_equal_seeds_give_equal_mixes():
    pixels, valid, shares = batch(0)
    both = []
    for _ in range(2):
        torch.manual_seed(5)
        both.append(mix(pixels, valid, shares, mixup=0.8, cutmix=1.0))
    assert all(torch.equal(a, b) for a, b in zip(*both, strict=True))
