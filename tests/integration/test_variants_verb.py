"""``foveate variants`` lists what the registries hold."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from foveate.attention.base import MixerConfig
from foveate.encoder.model import EncoderConfig
from foveate.retrieval.base import SourceConfig
from foveate_cli.main import main
from foveate_cli.variants import KINDS


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["foveate", "variants", *arguments])
    main()


def test_one_kind_lists_its_variants_settings_and_sweeps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run(monkeypatch, "mixers", "--json", str(tmp_path / "mixers.json"))
    found = json.loads((tmp_path / "mixers.json").read_text())
    assert [variant["name"] for variant in found["mixers"]] == list(MixerConfig.variants)
    gated = next(variant for variant in found["mixers"] if variant["name"] == "gated")
    assert gated["settings"]["heads"] == {"type": "int", "default": 2}
    assert gated["search_space"]["by_channel"] == {"domain": "Choice", "values": [False, True]}
    assert gated["about"].startswith("Causal multi-head attention")
    shown = capsys.readouterr().out
    assert "sweep Choice [false, true]" in shown
    assert all(name in shown for name in MixerConfig.variants)


def test_settings_within_settings_are_shown_as_overrides_name_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "sources")
    shown = capsys.readouterr().out
    assert all(name in shown for name in SourceConfig.variants)
    assert any(line.split() == ["encoder.mixer", EncoderConfig().mixer.name] for line in shown.splitlines())


def test_without_a_kind_every_registry_is_listed_and_every_variant_says_what_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(monkeypatch, "--json", str(tmp_path / "all.json"))
    found = json.loads((tmp_path / "all.json").read_text())
    assert list(found) == list(KINDS)
    assert all(variants for variants in found.values())
    assert not [v["name"] for variants in found.values() for v in variants if not v["about"]]


@pytest.mark.parametrize(("word", "kind"), [("loss", "losses"), ("auxiliary", "auxiliaries"), ("input", "inputs")])
def test_a_kind_may_be_named_in_the_singular(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], word: str, kind: str
) -> None:
    run(monkeypatch, word)
    assert capsys.readouterr().out.splitlines()[0] == kind


def test_an_unknown_kind_exits_2_with_one_line_that_names_the_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        run(monkeypatch, "mixturs")
    assert exit_.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert all(kind in line for kind in KINDS)
