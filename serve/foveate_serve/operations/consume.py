"""Events from a Kafka topic into a store of viewers: at least once from the topic, and once in the store.

A message is one event, or a list of events, as ``POST /v1/events`` takes them, in JSON. An event without an id gets one
of its place in the topic, so that it is the same event when it comes again. Offsets are committed after the store has
kept the events; a store that cannot be used is tried again, and nothing is committed meanwhile.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from foveate.core.errors import ConfigError, FoveateError, RequestError, StateError
from foveate.core.extras import needs
from foveate.state.base import ViewerEvent, ViewerState, utc_micros
from foveate.state.event_checks import check_events, clamped
from foveate_serve.http.schemas.events import EventIn

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message

logger = logging.getLogger("foveate")

SCHEME: Final = "kafka"
MOST: Final = 500
"""Messages of one write."""
_WAIT_S: Final = 0.5
"""Seconds that a batch is waited for."""
_AGAIN_S: Final = 1.0
"""Seconds until a store that could not be used is tried again."""
_OURS: Final = {"enable.auto.commit": False, "enable.partition.eof": True, "auto.offset.reset": "earliest"}


class StreamError(FoveateError):
    """The topic cannot be read."""


@dataclass(frozen=True)
class Topic:
    """Where events come from.

    Parameters
    ----------
    servers
        ``HOST:PORT``, several of them separated by commas.
    name
        Of the topic.
    group
        The consumer group: its members share the partitions, and it remembers how far it has come.
    settings
        Further settings of librdkafka, such as ``security.protocol``.
    """

    servers: str
    name: str
    group: str = "foveate"
    settings: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, address: str, group: str = "foveate", config: Path | None = None) -> Topic:
        """Read an address such as ``kafka://h1:9092,h2:9092/events``.

        Parameters
        ----------
        config
            A file of further settings, a line ``NAME=VALUE`` each; a password belongs there.

        Raises
        ------
        ConfigError
            The address or the file cannot be read.
        """
        parts = urlsplit(address)
        name = parts.path.strip("/")
        if parts.scheme != SCHEME or not parts.netloc or not name or "/" in name or parts.query or "@" in parts.netloc:
            raise ConfigError(f"'{address}' is no address of a topic, such as {SCHEME}://HOST:9092/TOPIC")
        return cls(parts.netloc, name, group, {} if config is None else _settings(config))


@dataclass(frozen=True)
class Consumed:
    """What was read so far.

    Parameters
    ----------
    messages
        How many, those that were refused included.
    events, added
        How many events were in them, and how many of these the store did not have.
    adjusted
        Events that were changed to be kept, as over HTTP.
    refused
        Messages that hold no events, or an event that cannot be kept; they are passed over.
    """

    messages: int = 0
    events: int = 0
    added: int = 0
    adjusted: int = 0
    refused: int = 0

    def __str__(self) -> str:
        counts = f"{self.messages:,} messages: {self.events:,} events, {self.added:,} of them new"
        return f"{counts}, {self.adjusted:,} adjusted; {self.refused:,} messages refused"


def consume(
    topic: Topic,
    state: ViewerState,
    *,
    to_end: bool = False,
    stop: threading.Event | None = None,
    progress: Callable[[Consumed], None] | None = None,
) -> Consumed:
    """Read a topic into a store until it is told to stop.

    Parameters
    ----------
    to_end
        Whether to end where every partition has been read to its end.
    stop
        Ends it when it is set; what was read until then is kept and committed.
    progress
        Called after each batch.

    Raises
    ------
    StreamError
        The topic cannot be read.
    ConfigError
        The client of Kafka is not installed, or a setting is unknown.
    """
    over, so_far = stop or threading.Event(), Consumed()
    consumer = _consumer(topic)
    ended: set[int] = set()
    try:
        consumer.subscribe([topic.name])
        while not over.is_set():
            messages = consumer.consume(MOST, _WAIT_S)
            rows = [one for one in messages if _is_message(one, ended)]
            if rows:
                so_far = _kept(so_far, rows, state, over)
                if not over.is_set():
                    consumer.commit(asynchronous=False)
                if progress is not None:
                    progress(so_far)
            assigned = {one.partition for one in consumer.assignment()}
            if to_end and assigned and ended >= assigned:
                break
    finally:
        consumer.close()
    return so_far


def _consumer(topic: Topic) -> Consumer:
    with needs("confluent_kafka", extra="kafka"):
        from confluent_kafka import Consumer, KafkaException  # noqa: PLC0415 - few read a topic

    settings = {**topic.settings, "bootstrap.servers": topic.servers, "group.id": topic.group, **_OURS}
    try:
        return Consumer(settings, logger=logger)
    except KafkaException as error:
        raise ConfigError(f"{SCHEME}://{topic.servers}: {error.args[0].str()}") from error


def _is_message(message: Message, ended: set[int]) -> bool:
    """Whether it is none of the news that come between messages; where a partition ends is noted."""
    from confluent_kafka import KafkaError  # noqa: PLC0415 - as above

    error, partition = message.error(), int(message.partition() or 0)
    if error is None:
        ended.discard(partition)
        return True
    if error.code() == KafkaError._PARTITION_EOF:
        ended.add(partition)
        return False
    if error.retriable() and not error.fatal():
        logger.warning("kafka: %s", error.str())
        return False
    raise StreamError(f"the topic cannot be read: {error.str()}")


def _kept(so_far: Consumed, messages: Sequence[Message], state: ViewerState, over: threading.Event) -> Consumed:
    """Keep the events of some messages; return the counts with them, unchanged where it had to stop before."""
    now, refused, adjusted = utc_micros(), 0, 0
    events: list[ViewerEvent] = []
    for message in messages:
        try:
            own, changed = clamped(_events(message, now), now)
            check_events(own, now)
        except (ValueError, RequestError) as error:
            refused += 1
            place = f"{message.topic()}[{message.partition()}] at {message.offset()}"
            logger.warning("message %s is passed over: %s", place, " ".join(str(error).split())[:300])
            continue
        events += own
        adjusted += changed
    added = _append(state, events, over)
    if added is None:
        return so_far
    return replace(
        so_far,
        messages=so_far.messages + len(messages),
        events=so_far.events + len(events),
        added=so_far.added + added,
        adjusted=so_far.adjusted + adjusted,
        refused=so_far.refused + refused,
    )


def _events(message: Message, now: int) -> list[ViewerEvent]:
    content: Any = json.loads(message.value() or b"")
    rows = content if isinstance(content, list) else [content]
    place = f"{SCHEME}:{message.topic()}:{message.partition()}:{message.offset()}"
    try:
        return [EventIn.model_validate(row).message(now, f"{place}:{number}") for number, row in enumerate(rows)]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'])) or 'event'}: {first['msg']}") from error


def _append(state: ViewerState, events: Sequence[ViewerEvent], over: threading.Event) -> int | None:
    """Return how many events are new; None where it was to stop before the store could be used."""
    while True:
        try:
            return state.append(events) if events else 0
        except StateError as error:
            logger.warning("the events wait: %s", error)
            if over.wait(_AGAIN_S):
                return None


def _settings(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"'{path}' cannot be read: {error}") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, sign, value = line.partition("=")
        if not sign or not name.strip():
            raise ConfigError(f"'{path}' line {number}: NAME=VALUE is expected")
        found[name.strip()] = value.strip()
    return found
