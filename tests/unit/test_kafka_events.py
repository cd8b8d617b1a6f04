"""Events from a Kafka topic are in the store once, whatever comes again: a broker of the client's own stands in."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from foveate.core.errors import ConfigError, StateError
from foveate.state.base import ViewerEvent
from foveate.state.sqlite.store import SqliteState
from foveate_cli.events import command
from foveate_serve.operations.consume import Consumed, Topic, consume

QUICK = {"log_level": "0", "session.timeout.ms": "6000", "heartbeat.interval.ms": "300"}
"""A member that has left is waited for no longer than this."""


class Broker:
    """A cluster of one mock broker inside librdkafka, and what sends to it."""

    def __init__(self) -> None:
        self._producer = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 0})
        brokers = self._producer.list_topics(timeout=30).brokers.values()
        self.servers = ",".join(f"{one.host}:{one.port}" for one in brokers)

    def send(self, topic: str, *messages: Any) -> None:
        for number, message in enumerate(messages):
            content = message if isinstance(message, bytes) else json.dumps(message).encode()
            self._producer.produce(topic, content, key=str(number))
        assert self._producer.flush(30) == 0

    def topic(self, name: str) -> Topic:
        return Topic(self.servers, name, settings=QUICK)


@pytest.fixture(scope="module")
def broker() -> Broker:
    return Broker()


@pytest.fixture
def name() -> str:
    return f"events-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[SqliteState]:
    with SqliteState(tmp_path / "state.sqlite") as opened:
        yield opened


def event(user: str, item: str, **more: Any) -> dict[str, Any]:
    return {"user_id": user, "item_id": item, "kind": "watch", **more}


def kept(state: SqliteState) -> list[tuple[str, str]]:
    return sorted((one.event.user_id, one.event.item_id) for part in state.kept() for one in part)


def test_single_events_and_lists_are_kept_once(broker: Broker, name: str, state: SqliteState) -> None:
    broker.send(name, event("u1", "a"), [event("u1", "b"), event("u2", "c", event_id="own")], [])
    counted: list[Consumed] = []
    done = consume(broker.topic(name), state, to_end=True, progress=counted.append)
    assert (done.messages, done.events, done.added, done.refused) == (3, 3, 3, 0)
    assert counted[-1] == done
    assert kept(state) == [("u1", "a"), ("u1", "b"), ("u2", "c")]
    # The group has come so far; another one reads all of it again, and adds nothing.
    assert consume(broker.topic(name), state, to_end=True) == Consumed()
    other = Topic(broker.servers, name, group="other", settings=QUICK)
    again = consume(other, state, to_end=True)
    assert (again.events, again.added) == (3, 0)


def test_what_cannot_be_kept_is_counted_and_the_rest_goes_on(broker: Broker, name: str, state: SqliteState) -> None:
    broker.send(
        name,
        b"no json",
        {"user_id": "u"},
        [event("u1", "a"), {"user_id": "u1"}],
        event("u1", "b", kind="dance"),
        event("u1", "c", value=1e8),
        7,
        event("u1", "d", kind="watch", value=-5.0),
    )
    done = consume(broker.topic(name), state, to_end=True)
    assert (done.messages, done.events, done.adjusted, done.refused) == (7, 1, 1, 6)
    assert kept(state) == [("u1", "c")]


def test_nothing_is_committed_before_the_store_has_it(broker: Broker, name: str, state: SqliteState) -> None:
    broker.send(name, *[event(f"u{number}", "a") for number in range(5)])

    class Away:
        """A store that cannot be used for a while."""

        def __init__(self, times: int, stop: threading.Event | None = None) -> None:
            self.left, self._stop = times, stop

        def append(self, events: Sequence[ViewerEvent]) -> int:
            self.left -= 1
            if self.left >= 0:
                raise StateError("the disk is full")
            if self._stop is not None:
                self._stop.set()
                raise StateError("the disk is full")
            return state.append(events)

    stop = threading.Event()
    stopped: Any = Away(0, stop)
    assert consume(broker.topic(name), stopped, stop=stop) == Consumed()
    assert kept(state) == []
    later: Any = Away(1)
    assert consume(broker.topic(name), later, to_end=True).added == 5
    assert len(kept(state)) == 5


@pytest.mark.soak
def test_the_verb_reads_a_topic_to_its_end(broker: Broker, name: str, state: SqliteState, tmp_path: Path) -> None:
    broker.send(name, event("u1", "a"))
    settings = tmp_path / "kafka.properties"
    settings.write_text("# quick\n" + "".join(f"{name} = {value}\n\n" for name, value in QUICK.items()))
    words = [f"kafka://{broker.servers}/{name}", "--state", str(tmp_path / "state.sqlite"), "--once"]
    done = CliRunner().invoke(command, ["consume", *words, "--kafka-config", str(settings), "--json", "-"])
    assert done.exit_code == 0, done.output
    assert '"added": 1' in done.output
    assert kept(state) == [("u1", "a")]


@pytest.mark.parametrize(
    "address",
    ["kafka://", "kafka://h:9092", "kafka://h:9092/a/b", "http://h/t", "kafka://u:p@h/t", "kafka://h/t?group=g", "t"],
)
def test_an_address_that_names_no_topic_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=r"such as kafka://HOST:9092/TOPIC"):
        Topic.of(address)


def test_settings_that_cannot_be_read_are_refused(tmp_path: Path, state: SqliteState) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("a=b\nnonsense\n")
    with pytest.raises(ConfigError, match="line 2: NAME=VALUE"):
        Topic.of("kafka://h:1/t", config=wrong)
    with pytest.raises(ConfigError, match="absent"):
        Topic.of("kafka://h:1/t", config=tmp_path / "absent")
    with pytest.raises(ConfigError, match=r"no\.such\.setting"):
        consume(Topic("h:1", "t", settings={"no.such.setting": "1"}), state)
