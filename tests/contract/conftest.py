"""``pytest tests/contract --variant NAME``: what one variant alone is asked, and what it is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from foveate.state.base import ViewerStore
from foveate.state.connect import open_viewers
from foveate_cli.variants import KINDS, registry_of


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--variant", metavar="NAME", help="run what is asked of the variants of that name alone")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is asked of other variants, and files that do not know the one."""
    name = config.getoption("variant", None)
    if name is None:
        return
    own = {item for item in items if name in set(_named(_parameters(item)))}
    if not own:
        broken = "".join(f"; '{file}' cannot be read: {fault}" for file, fault in broken_files().items())
        raise pytest.UsageError(f"no contract knows a variant called '{name}': 'foveate variants' lists all{broken}")
    files = {item.path for item in own}
    # What a file asks of no variant by itself compares them, or tests what they share.
    kept = [item for item in items if item in own or (item.path in files and not set(_named(_parameters(item))))]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


def broken_files() -> dict[str, str]:
    """Return the files of variants that cannot be imported, and why."""
    return {file: fault for kind in KINDS for file, fault in registry_of(kind).broken.items()}


def _parameters(item: pytest.Item) -> Iterable[Any]:
    call = getattr(item, "callspec", None)
    return call.params.values() if call else ()


def _named(values: Iterable[Any]) -> Iterable[str]:
    """Yield the names of the variants among a test's parameters: configs, classes, or names by themselves."""
    for value in values:
        if isinstance(value, tuple):
            yield from _named(value)
        name = value if isinstance(value, str) else getattr(value, "name", None)
        if isinstance(name, str):
            yield name


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The place of a store of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "store")
    address: str = request.getfixturevalue("redis_server").address()
    return address


@pytest.fixture
def state(store: str) -> Iterator[ViewerStore]:
    """What viewers did, in that store."""
    with open_viewers(store) as opened:
        yield opened
