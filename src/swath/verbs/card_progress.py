"""What a person sees while a card is made: which command is done, and about how long the others will take."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from statistics import mean

from swath.training.progress import duration
from swath.verbs.card_plan import Cell, cell_runs
from swath.verbs.run_many import Answer, Run
from swath.words import counted

log = logging.getLogger(__name__)
_TRAINS = "finetune"


class Pace:
    """Tells each command that is done, with the time that is left.

    Args:
        cells: of the card.
        kept: answers from before, by the name of their command: they take no time, and are told once, together.
        jobs: commands at a time.
    """

    def __init__(self, cells: Sequence[Cell], kept: Mapping[str, Answer], jobs: int) -> None:
        self._runs = cell_runs(cells)
        self._alike = {r.name: (c.method, c.encoder, r.words[0]) for c in cells for r in c.runs}
        self._kept, self._jobs = kept, jobs
        self._seconds = {name: answer.seconds for name, answer in kept.items()}
        if kept:
            log.info("%s kept from before", counted(len(kept), "answer"))

    def tell(self, done: int, of: int, run: Run, answer: Answer) -> None:
        """One more is done; as `run_all` calls it."""
        if run.name in self._kept:
            return
        self._seconds[run.name] = answer.seconds
        left = self.left()
        more = "" if not left else f", about {_roughly(left)} left"
        log.info("%d/%d %s: %s%s", done, of, run.name, duration(answer.seconds), more)

    def left(self) -> float | None:
        """Seconds until all is done, as if the others took as long as those like them; None: none like them is done.

        Those of the same method and encoder are most alike, then those of the same verb. Before a network was trained
        nothing is known of trainings, which take the longest.
        """
        todo = [r for r in self._runs if r.name not in self._seconds]
        found = [self._guess(run) for run in todo]
        if any(guess is None for guess in found):
            return None
        return sum(g for g in found if g is not None) / self._jobs

    def _guess(self, run: Run) -> float | None:
        same = [s for name, s in self._seconds.items() if self._alike.get(name) == self._alike[run.name]]
        verb = run.words[0]
        near = [s for name, s in self._seconds.items() if self._alike.get(name, ("", "", ""))[2] == verb]
        some = same or near or (list(self._seconds.values()) if verb != _TRAINS else [])
        return mean(some) if some else None


def _roughly(seconds: float) -> str:
    """A guess has no seconds beside minutes."""
    return f"{seconds / 60:.0f} min" if 90 <= seconds < 3570 else duration(seconds)
