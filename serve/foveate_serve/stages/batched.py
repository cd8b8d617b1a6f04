"""What stages have in common that answer by whichever bundle a request pins, many requests at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from foveate.bundle import Bundle
from foveate.core.grouped import in_groups
from foveate.core.messages import RequestContext
from foveate.recommend.model import Model
from foveate_serve.bundles.slots import Held, Holder
from foveate_serve.stages.batcher import Batcher
from foveate_serve.telemetry import Sight

Call = TypeVar("Call", bound=tuple[Any, ...])
R = TypeVar("R")


class Batched(ABC, Generic[Held, Call, R]):
    """A stage over the bundles, or the shards of bundles, of one replica. A call's last part is its context.

    Parameters
    ----------
    holder
        What this replica holds.
    largest
        Most requests of one batch.
    sight
        Where it tells what it does.
    thread
        Where batches are worked on; None takes a thread of its own.
    """

    name: str

    def __init__(
        self,
        holder: Holder[Held],
        largest: int,
        sight: Sight | None = None,
        thread: ThreadPoolExecutor | None = None,
    ) -> None:
        self._holder = holder
        self._sight = sight or Sight.unseen()
        self._batcher: Batcher[Call, R] = Batcher(self.name, self._work, largest, thread)

    @abstractmethod
    def _answers(self, held: Held, calls: Sequence[Call]) -> Sequence[R]:
        """Answer calls that pin one bundle, in their order."""

    def _work(self, calls: Sequence[Call]) -> list[R]:
        pinned: list[str] = [call[-1].bundle_id for call in calls]
        return in_groups(
            pinned, lambda bundle_id, rows: self._answers(self._holder.bundle(bundle_id), [calls[row] for row in rows])
        )


class OfModels(Batched[Bundle, Call, R]):
    """A stage that works by the models of bundles."""

    def _model(self, context: RequestContext) -> Model:
        return self._holder.bundle(context.bundle_id).model
