"""``foveate serve``: answers over HTTP until Ctrl-C."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from foveate_cli.common import address_option, config_options, folder, news, out, read_config, stoppable


@click.command(short_help="Answer over HTTP with Ray Serve.")
@folder("--bundle", "The bundle to serve.")
@folder("--state", "Viewers' events and impressions. Default: <bundle>.state.sqlite beside the bundle.", required=False)
@click.option("--host", help="Where to listen; 0.0.0.0 opens it to the network. Default: 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one. Default: 8000.")
@click.option("--replicas", type=click.IntRange(1), help="Copies of each deployment. Default: 1.")
@address_option
@config_options
def command(
    *,
    bundle: Path,
    state: Path | None,
    host: str | None,
    port: int | None,
    replicas: int | None,
    address: str | None,
    config: Path | None,
    overrides: Sequence[str],
) -> None:
    """Serve a bundle over HTTP with Ray Serve: an ingress, a retriever, and a ranker that chooses the slate.

    Stays up until Ctrl-C. Settings come from --config and KEY=VALUE, such as ranker.replicas=2 or deadline_ms=500.
    A running server takes a new bundle without a restart: serve it with --address of the same cluster.
    """
    from foveate_serve.app import start  # noqa: PLC0415 - Ray takes long to import
    from foveate_serve.config import ServeConfig  # noqa: PLC0415

    options = {"host": host, "port": port}
    options |= {f"{name}.replicas": replicas for name in ("ingress", "retriever", "ranker")}
    # Options come before KEY=VALUE, so that the more special one wins.
    given = [f"{name}={value}" for name, value in options.items() if value is not None]
    settings = read_config(ServeConfig, config, [*given, *overrides])
    with stoppable(), start(bundle, state, settings, address=address, progress=_say) as url, stoppable():
        out.print(f"serving at {url} (try {url}/docs); Ctrl-C stops", markup=False)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
        _say("stopping")


def _say(line: str) -> None:
    news.print(line, markup=False, style="dim")
