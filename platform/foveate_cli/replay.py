"""``foveate replay``: remakes a served slate from its record, and says whether it is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from foveate.bundle import Bundle
from foveate.core.errors import NotFoundError, StateError
from foveate.releases.viewer_state import state_of
from foveate.replay.served import Replay, replay
from foveate.state.connect import StatePlace, open_impressions, open_viewers
from foveate_cli.common import json_option, out, reads, state_option, write_json


@click.command(short_help="Remake a served slate and compare.")
@click.argument("request_id")
@state_option("What recorded the request. Default: see below.")
@reads("--bundle", "bundle", "The bundle that answered. Default: where it lay when it served.", required=False)
@json_option
def command(request_id: str, state: str | None, bundle: Path | None, json_path: Path | None) -> None:
    """Remake a served slate from its impression record and say whether it is the same.

    The record names the bundle, the moment, the seed and the version of the viewer's history; the state file remembers
    where each bundle lay when it was served. Without --state that of --bundle is read; without either, the
    files NAME.state.sqlite of this folder and its sub-folders are searched for the request.

    Items, places and sources must be equal, scores and features within 1e-5. Exit status: 0 the same, 1 different,
    2 the record, the file or the bundle cannot be used.
    """
    path: StatePlace = state or _find_state(request_id, bundle)
    with open_impressions(path, create=False) as impressions, open_viewers(path, create=False) as viewers:
        served = impressions.read(request_id)
        place = bundle or impressions.bundle_path(served.context.bundle_id)
        result = replay(served, Bundle.load(place), viewers)
    _print(result, place)
    write_json(json_path, _payload(result))
    if not result.same:
        raise click.exceptions.Exit(1)


def _find_state(request_id: str, bundle: Path | None) -> StatePlace:
    if bundle is not None:
        return state_of(bundle)
    local = Path()
    for path in sorted([*local.glob("*.state.sqlite"), *local.glob("*/*.state.sqlite")]):
        try:
            with open_impressions(path, create=False) as impressions:
                impressions.read(request_id)
        except (NotFoundError, StateError):
            continue
        return path
    raise NotFoundError(f"no state file of this folder or its sub-folders knows request '{request_id}': give --state")


def _print(result: Replay, bundle: Path) -> None:
    served = result.served
    about = f"request {served.request_id} for viewer {served.user_id}, bundle {served.bundle_id} at '{bundle}'"
    if result.same:
        out.print(f"the same: all {len(served.items)} items of {about}", markup=False)
        return
    out.print(f"different: {about}", markup=False)
    for line in result.differences:
        out.print(f"  {line}", markup=False)


def _payload(result: Replay) -> dict[str, Any]:
    return {
        "request_id": result.served.request_id,
        "user_id": result.served.user_id,
        "bundle_id": result.served.bundle_id,
        "same": result.same,
        "differences": list(result.differences),
        "served": [item.item_id for item in result.served.items],
        "remade": [item.item_id for item in result.remade.items],
    }
