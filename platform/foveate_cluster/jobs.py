"""Ray Jobs: work that a cluster does whether or not anyone follows it."""

from __future__ import annotations

import asyncio
import logging
import re
import shlex
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import ClientError
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from foveate.core.errors import ConfigError, TrainingError

_CONNECT_TIMEOUT_S: Final = 5.0
_STOP_TIMEOUT_S: Final = 30.0
_AGENT_TIMEOUT_S: Final = 60.0
_POLL_S: Final = 0.2
_NO_AGENT: Final = "No available agent"
_OWN: Final = "foveate"
_RAYS_OWN: Final = re.compile(r"^Running entrypoint for job |INFO job_manager[.]py|logging[.]cc:")
"""Lines of a log that are Ray's own."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """One job of ours: its id, how it stands, what it was told to do, and when it began (UTC)."""

    job_id: str
    status: str
    words: str
    began: str


class Jobs:
    """The jobs of one cluster.

    Parameters
    ----------
    address
        URL of the cluster's dashboard.

    Raises
    ------
    ConfigError
        No dashboard answers there, or it does not let us in.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        _check(address)
        with self._asking():
            self._client = JobSubmissionClient(address)

    def submit(self, words: Sequence[str], code: Path, *, width: int | None = None) -> str:
        """Hand ``foveate WORDS`` to the cluster; return the job's id.

        Parameters
        ----------
        words
            A verb with its arguments.
        code
            An archive whose top holds Foveate's packages.
        width
            Columns of the terminal that the job's tables are made for.
        """
        # An archive as the working directory is unpacked on every node, where Python then looks first. As a module Ray
        # would have pip install it, with all that it depends on.
        runtime_env = {"working_dir": str(code), "env_vars": {"COLUMNS": str(width)} if width else {}}
        give_up = time.monotonic() + _AGENT_TIMEOUT_S
        while True:
            try:
                with self._asking(), _quiet():
                    return self._client.submit_job(
                        entrypoint=shlex.join(["python", "-m", "foveate_cli", *words]),
                        metadata={_OWN: shlex.join(words)},
                        runtime_env=runtime_env,
                    )
            except ConfigError as error:
                if _NO_AGENT not in str(error) or time.monotonic() > give_up:
                    raise
            # The cluster has only just started.
            time.sleep(_POLL_S)

    def follow(self, job_id: str, say: Say) -> None:
        """Say each line of a job's log, the old ones first, until the job has ended.

        Raises
        ------
        TrainingError
            The job failed, or was stopped.
        ConfigError
            There is no such job.
        """
        status, log = self._status(job_id), _Log(say)
        while True:
            asyncio.run(self._tail(job_id, log))
            status = self._status(job_id)
            if status.is_terminal():
                break
            # The connection was lost: it is followed anew, and what was said already is passed over.
            time.sleep(_POLL_S)
        log.flush()
        if status == JobStatus.STOPPED:
            raise TrainingError(f"job '{job_id}' was stopped")
        if status == JobStatus.FAILED:
            raise TrainingError(f"job '{job_id}' failed: {self._why(job_id, log.last)}")

    def stop(self, job_id: str) -> bool:
        """Stop a job and wait until it has; return whether it ran."""
        self._status(job_id)
        with self._asking(job_id):
            ran: bool = self._client.stop_job(job_id)
        give_up = time.monotonic() + _STOP_TIMEOUT_S
        while not self._status(job_id).is_terminal() and time.monotonic() < give_up:
            time.sleep(_POLL_S)
        return ran

    def jobs(self) -> list[Job]:
        """Return our jobs, the oldest first."""
        with self._asking():
            found = self._client.list_jobs()
        own = [one for one in found if one.submission_id and _OWN in (one.metadata or {})]
        return [_job(one) for one in sorted(own, key=lambda one: one.start_time or 0)]

    async def _tail(self, job_id: str, log: _Log) -> None:
        log.begin()
        # An end that is none shows in the job's status, and so does a dashboard that has gone.
        with suppress(RuntimeError, OSError, ClientError), _quiet():
            async for chunk in self._client.tail_job_logs(job_id):
                log.add(chunk)

    def _status(self, job_id: str) -> JobStatus:
        with self._asking(job_id):
            return self._client.get_job_status(job_id)

    def _why(self, job_id: str, last: str) -> str:
        """Return the last line of its log, or what Ray says where it came to none."""
        if last:
            return last.removeprefix("foveate: ")
        with self._asking(job_id):
            said = (self._client.get_job_info(job_id).message or "no word").strip().splitlines()
        return said[-1]

    @contextmanager
    def _asking(self, job_id: str | None = None) -> Iterator[None]:
        try:
            yield
        except AuthenticationError as error:
            remedy = "is RAY_AUTH_TOKEN that of the cluster?"
            raise ConfigError(f"--address '{self.address}': the dashboard does not let us in: {remedy}") from error
        except (RuntimeError, OSError, ValueError) as error:
            if job_id is not None and "does not exist" in str(error):
                raise ConfigError(f"'{self.address}' has no job '{job_id}': 'foveate job list' names them") from error
            said = str(error).strip().splitlines()
            reason = said[-1] if said else type(error).__name__
            raise ConfigError(f"--address '{self.address}': the dashboard refused: {reason}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves what Ray notes of its uploads and connections."""
    names = [f"ray.dashboard.modules.{name}" for name in ("dashboard_sdk", "job.sdk")]
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.WARNING)
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


class _Log:
    """A log that comes in pieces, is said in lines, and may have to be read again from its beginning."""

    def __init__(self, say: Say) -> None:
        self.last = ""
        self._say = say
        self._said = 0
        self._passed = 0
        self._rest = ""

    def begin(self) -> None:
        """Read from the beginning."""
        self._passed = 0

    def add(self, chunk: str) -> None:
        """Say the lines that a piece completes, as far as they were not said before."""
        fresh = chunk[max(0, self._said + len(self._rest) - self._passed) :]
        self._passed += len(chunk)
        *lines, self._rest = (self._rest + fresh).split("\n")
        for line in lines:
            self._line(line)
            self._said += len(line) + 1

    def flush(self) -> None:
        """Say what no line end followed."""
        if self._rest:
            self._line(self._rest)

    def _line(self, line: str) -> None:
        if _RAYS_OWN.search(line):
            return
        self.last = line.strip() or self.last
        self._say(line)


def _check(address: str) -> None:
    """Refuse an address that is none of a dashboard, or where nothing listens: Ray itself would wait for minutes."""
    url = urlsplit(address)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigError(f"--address '{address}' must be that of the cluster's dashboard, such as http://HOST:8265")
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        socket.create_connection((url.hostname, port), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise ConfigError(
            f"--address '{address}': no Ray dashboard answers there ({error.strerror or 'no answer'})"
        ) from error


def _job(found: Any) -> Job:
    began = datetime.fromtimestamp((found.start_time or 0) / 1000, UTC).isoformat(timespec="seconds")
    return Job(found.submission_id, str(found.status.value), found.metadata[_OWN], began)
