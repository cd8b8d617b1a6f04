from __future__ import annotations

import pytest

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


def test_every_error_is_foveates_own() -> None:
    assert issubclass(UnknownVariantError, FoveateError)
