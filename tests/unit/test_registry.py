from __future__ import annotations

from pathlib import Path

import pytest

import foveate.retrieval
from foveate.core.errors import FoveateError, UnknownVariantError
from foveate.core.registry import Registry
from foveate.data.catalog import Catalog
from foveate.retrieval.base import SourceConfig


def test_variants_are_found_by_name() -> None:
    assert "popularity" in SourceConfig.variants
    assert SourceConfig.variants["popularity"].name == "popularity"
    assert list(SourceConfig.variants) == sorted(SourceConfig.variants)
    assert len(SourceConfig.variants) == len(list(SourceConfig.variants.items()))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        UnknownVariantError, match=r"no source is called 'popularty'. Did you mean 'popularity'\?.*Known:"
    ):
        SourceConfig.variants["popularty"]


def test_a_package_without_variants_is_empty() -> None:
    registry: Registry[Catalog] = Registry("catalog", Catalog, "foveate.data")
    assert len(registry) == 0


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("x = 1\ndef broken(:\n", "line 2, SyntaxError: invalid syntax"),
        ("import os\nimport no_such_package\n", "line 2, ModuleNotFoundError: No module named 'no_such_package'"),
        ("from foveate.core.errors import NoSuchError\n", "line 1, ImportError: cannot import name 'NoSuchError'"),
        ("def half(x):\n    return 1 / x\n\nHALF = half(0)\n", "line 2, ZeroDivisionError: division by zero"),
    ],
)
def test_a_broken_file_is_named_and_leaves_the_others_to_work(
    code: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fading.py").write_text(code)
    monkeypatch.setattr("foveate.retrieval.__path__", [*foveate.retrieval.__path__, str(tmp_path)])
    registry = Registry("source", SourceConfig, "foveate.retrieval")
    assert set(registry) == set(SourceConfig.variants)
    assert registry["popularity"].name == "popularity"
    (file,) = registry.broken
    assert file == str(tmp_path / "fading.py")
    assert registry.broken[file].startswith(fault)
    assert registry.broken[file].endswith("; mend it, or move it out of the folder")
    with pytest.raises(UnknownVariantError, match=f"'{file}' cannot be read: {fault.split(':', maxsplit=1)[0]}"):
        registry["fading"]


def test_every_error_is_foveates_own() -> None:
    assert issubclass(UnknownVariantError, FoveateError)
