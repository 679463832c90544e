"""What a run began with that its options do not say: the records it draws from, and the precision that was chosen.

It stands in every checkpoint, so that a run that goes on is the same run or says why it cannot be.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from swath.errors import InputError
from swath.feed.contents import Contents, difference
from swath.training.precision import Precision

log = logging.getLogger(__name__)
KEY = "began"
"""Where it stands in a checkpoint."""


@dataclass(frozen=True, eq=False)
class Began:
    """What is kept.

    Attributes:
        precision: name of it.
        learned: what the run draws from, set by set; empty: not known.
        held: what it is validated on; empty: nothing, or not known.
    """

    precision: str
    learned: tuple[Contents, ...] = ()
    held: tuple[Contents, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "precision": self.precision,
            "learned": [part.to_plain() for part in self.learned],
            "held": [part.to_plain() for part in self.held],
        }

    @classmethod
    def of(cls, checkpoint: Mapping[str, Any]) -> Began | None:
        """What a checkpoint says; None of one that was written before this was kept."""
        values = checkpoint.get(KEY)
        if values is None:
            return None
        learned, held = (tuple(map(Contents.from_plain, values[name])) for name in ("learned", "held"))
        return cls(values["precision"], learned, held)

    def check_same(self, learned: Sequence[Contents], held: Sequence[Contents], where: object) -> None:
        """Raises InputError if the data of a run that goes on are others than those it began with."""
        for name, then, now in (("training", self.learned, learned), ("validation", self.held, held)):
            said = difference(then, now) if then else ""
            if said:
                raise InputError(
                    f"the {name} data are not those that the run began with: {said}",
                    where=where,
                    mend="put them back as they were, or start a new run in another folder",
                )


def kept_precision(chosen: Precision, earlier: str | None) -> Precision:
    """What a run goes on in where "auto" would choose anew: as it began, so that its digits stay of one kind."""
    if earlier is None or earlier == chosen.name:
        return chosen
    log.warning(
        "training.precision auto would be %s here (%s), but the run began in %s and goes on in it",
        chosen.name,
        chosen.why,
        earlier,
    )
    return Precision(earlier, chosen.device, "the run began in it")
