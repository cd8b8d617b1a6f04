"""The console script, called in the process of a test: starting one takes long."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from foveate_cli.main import main


@dataclass(frozen=True)
class Run:
    """What came of a call."""

    status: int
    out: str
    err: str


def console(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """Return what calls it with a verb and its words."""

    def run(*arguments: str) -> Run:
        monkeypatch.setattr(sys, "argv", ["foveate", *arguments])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        said = capsys.readouterr()
        return Run(status, said.out, said.err)

    return run
