"""The exceptions that name whose fault it is: the file's, the request's or the machine's."""

from __future__ import annotations

from os import PathLike, fspath


class TropillaError(Exception):
    """Report a problem that the user can act on; its text is one clear sentence with the next step."""

    exit_status = 1


class FormatError(TropillaError):
    """Report bad bytes in a file: says which file and, where known, the byte offset."""

    def __init__(self, path: str | PathLike[str], message: str, offset: int | None = None) -> None:
        self.path = fspath(path)
        self.offset = offset
        where = self.path if offset is None else f"{self.path} at byte {offset}"
        super().__init__(f"{where}: {message}")


class UnsupportedError(TropillaError):
    """Report something valid that Tropilla does not do, such as an architecture or a tensor type."""


class OptionError(TropillaError):
    """Report an option that is unknown, out of range or at odds with another."""

    exit_status = 2


class CapacityError(TropillaError):
    """Report that something will not fit; both sizes are in the unit that the message names."""

    def __init__(self, message: str, *, needed: int, available: int) -> None:
        self.needed = needed
        self.available = available
        super().__init__(message)


class DataError(TropillaError):
    """Report a bad record in a data file: says which file and line."""

    def __init__(self, path: str | PathLike[str], message: str, line: int | None = None) -> None:
        self.path = fspath(path)
        self.line = line
        where = self.path if line is None else f"{self.path}, line {line}"
        super().__init__(f"{where}: {message}")


class RequestError(TropillaError):
    """Report a request that cannot be served as asked; a server answers it with a 4xx status."""


class PullError(TropillaError):
    """Report that a model could not be fetched, and what to do about it."""
