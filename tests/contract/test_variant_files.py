"""Every file in the folder of a kind of variants can be imported."""

from __future__ import annotations

import pytest

from foveate_cli.variants import KINDS, registry_of


@pytest.mark.parametrize("kind", KINDS)
def test_no_file_of_variants_is_broken(kind: str) -> None:
    assert not registry_of(kind).broken
