"""Packages that not everybody needs: ``pip install 'foveate[EXTRA]'`` brings them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from foveate.core.errors import ConfigError


@contextmanager
def needs(package: str, extra: str) -> Iterator[None]:
    """Import something of an optional package in the block.

    Raises
    ------
    ConfigError
        The package is not installed; the message names the extra that brings it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise ConfigError(f"this needs the package '{package}': pip install 'foveate[{extra}]'") from error
