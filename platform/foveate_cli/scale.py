"""``foveate scale``: changes how many copies of each deployment answer, while they answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.table import Table

from foveate_cli.common import address_option, json_option, out, write_json
from foveate_cli.local_servers import dashboard_of, port_option


@click.command(short_help="Change a running server's replicas.")
@click.argument("sizes", nargs=-1, metavar="[NAME=COUNT]...")
@port_option
@address_option
@json_option
def command(*, sizes: Sequence[str], port: int, address: str | None, json_path: Path | None) -> None:
    """Have NAME, such as ingress, retriever or ranker, answer with COUNT copies from now on.

    Where the server was started with NAME.autoscaling.most=..., NAME=LEAST..MOST changes the bounds between which Ray
    Serve chooses by what there is to do, and NAME=LEAST..MOST@ONGOING aims at so many requests under way in each.
    Nothing is restarted. Without NAME=COUNT it shows how many there are.

    The server is the one that 'foveate serve' started on --port of this machine, or that of the cluster at --address.
    """
    dashboard = dashboard_of(port) if address is None else address
    from foveate_serve.operations.cluster import cluster  # noqa: PLC0415 - Ray takes long to import
    from foveate_serve.operations.running import Running  # noqa: PLC0415
    from foveate_serve.operations.scaling import scale, sizes_of  # noqa: PLC0415

    wanted = sizes_of(sizes)
    with cluster(dashboard) as found:
        scaled = scale(Running(found), wanted)
    table = Table(box=None, pad_edge=False)
    for name in ("deployment", "before", "now", "running"):
        table.add_column(name, justify="left" if name == "deployment" else "right")
    for one in scaled:
        table.add_row(one.deployment, str(one.before), str(one.now), str(one.running))
    out.print(table)
    late = [one.deployment for one in scaled if one.running < one.now.least]
    if late:
        out.print(f"not all copies answer yet: {', '.join(late)}", markup=False)
    rows = [
        {"deployment": one.deployment, "before": str(one.before), "now": str(one.now), "running": one.running}
        for one in scaled
    ]
    write_json(json_path, {"deployments": rows})
