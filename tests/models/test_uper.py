from __future__ import annotations

import torch

from swath.models.uper import Branch, UperDecoder, enlarge


def test_branches_and_decoder_keep_the_promised_shapes() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 16, 3, 5)
    outs = (32, 64, 96, 32)
    maps = [Branch(16, 32, out, f, 0.0)(x) for out, f in zip(outs, (8, 4, 2, 1), strict=True)]
    assert [tuple(m.shape) for m in maps] == [
        (2, 32, 24, 40),
        (2, 64, 12, 20),
        (2, 96, 6, 10),
        (2, 32, 3, 5),
    ]
    out = UperDecoder(outs, 16, 0.0)(maps)
    assert out.shape == (2, 16, 24, 40)
    out.sum().backward()


def test_enlarging_aligns_corners() -> None:
    x = torch.randn(1, 2, 3, 3)
    big = enlarge(x, (9, 9))
    torch.testing.assert_close(big[..., ::8, ::8], x[..., ::2, ::2])
    assert enlarge(x, (3, 3)) is x


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    decoder = UperDecoder((16, 16, 16, 16), 16, 0.5)
    maps = [torch.randn(1, 16, 2 * f, 2 * f) for f in (8, 4, 2, 1)]
    assert not torch.equal(decoder(maps), decoder(maps))
    decoder.eval()
    assert torch.equal(decoder(maps), decoder(maps))
