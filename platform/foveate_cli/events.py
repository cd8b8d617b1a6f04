"""``foveate events``: what viewers did, from where others send it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from foveate_cli.common import json_option, out, state_option, telling, write_json
from foveate_cli.stopping import stoppable


@click.group(short_help="What viewers did: read it from a Kafka topic.")
def command() -> None:
    """Read what viewers did from where others send it, into the store that serves."""


@command.command("consume", short_help="Read a Kafka topic into a store.")
@click.argument("address", metavar="kafka://HOST:PORT/TOPIC")
@state_option("The store that serves; it may serve meanwhile.", required=True)
@click.option("--group", default="foveate", show_default=True, help="The consumer group, which shares the partitions.")
@click.option(
    "--kafka-config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Further settings of librdkafka, NAME=VALUE a line, such as a password.",
)
@click.option("--once", is_flag=True, help="End where the topic ends, instead of waiting for more.")
@json_option
def consume(
    *, address: str, state: str, group: str, kafka_config: Path | None, once: bool, json_path: Path | None
) -> None:
    """Read events from a topic until Ctrl-C or SIGTERM.

    \b
    foveate events consume kafka://broker:9092/events --state redis://store:6379/0

    A message is one event as POST /v1/events takes it, in JSON, or a list of such. What is read comes at least once
    and is kept once: an event without an event_id gets one of its place in the topic. The place in the topic moves on
    after the store has kept the events. A message that holds no events is passed over, counted and logged (-v).
    """  # noqa: D301 - click reads the mark as the sign that it is
    from foveate.core.config import to_dict  # noqa: PLC0415 - numpy costs time that --help is spared
    from foveate.state.connect import open_viewers, unhurried  # noqa: PLC0415
    from foveate_serve.operations.consume import Consumed, Topic  # noqa: PLC0415
    from foveate_serve.operations.consume import consume as read  # noqa: PLC0415

    topic, found = Topic.of(address, group, kafka_config), Consumed()

    with open_viewers(unhurried(state), create=False) as viewers, telling() as say:

        def progress(so_far: Consumed) -> None:
            nonlocal found
            found = so_far
            say(str(so_far))

        # What it was at when it was stopped comes again, and is kept once.
        with suppress(KeyboardInterrupt), stoppable():
            found = read(topic, viewers, to_end=once, progress=progress)
    write_json(json_path, to_dict(found))
    out.print(str(found), markup=False)
