"""The errors a person sees: one line that says where, what, and the mend.

Every error that user input can cause is a `SwathError`; the command line prints it and exits with code 2.
Anything else that escapes is a bug in swath.
"""

from __future__ import annotations


class SwathError(Exception):
    """A problem the user can mend.

    Args:
        what: what is wrong, in the field's words ("band B8A is missing").
        where: the file, key or option it concerns.
        mend: what to do about it, as an instruction.
    """

    def __init__(self, what: str, *, where: object | None = None, mend: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.mend = mend
        line = what if self.where is None else f"{self.where}: {what}"
        if mend is not None:
            line = f"{line}; {mend}"
        # Messages quoted from other libraries may hold line breaks; a user's error is one line.
        super().__init__(" ".join(line.split()))

    def __reduce__(self) -> tuple[object, ...]:
        """Errors of other processes come with their parts, too."""
        return _again, (type(self), self.what, self.where, self.mend)


class InputError(SwathError):
    """A file or its pixels cannot be used as they are."""


class ReadError(InputError):
    """A window of an input cannot be read, after all retries that make sense; other windows may be fine."""


class ContractError(SwathError):
    """A cube does not fit what a model eats, and no exact conversion exists."""


class ConfigError(SwathError):
    """An option or a configuration file is wrong."""


class WeightsError(SwathError):
    """A weights file is damaged, of another kind, or does not fit the model."""


class OutputError(SwathError):
    """An output exists already or cannot be written."""


def _again(kind: type[SwathError], what: str, where: str | None, mend: str | None) -> SwathError:
    return kind(what, where=where, mend=mend)
