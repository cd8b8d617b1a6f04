"""Variants that are found by name: adding one is adding a file to the right folder."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import traceback
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from types import ModuleType
from typing import ClassVar, Generic, TypeVar

from foveate.core.errors import UnknownVariantError
from foveate.core.space import Space

T = TypeVar("T")


class Variant:
    """Base of every frozen config that a registry finds by its ``name``.

    The base class of a kind (``MixerConfig``, ``SlatePolicy``, ...) sets ``variants``; each concrete class sets
    ``name``.
    """

    name: ClassVar[str]

    @classmethod
    def search_space(cls) -> Space:
        """Return the settings worth sweeping, each with its values."""
        return {}


class Registry(Generic[T]):
    """The variants of one kind, read from the modules of one package on first use.

    A module that cannot be imported leaves the others as they are: see :attr:`broken`.

    Parameters
    ----------
    kind
        What a variant is called in messages, such as ``mixer``.
    base
        The class that every variant derives from.
    package
        The package whose modules are searched, such as ``foveate.attention``.
    """

    def __init__(self, kind: str, base: type[T], package: str) -> None:
        self.kind = kind
        self._base = base
        self._package = package
        self._found: dict[str, type[T]] | None = None
        self._broken: dict[str, str] = {}

    @property
    def broken(self) -> Mapping[str, str]:
        """What is wrong with each file of the package that cannot be imported, by its path."""
        self._all()
        return self._broken

    def _all(self) -> dict[str, type[T]]:
        if self._found is None:
            self._found = dict(sorted(self._search()))
        return self._found

    def _search(self) -> Iterator[tuple[str, type[T]]]:
        package = importlib.import_module(self._package)
        for info in pkgutil.iter_modules(package.__path__):
            module = self._imported(f"{self._package}.{info.name}")
            for value in vars(module).values() if module else ():
                own = inspect.isclass(value) and value.__module__ == f"{self._package}.{info.name}"
                if own and issubclass(value, self._base) and isinstance(vars(value).get("name"), str):
                    yield value.name, value

    def _imported(self, name: str) -> ModuleType | None:
        try:
            return importlib.import_module(name)
        except Exception as error:
            spec = find_spec(name)
            file = str(spec.origin if spec else name)
            self._broken[file] = _fault(error, file)
            return None

    def __getitem__(self, name: str) -> type[T]:
        """Return the variant called ``name``.

        Raises
        ------
        UnknownVariantError
            No variant has that name; the message lists the known ones and the nearest.
        """
        try:
            return self._all()[name]
        except KeyError:
            near = difflib.get_close_matches(str(name), self._all(), n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            known = ", ".join(self._all())
            broken = "".join(f" '{file}' cannot be read: {fault}." for file, fault in self._broken.items())
            raise UnknownVariantError(f"no {self.kind} is called '{name}'.{hint} Known: {known}.{broken}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def items(self) -> Iterator[tuple[str, type[T]]]:
        """Yield ``(name, class)`` in the order of names."""
        yield from self._all().items()


def _fault(error: Exception, file: str) -> str:
    """Return what an import raised, in which line of the file, and what to do."""
    if isinstance(error, SyntaxError) and error.filename == file:
        line = error.lineno
    else:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        line = lines[-1] if lines else None
    place = f"line {line}, " if line else ""
    what = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return f"{place}{type(error).__name__}: {what}; mend it, or move it out of the folder"
