"""A server of this machine is found by its port, by its own user alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from foveate.core.errors import ConfigError
from foveate_cli.local_servers import dashboard_of, known


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        # Set and then taken away, so that they are put back as they were after the test.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tmp_path


def test_a_server_is_found_while_it_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    with known("http://127.0.0.1:8123", "http://127.0.0.1:8265"):
        [note] = (home / "foveate").iterdir()
        assert note.stat().st_mode & 0o777 == 0o600
        monkeypatch.delenv("RAY_AUTH_TOKEN")
        assert dashboard_of(8123) == "http://127.0.0.1:8265"
        assert (os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"]) == ("token", "secret")
        with pytest.raises(ConfigError, match="port 8124"):
            dashboard_of(8124)
    assert not list((home / "foveate").iterdir())
    with pytest.raises(ConfigError, match="port 8123"):
        dashboard_of(8123)


def test_a_server_runs_where_no_note_can_be_left(home: Path) -> None:
    (home / "foveate").write_text("in the way")
    with known("http://127.0.0.1:8123", "http://127.0.0.1:8265"):
        assert (home / "foveate").read_text() == "in the way"
