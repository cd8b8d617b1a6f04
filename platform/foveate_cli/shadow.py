"""``foveate shadow``: how a second bundle would have answered a running server's requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import httpx

from foveate.core.errors import ServingError
from foveate_cli.common import json_option, out, write_json

_TIMEOUT_S = 10.0


@click.command(short_help="Compare the shadow's slates with the served ones.")
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="Where the server answers.")
@click.option("--key", envvar="FOVEATE_KEY", help="API key, where the server asks for one. Default: FOVEATE_KEY.")
@json_option
def command(*, url: str, key: str | None, json_path: Path | None) -> None:
    """Show how the slates of the shadow differ from those that were served, over the newest thousand.

    A server has a shadow where it was started with one: foveate serve ... shadow.bundle=DIR shadow.share=0.05.
    """
    report = _asked(url, key)
    for line in _lines(report):
        out.print(line, markup=False)
    write_json(json_path, report)


def _asked(url: str, key: str | None) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.get(f"{url.rstrip('/')}/v1/shadow", headers=headers, timeout=_TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServingError(f"'{url}' does not answer: {error}") from error
    if answer.status_code == 404:
        raise ServingError(f"the server at '{url}' has no shadow: start it with shadow.bundle=DIR")
    if answer.status_code != 200:
        raise ServingError(f"the server at '{url}' answered {answer.status_code}: {answer.text[:200]}")
    report: dict[str, Any] = answer.json()
    return report


def _lines(report: dict[str, Any]) -> list[str]:
    if not report["compared"]:
        why = f": {report['problem']}" if report["problem"] else " yet"
        return [f"the shadow has compared nothing{why}"]
    score = "no item in common" if report["score_difference"] is None else f"{report['score_difference']:.4g}"
    lines = [
        f"shadow   bundle {report['bundle_id']}, {report['compared']:,} requests compared, {report['failed']:,} failed",
        f"overlap  {report['overlap']:.3f} of the items on the mean; {report['same']:,} slates are the same",
        f"scores   {score} apart on the mean",
        f"time     {report['shadow_took_ms']:.1f} ms, served in {report['took_ms']:.1f} ms",
    ]
    apart = [one for one in report["worst"] if one["overlap"] < 1]
    lines += [f"         {one['overlap']:.2f}  request {one['request_id']}" for one in apart]
    if report["problem"]:
        lines.append(f"problem  {report['problem']}")
    return lines
