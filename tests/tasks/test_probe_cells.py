from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.tasks.config import IGNORE
from swath.tasks.probe_cells import cells, class_counts, value_means
from swath.tasks.probe_linear import class_probes, value_probes


@settings(max_examples=15)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(0, 1000))
def test_counts_and_means_are_those_of_a_loop(height, width, stride, seed):
    draw = torch.Generator().manual_seed(seed)
    target = torch.randint(IGNORE, 3, (2, height, width), generator=draw)
    values = torch.where(target == IGNORE, torch.nan, torch.rand(2, height, width, generator=draw))
    counts = class_counts(target, 3, stride)
    means, known = value_means(values[:, None], stride)
    for b in range(2):
        for r in range(0, height, stride):
            for c in range(0, width, stride):
                part = target[b, r : r + stride, c : c + stride]
                here = (b, r // stride, c // stride)
                assert counts[here].tolist() == [int((part == k).sum()) for k in range(3)]
                some = values[b, r : r + stride, c : c + stride]
                some = some[torch.isfinite(some)]
                assert int(known[here]) == len(some)
                if len(some):
                    torch.testing.assert_close(means[here][0], some.double().mean())
                else:
                    assert torch.isnan(means[here]).all()


def test_levels_stand_beside_each_other_on_the_finest_grid():
    fine, coarse = torch.rand(1, 2, 6, 5), torch.rand(1, 3, 3, 3)
    out = cells([fine, coarse], [4, 8])
    assert out.shape == (1, 6, 5, 5)
    torch.testing.assert_close(out[..., :2], fine.movedim(1, -1))
    # The centre of a coarse cell lies between four fine ones.
    torch.testing.assert_close(
        out[0, 2:4, 2:4, 2:].mean((0, 1)), cells([coarse], [8])[0, 1, 1], atol=0.3, rtol=0
    )


def test_a_probe_of_cells_is_the_probe_of_all_their_pixels():
    draw = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 4, 3, 3, generator=draw, dtype=torch.float64)
    target = torch.randint(IGNORE, 3, (2, 12, 12), generator=draw)
    rows, counts = cells([maps], [4]).flatten(0, 2), class_counts(target, 3, 4).flatten(0, 2)
    (ours,) = class_probes(rows, counts, [0.01])
    whole = maps.repeat_interleave(4, 2).repeat_interleave(4, 3).movedim(1, -1).flatten(0, 2)
    each = torch.nn.functional.one_hot(target.clamp(min=0), 3) * (target != IGNORE)[..., None]
    # Unlabelled pixels are rows of nothing, which only the scaling would notice: leave them in neither.
    assert (counts.sum(1) > 0).all()
    (plain,) = class_probes(whole, each.flatten(0, 2), [0.01])
    torch.testing.assert_close(ours(rows).softmax(1), plain(rows).softmax(1), atol=0.03, rtol=0)
    values = torch.where(target == IGNORE, torch.nan, target.double())[:, None]
    means, known = value_means(values, 4)
    (a,) = value_probes(rows, means.flatten(0, 2), [0.01], known.flatten(0, 2))
    (b,) = value_probes(whole, values.movedim(1, -1).flatten(0, 2), [0.01])
    torch.testing.assert_close(a(rows), b(rows), atol=1e-4, rtol=1e-4)
