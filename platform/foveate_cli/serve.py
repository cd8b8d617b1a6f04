"""``foveate serve``: answers over HTTP until Ctrl-C."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foveate.core.errors import ConfigError, ReleaseError
from foveate_cli.common import (
    address_option,
    config_options,
    err,
    folder,
    out,
    place,
    read_config,
    state_option,
)
from foveate_cli.local_servers import known
from foveate_cli.stopping import stoppable

if TYPE_CHECKING:
    from foveate.state.connect import StatePlace
    from foveate_serve.operations.running import Running


@click.command(short_help="Answer over HTTP with Ray Serve.")
@place("--bundle", "The bundle to serve; each node brings one at an address, such as s3://BUCKET/BUNDLE.")
@place("--follow", "Serve what this registry promotes, now and from then on, and go back where it is refused.")
@click.option("--every", type=click.FloatRange(0.1), default=5.0, show_default=True, help="Seconds between two looks.")
@folder(
    "--mirror", "Where the bundles of a registry at an address are copied to. Default: runs/followed.", required=False
)
@state_option("Viewers' events and impressions. Default: that of the registry, or the file beside the bundle.")
@click.option("--host", help="Where to listen; 0.0.0.0 opens it to the network. Default: 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one. Default: 8000.")
@click.option("--replicas", type=click.IntRange(1), help="Copies of each deployment. Default: 1.")
@folder("--keys", "Answer only to the API keys of this file; see 'foveate keys'. Default: to everyone.", required=False)
@address_option
@config_options
def command(
    *,
    bundle: str | None,
    follow: str | None,
    every: float,
    mirror: Path | None,
    state: str | None,
    host: str | None,
    port: int | None,
    replicas: int | None,
    keys: Path | None,
    address: str | None,
    config: Path | None,
    overrides: Sequence[str],
) -> None:
    """Serve a bundle over HTTP with Ray Serve: an ingress, a retriever, and a ranker that chooses the slate.

    Stays up until Ctrl-C. Settings come from --config and KEY=VALUE, such as ranker.replicas=2 or deadline_ms=500.
    A running server takes a new bundle without a restart: serve it with --address of the same cluster, or let it
    --follow a registry and promote the bundle there.
    """
    if (bundle is None) == (follow is None):
        raise ConfigError("name what to serve: either --bundle DIR or --follow REGISTRY")
    say = _timed()
    say("loading Ray and PyTorch")
    from foveate.releases.watch import watched  # noqa: PLC0415 - torch and Ray take long to import
    from foveate_serve.app import (  # noqa: PLC0415
        check_access,
        check_host,
        started,
    )
    from foveate_serve.config import ServeConfig  # noqa: PLC0415
    from foveate_serve.operations.follow import Follower, first_good  # noqa: PLC0415

    options = {"host": host, "port": port, "access.keys": keys}
    options |= {f"{name}.replicas": replicas for name in ("ingress", "retriever", "ranker")}
    settings = read_config(ServeConfig, config, overrides, options=options)
    check_host(settings)
    check_access(settings, _say)
    registry = watched(follow, mirror or Path("runs/followed")) if follow else None
    first = first_good(registry, _say) if registry else None
    live = state or (registry.state() if registry else None)
    with (
        stoppable(),
        started(
            first.place if first else bundle or Path(),
            live,
            settings,
            address=address,
            progress=say,
        ) as running,
        known(running.url(), running.dashboard),
        stoppable(),
    ):
        _remember(registry.folder if registry else _registry_of(bundle or ""), live)
        _tell(running, follow)
        with suppress(KeyboardInterrupt):
            if registry and first:
                stop = threading.Event()
                Follower(registry, running, first, _say, settings.start_timeout_s).watch(every, stop.wait)
            threading.Event().wait()
        _say("stopping")


def _registry_of(bundle: str) -> Path | None:
    from foveate.bundle import registry_of  # noqa: PLC0415 - as above
    from foveate.storage.transfer import is_address  # noqa: PLC0415 - as above

    return None if is_address(bundle) else registry_of(Path(bundle))


def _remember(registry: Path | None, state: StatePlace | None) -> None:
    """Say in the registry which store is the live one, so that the next promotion goes on with it."""
    from foveate.releases.viewer_state import remember_served, state_to_serve  # noqa: PLC0415 - as above

    if registry is None:
        return
    try:
        remember_served(registry, state or state_to_serve(registry))
    except ReleaseError as error:
        _say(f"the next promotion has to be told of viewers' state with --state: {error}")


def _tell(running: Running, follow: str | None) -> None:
    url = running.url()
    out.print(f"serving at {url} (try {url}/docs); Ctrl-C stops", markup=False)
    if follow:
        out.print(f"following {follow}", markup=False)
    _say(f"metrics at {', '.join(running.metrics()) or 'no known address'}")


def _timed() -> Callable[[str], None]:
    """Return what prints a line with the seconds since now."""
    began = time.monotonic()
    return lambda line: _say(f"{time.monotonic() - began:5.1f} s  {line}")


def _say(line: str) -> None:
    err.print(line, markup=False, style="dim", soft_wrap=True)
