"""``foveate rollback``: the bundle before serves again."""

from __future__ import annotations

from pathlib import Path

import click

from foveate.core.config import to_dict
from foveate_cli.common import err, json_option, out, registry_option, user_at_host, write_json


@click.command(short_help="Let the bundle before serve again.")
@registry_option
@click.option("--to", help="Id of the bundle to go to, or how it begins. [default: the last good one before]")
@click.option("--because", default="", help="Why, for the history.")
@json_option
def command(*, registry: str, to: str | None, because: str, json_path: Path | None) -> None:
    """Let an earlier bundle of the registry serve again, at once and without a gate.

    Without --to it is the last one that served before the current one and was not itself rolled back from; its bytes
    are verified first, and a damaged one is passed over.
    """
    from foveate.releases import Releases  # noqa: PLC0415 - torch costs seconds that --help is spared

    entry = Releases(registry).rollback(to, who=user_at_host(), because=because, say=_say)
    out.print(f"serves   bundle {entry.bundle}, in place of {entry.before}", markup=False)
    write_json(json_path, {"action": entry.action, "bundle": entry.bundle, "entry": to_dict(entry)})


def _say(line: str) -> None:
    err.print(line, markup=False, soft_wrap=True)
