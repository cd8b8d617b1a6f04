"""The bundles that one replica holds: the current one and the one before it.

A request names its bundle, so while a new one is rolled out no request mixes two.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeAlias, TypeVar

from foveate.bundle import Bundle, BundleShard, verify
from foveate.core.errors import ConfigError, FoveateError, StorageError
from foveate.storage.folder import Place
from foveate.storage.transfer import is_address, local_copy

logger = logging.getLogger("ray.serve")

AGAIN_S: Final = 5.0
"""Seconds before a replica without any bundle asks a store again that did not answer."""

Held = TypeVar("Held", bound=Bundle | BundleShard)


class BundleNotHeldError(FoveateError):
    """A replica was asked for a bundle that it does not hold."""


@dataclass(frozen=True)
class Status:
    """What one replica holds, and why it does not hold what it was told to; ``refused`` if it tried.

    ``asked`` is the folder or address that it was told to take last, and has taken or refused.
    """

    deployment: str
    bundle_id: str | None
    previous: str | None
    problem: str | None
    refused: bool = False
    asked: str | None = None


class Slots(Generic[Held]):
    """Loads bundles, or the part of them that one replica needs, without ever failing.

    Parameters
    ----------
    deployment
        Who holds it, for messages.
    load
        Reads and verifies a bundle, and makes it ready to answer.
    on_swap
        Called with each bundle that was taken, and with None for one that was refused.
    over
        Returns a bundle as it is to answer now, such as with what has changed in its catalogue; see :meth:`renew`.
    """

    def __init__(
        self,
        deployment: str,
        load: Callable[[Path], Held],
        on_swap: Callable[[Held | None], None] | None = None,
        over: Callable[[Held], Held] | None = None,
    ) -> None:
        self._deployment = deployment
        self._load = load
        self._on_swap = on_swap or _ignore
        self._over = over or _same
        self._renewing = asyncio.Lock()
        self._asked: str | None = None
        self._loaded: tuple[Held, ...] = ()
        self._held: tuple[Held, ...] = ()
        self._problem: str | None = None
        self._wanted: Place | None = None
        self._newest: Place | None = None
        self._later: asyncio.Task[None] | None = None
        self._swapping: asyncio.Task[None] | None = None

    @property
    def held(self) -> tuple[Held, ...]:
        """The current bundle and the previous one, as far as there are any."""
        return self._held

    async def swap(self, place: Place, *, beside: bool) -> None:
        """Take a bundle as :meth:`load` does, after the one that is being taken; of several that wait, the last alone.

        Parameters
        ----------
        beside
            Whether to return at once, if one is held already, and take the new one while that answers.
        """
        self._wanted = self._newest = place
        if self._swapping is None or self._swapping.done():
            self._swapping = asyncio.create_task(self._swap_in_order())
        if not (beside and self._held):
            await self._swapping

    async def _swap_in_order(self) -> None:
        while (place := self._wanted) is not None:
            self._wanted = None
            await self.load(place)

    async def load(self, place: Place) -> None:
        """Make the bundle at a path or address the current one; one that cannot be used changes nothing but the status.

        Raising here would stop the replica and leave the application with less capacity, so nothing is raised.
        """
        try:
            # A link such as a registry's "current" may lead elsewhere tomorrow; what is remembered of today must not.
            bundle = await asyncio.to_thread(self._read, place)
        except Exception as error:
            self._problem = f"bundle '{place}' is not in use: {' '.join(str(error).split())}"
            expected = isinstance(error, FoveateError)
            logger.error("%s: %s", self._deployment, self._problem, exc_info=None if expected else error)
            self._asked = str(place)
            self._on_swap(None)
            if is_address(place) and not self._held and isinstance(error, (ConfigError, StorageError)):
                self._later = asyncio.create_task(self._again(place))
            return
        others = tuple(one for one in self._loaded if one.bundle_id != bundle.bundle_id)
        self._loaded = (bundle, *others[:1])
        await self.renew()
        self._problem, self._asked = None, str(place)
        self._on_swap(bundle)
        logger.info("%s: serving bundle %s from '%s'", self._deployment, bundle.bundle_id, place)

    async def renew(self) -> None:
        """Put what is to be over the bundles over each that is held, anew."""
        async with self._renewing:
            loaded = self._loaded
            self._held = tuple([await asyncio.to_thread(self._over, bundle) for bundle in loaded])

    async def _again(self, place: Place) -> None:
        """Ask a store again that did not answer: nobody tells a replica twice of the bundle that it started for."""
        await asyncio.sleep(AGAIN_S)
        if self._newest == place and not self._held:
            await self.swap(place, beside=False)

    def _read(self, place: Place) -> Held:
        return self._load(local_copy(place, verify).resolve())

    def bundle(self, bundle_id: str) -> Held:
        """Return a bundle that is held.

        Raises
        ------
        BundleNotHeldError
            It is neither the current one nor the previous.
        """
        for bundle in self._held:
            if bundle.bundle_id == bundle_id:
                return bundle
        raise BundleNotHeldError(f"{self._deployment} does not hold bundle '{bundle_id}'")

    def status(self) -> Status:
        """Return what is held."""
        ids = [bundle.bundle_id for bundle in self._held]
        return Status(
            deployment=self._deployment,
            bundle_id=ids[0] if ids else None,
            previous=ids[1] if len(ids) > 1 else None,
            problem=self._problem or (None if ids else "no bundle is loaded yet"),
            refused=self._problem is not None,
            asked=self._asked,
        )


BundleSlots: TypeAlias = Slots[Bundle]


def _ignore(bundle: object) -> None:
    del bundle


def _same(bundle: Held) -> Held:
    return bundle
