"""TensorBoard's files, for those without Weights & Biases: ``tensorboard --logdir SWEEP/tensorboard`` shows them."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tensorboardX import summary as summaries
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary

from foveate.core.progress import Progress
from foveate_tune.results.leaderboard import SweepResult

FOLDER: Final = "tensorboard"
_HEAD: Final = 12
_CHECKSUM: Final = 4


class TensorBoardTracker:
    """Writes a folder of event files a run: the metrics by epoch, and at the end settings and best figures.

    Each record is on the disk when the call returns; what was cut off in the midst is not read and written again.
    """

    def __init__(self, folder: Path, say: Progress) -> None:
        self._folder = folder
        self._say = say
        self._runs: dict[str, _Run] = {}

    def start(self, run: str, config: Mapping[str, Any]) -> None:
        """Open a run, and see which steps are written."""
        with self._guarded():
            if run not in self._runs:
                self._runs[run] = _Run(self._folder / run, config)

    def log(self, run: str, metrics: Mapping[str, float], step: int) -> None:
        """Write one epoch as one record."""
        with self._guarded():
            if run in self._runs:
                self._runs[run].log(metrics, step)

    def finish(self, run: str, summary: Mapping[str, Any], *, failed: bool = False) -> None:
        """Write settings and best figures, and close the run."""
        del failed
        with self._guarded():
            if run in self._runs:
                self._runs.pop(run).finish(summary)

    def conclude(self, result: SweepResult) -> None:
        """Write the leaderboard as a text."""
        with self._guarded():
            run = _Run(self._folder / result.sweep_id, {})
            run.write(1, summaries.text("leaderboard", result.table()))
            run.close()

    def close(self) -> None:
        """Close what is still open: the sweep was broken off."""
        while self._runs:
            with self._guarded():
                self._runs.popitem()[1].close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._say(f"TensorBoard's files: {error}")


class _Run:
    """One run's folder."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        before = sorted(folder.glob("events.*"))
        events = [event for file in before for event in read_events(file)]
        self._settings = {key: value for key, value in config.items() if isinstance(value, (str, int, float))}
        self._written = {event.step for event in events if event.summary.value}
        folder.mkdir(parents=True, exist_ok=True)
        # Without a suffix, a run that is opened again within a second would empty its file.
        self._writer = EventsWriter(str(folder / "events"), f".{len(before)}")

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        values = [Summary.Value(tag=name, simple_value=float(value)) for name, value in metrics.items()]
        self.write(step, Summary(value=values))

    def finish(self, summary: Mapping[str, Any]) -> None:
        best = {name: float(value) for name, value in summary.items() if isinstance(value, (int, float))}
        parts = summaries.hparams(self._settings, best)
        values = [value for part in parts for value in part.value]
        values += [Summary.Value(tag=name, simple_value=value) for name, value in best.items()]
        self.write(0, Summary(value=values))
        self.close()

    def write(self, step: int, content: Summary) -> None:
        """Write a record unless the run has one of that step; step 0 is for what is not an epoch's."""
        if step in self._written:
            return
        self._written.add(step)
        self._writer.write_event(Event(wall_time=time.time(), step=step, summary=content))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def read_events(file: Path) -> Iterator[Any]:
    """Yield the events of a file up to the first that was cut off.

    The format is TensorFlow's: a length of 8 bytes, its checksum of 4, so many bytes of an event, their checksum of 4.
    """
    content, place = file.read_bytes(), 0
    while place + _HEAD <= len(content):
        (size,) = struct.unpack_from("<Q", content, place)
        end = place + _HEAD + size
        if end + _CHECKSUM > len(content):
            return
        yield Event.FromString(content[place + _HEAD : end])
        place = end + _CHECKSUM


@contextmanager
def tensorboard(folder: Path, say: Progress) -> Iterator[TensorBoardTracker]:
    """Give a tracker that writes into ``folder/tensorboard``; close it when the block ends."""
    tracking = TensorBoardTracker(folder / FOLDER, say)
    try:
        yield tracking
    finally:
        tracking.close()
