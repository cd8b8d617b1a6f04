"""What a bundle's card says first of what was measured."""

from __future__ import annotations

import pytest

from foveate.bundle import Bundle
from foveate.bundle.card import card, warning
from foveate_cli.train import show


def metrics(**ndcg: float) -> dict[str, dict[str, dict[str, float]]]:
    return {"validation": {name.replace("_", "-"): {"ndcg@10": value} for name, value in ndcg.items()}}


def test_two_stages_that_do_not_win_are_warned_of() -> None:
    said = warning(metrics(two_stage=0.35, blend=0.40, popularity=0.37, slate=0.5))
    assert said is not None
    assert said.startswith("two-stage does not beat blend on validation: ndcg@10 0.3500 against 0.4000")
    assert warning(metrics(two_stage=0.4, blend=0.4)) is not None
    assert warning(metrics(two_stage=0.41, blend=0.4, slate=0.5)) is None
    assert warning(metrics(two_stage=0.41)) is None
    assert warning(metrics(blend=0.4)) is None
    assert warning({}) is None


def test_the_card_and_the_verb_warn(small_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    beaten = small_bundle.manifest.__class__(
        **{**vars(small_bundle.manifest), "metrics": metrics(two_stage=0.1, popularity=0.2)}
    )
    assert "> **Warning.** Two-stage does not beat popularity" in card(beaten, small_bundle.model)
    assert "**Warning.**" not in card(small_bundle.manifest, small_bundle.model)
    show(Bundle(small_bundle.path, beaten, small_bundle.model))
    assert "warning     two-stage does not beat popularity" in capsys.readouterr().out
