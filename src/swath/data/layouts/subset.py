"""Some items of a layout, as a layout: nothing of the others can be read through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from swath.cube import Sample
from swath.data.layouts.base import Item, Layout, LayoutInfo


class Subset:
    """Items of a layout by their indices.

    Args:
        layout: the whole.
        index: of the items, in the order that they are to have.
    """

    info: ClassVar[LayoutInfo]

    def __init__(self, layout: Layout, index: Sequence[int]) -> None:
        self._layout, self._index = layout, tuple(index)
        self._items = tuple(layout.items[i] for i in self._index)
        # Layouts describe themselves on their class; this one is what it is made of.
        self.__dict__["info"] = layout.info

    @property
    def items(self) -> Sequence[Item]:
        """Those that were chosen."""
        return self._items

    def read(self, index: int) -> Sample:
        """Record number `index` of the chosen ones."""
        return self._layout.read(self._index[index])
