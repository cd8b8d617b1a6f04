"""Every error that Foveate raises on purpose.

::

    FoveateError
    ├── ConfigError          a setting is unknown, mistyped or impossible
    │   └── UnknownVariantError   a registry has no variant of that name
    ├── DataError            a dataset or a raw log cannot be used
    │   ├── SchemaError      a table misses columns or holds wrong types: all faults at once
    │   │   └── UnknownColumnsError   nothing tells which column holds viewers, which holds items
    │   └── ReaderError      a raw file is absent, truncated or in another encoding
    ├── OutputExistsError    the output path already holds something
    ├── BundleError          a bundle is absent, altered or from another schema
    ├── ReleaseError         a bundle cannot be judged, promoted or rolled back to
    ├── StateError           a viewer store or an impression store cannot be used
    ├── StorageError         a disk is full or a store does not answer any more, in the midst of work
    ├── TrainingError        training cannot start or went wrong (nothing to learn from, a loss that is not finite)
    ├── ServingError         serving cannot start, or did not come up
    └── RequestError         a request is malformed or names something unknown
        └── NotFoundError    the item, viewer or request is not known

Each message names the fault, the place and the remedy. All are the user's to mend: the command line prints them
as one line and exits with status 2. A bug in Foveate raises something else and keeps its traceback.
"""

from __future__ import annotations


class FoveateError(Exception):
    """The base of the tree.

    Examples
    --------
    >>> import foveate
    >>> try:
    ...     foveate.read("no-such-folder")
    ... except foveate.FoveateError as error:
    ...     print(error)
    'no-such-folder' does not exist; name the folder or file that holds the log
    """


class ConfigError(FoveateError):
    """A setting is unknown, mistyped or impossible."""


class UnknownVariantError(ConfigError):
    """A registry has no variant of that name."""


class DataError(FoveateError):
    """A dataset or a raw log cannot be used."""


class SchemaError(DataError):
    """A table misses columns or holds wrong types.

    Parameters
    ----------
    table
        Name of the table, such as ``events``.
    faults
        One line a fault, with row counts and examples; all of them are reported at once.
    """

    def __init__(self, table: str, faults: list[str]) -> None:
        self.table = table
        self.faults = tuple(faults)
        super().__init__(f"table '{table}': " + "; ".join(faults))


class UnknownColumnsError(SchemaError):
    """Nothing tells which columns of a log hold viewers and items.

    Parameters
    ----------
    table, faults
        As of :class:`SchemaError`.
    columns
        Their column, a value of it, ours that it is taken for, and how that is known; the last two may be empty.
    """

    def __init__(self, table: str, faults: list[str], columns: list[tuple[str, str, str, str]]) -> None:
        super().__init__(table, faults)
        self.columns = tuple(columns)


class ReaderError(DataError):
    """A raw file is absent, truncated or in another encoding."""


class OutputExistsError(FoveateError):
    """The output path already holds something; Foveate never overwrites."""


class BundleError(FoveateError):
    """A bundle is absent, altered or from another schema."""


class ReleaseError(FoveateError):
    """A bundle cannot be judged, promoted or rolled back to."""


class StateError(FoveateError):
    """A viewer store or an impression store cannot be used."""


class StorageError(FoveateError):
    """A disk is full or a store does not answer any more, in the midst of work."""


class TrainingError(FoveateError):
    """Training cannot start or went wrong."""


class ServingError(FoveateError):
    """Serving cannot start, or did not come up."""


class RequestError(FoveateError):
    """A request is malformed or names something unknown."""


class NotFoundError(RequestError):
    """The item, viewer or request is not known."""
