"""What is printed on a narrow terminal, on a wide one and into a pipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from console import console
from foveate_cli.common import hanging, out

LONG = "recommendation console of the editors"


@pytest.fixture(params=[80, 120])
def terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """A terminal of so many columns."""
    monkeypatch.setattr(out, "_force_terminal", True)
    monkeypatch.setattr(out, "no_color", True)
    monkeypatch.setattr(out, "_color_system", None)
    monkeypatch.setattr(out, "_width", request.param)
    return int(request.param)


def test_a_line_is_wrapped_behind_its_head(terminal: int) -> None:
    text = " ".join(["sweep-1"] * 30)
    lines = hanging("        from        ", text).splitlines()
    assert max(map(len, lines)) <= terminal
    assert [line[:20] for line in lines] == ["        from        ", *[" " * 20] * (len(lines) - 1)]
    assert " ".join(line[20:] for line in lines) == text


def test_in_a_pipe_a_line_stays_one() -> None:
    assert hanging("from  ", "word " * 40) == "from  " + "word " * 40


def test_what_one_copies_of_a_list_of_keys_is_never_cut(
    terminal: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file = console(monkeypatch, capsys), str(tmp_path / "keys.json")
    made = [
        run("keys", "add", LONG, "--scope", "read", "--scope", "write", "--rate", "100/minute", "--file", file),
        run("keys", "add", "web", "--sessions", "--file", file),
    ]
    ids = [one.err.split()[1] for one in made]
    run("keys", "revoke", ids[0], "--file", file)
    shown = run("keys", "list", "--file", file).out
    lines = shown.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= terminal
    assert "…" not in shown
    assert all(any(line.startswith(one) for line in lines) for one in ids)
    assert "100/minute" in shown
