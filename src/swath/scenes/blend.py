"""How overlapping windows become one map: separable weights that sum to one, and an accumulator.

Probabilities are blended, not logits: a mean of probabilities is itself a probability, so the confidence band
needs no second scaling, and one window that is extremely sure (a huge logit at its rim, where it sees the
least context) cannot outvote its neighbours, as it can when logits are averaged.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from swath.pages import pages
from swath.scenes.box import Box


def profile(window: int, overlap: int, trim: int, first: bool, last: bool) -> npt.NDArray[np.float64]:
    """[window]: unnormalised weights of a window along one axis.

    Nothing in the trimmed margin, rising linearly over what is left of the overlap, and one in between. On
    the side where the scene ends (`first`, `last`) there is no neighbour to fade into: weights stay one.
    """
    weight = np.ones(window)
    ramp = overlap - 2 * trim
    # Centres of pixels, so that the outermost weight is positive and two ramps cross at one half.
    inward = np.arange(window) - trim + 0.5
    rise = (inward > 0).astype(float) if ramp == 0 else np.clip(inward / ramp, 0.0, 1.0)
    if not first:
        weight *= rise
    if not last:
        weight *= rise[::-1]
    return weight


class Accumulator:
    """Sums weighted windows over one block.

    Every pixel gets its contributions in the order of `add`, so that equal windows in equal order give equal
    bits, whatever the block.
    """

    def __init__(self, values: int, box: Box, device: torch.device) -> None:
        self.box = box
        shape = values, box.height, box.width
        # On a CPU in pages of its own: in a heap it would hold up what batches free below it.
        own = device.type == "cpu"
        self.sum = torch.from_numpy(pages(shape, np.float32)) if own else torch.zeros(shape, device=device)

    def add(self, values: Tensor, window: Box, weight: Tensor) -> None:
        """Add values [V,h,w] of a window with weights [h,w]; what lies outside the block is left out."""
        _, height, width = self.sum.shape
        top, left = window.row - self.box.row, window.col - self.box.col
        y0, y1 = max(0, top), min(height, top + values.shape[1])
        x0, x1 = max(0, left), min(width, left + values.shape[2])
        if y0 >= y1 or x0 >= x1:
            return
        ys, xs = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
        self.sum[:, y0:y1, x0:x1].addcmul_(values[:, ys, xs], weight[ys, xs])
