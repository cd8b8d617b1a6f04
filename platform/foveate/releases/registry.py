"""Promoting, rolling back, and asking what serves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from foveate.bundle import HISTORY, Bundle, Manifest
from foveate.core.errors import BundleError, ReleaseError
from foveate.releases.backend import backend_of
from foveate.releases.history import Action, Entry, Verdict, in_force, standing, unfinished
from foveate.storage.folder import Place

Gate: TypeAlias = Callable[[Bundle, Sequence[Bundle]], Verdict]
"""Compares a bundle with the one that serves: that one itself, and after it the twin that once was judged for it."""

Say: TypeAlias = Callable[[str], None]


class Releases:
    """A registry.

    Parameters
    ----------
    root
        Its folder, or its address at a store; :meth:`promote` makes it.

    Raises
    ------
    ReleaseError
        Nobody knows addresses of that kind.
    """

    def __init__(self, root: Place) -> None:
        self.root = root
        self._backend = backend_of(root)

    def current(self) -> str | None:
        """Return the id of the bundle that serves, None where none was ever promoted.

        Raises
        ------
        ReleaseError
            What stands in the link's place is none, or a store cannot be read.
        """
        return self._backend.current()

    def path(self, bundle_id: str) -> Place:
        """Return where a bundle of this registry lies."""
        return self._backend.place(bundle_id)

    def history(self) -> tuple[Entry, ...]:
        """Return everything that was done, oldest first.

        Raises
        ------
        ReleaseError
            There is no registry, or its history is damaged.
        """
        return self._backend.history()

    def changes(self) -> tuple[Entry, ...]:
        """Return the promotions and rollbacks that took effect, oldest first."""
        return in_force(self.history(), self.current())

    def promote(
        self,
        bundle: Path,
        gate: Gate | None,
        *,
        twin: Path | None = None,
        who: str = "",
        because: str = "",
        say: Say | None = None,
    ) -> Entry:
        """Have a bundle serve, unless the gate refuses it.

        Parameters
        ----------
        bundle
            Its folder; what is kept is a copy.
        gate
            The gate; None asks none, and then ``because`` must say why.
        twin
            A bundle of the same recipe and data that left the newest window unseen: it is judged in this one's place.
        who, because
            For the history.
        say
            Called with one line of news a step.

        Returns
        -------
        Entry
            The history's line: ``promote`` or ``refuse``. Where the bundle serves already nothing is done, and the
            line that brought it is returned.

        Raises
        ------
        BundleError
            The bundle, the twin or the one that serves cannot be used, or the bundle answers its golden requests
            otherwise than when it was made.
        ReleaseError
            It cannot be judged or kept.
        """
        say = say or _silent
        if gate is None and not because.strip():
            raise ReleaseError("a promotion past the gate must say why: add --because TEXT")
        new = Bundle.load(bundle)
        new.check_answers()
        double = Bundle.load(twin) if twin else None
        if double:
            _check_twin(new.manifest, double.manifest)
        with self._locked(say, make=True) as before:
            if new.bundle_id == before:
                return self._promotion_of(before)
            verdict = gate(double or new, self._serving(before)) if gate else None
            action: Action = "promote" if verdict is None or verdict.passed else "refuse"
            details = {"who": who, "because": because, "gate": verdict, "twin": double and double.bundle_id}
            entry = _entry(new.manifest, action, before, **details)
            if action == "refuse":
                return self._backend.append(entry)
            for one in (double, new):
                if one:
                    say(f"keeping bundle {one.bundle_id}")
                    self._backend.keep(one.path, one.manifest)
            return self._put_in_force(entry)

    def rollback(self, to: str | None = None, *, who: str = "", because: str = "", say: Say | None = None) -> Entry:
        """Have an earlier bundle serve again.

        Parameters
        ----------
        to
            Its id, or how that begins. Left out, it is the last one that served before the current one and was not
            itself rolled back from; one that is damaged is passed over.
        who, because, say
            As for :meth:`promote`.

        Raises
        ------
        ReleaseError
            There is none to go back to.
        BundleError
            The bundle named by ``to`` is damaged.
        """
        say = say or _silent
        self.history()
        with self._locked(say) as before:
            target = self._backend.verified(self._find(to)) if to else self._last_good(say)
            if target.bundle_id == before:
                raise ReleaseError(f"bundle {before} serves already; name another with --to")
            return self._put_in_force(_entry(target, "rollback", before, who=who, because=because))

    @contextmanager
    def _locked(self, say: Say, *, make: bool = False) -> Iterator[str | None]:
        """Be the only one at work; yield what serves."""
        with self._backend.locked(say, make=make):
            current = self.current()
            self._note_interruption(current)
            yield current

    def _note_interruption(self, current: str | None) -> None:
        lost = unfinished(self.history(), current)
        if lost:
            self._backend.append(Entry(_now(), "interrupted", lost.bundle, before=current))

    def _put_in_force(self, entry: Entry) -> Entry:
        self._backend.append(entry)
        self._backend.point(entry.bundle)
        return entry

    def _last_good(self, say: Say) -> Manifest:
        for bundle_id in reversed(standing(self.changes())[:-1]):
            try:
                return self._backend.verified(bundle_id)
            except BundleError as error:
                say(f"passed over: {error}")
        raise ReleaseError(f"'{self.root}' has no good bundle before the current one; 'foveate bundles' lists them all")

    def _find(self, start: str) -> str:
        kept = [name for name in self._backend.kept() if name.startswith(start)]
        if len(kept) != 1:
            found = f"{len(kept)} bundles begin so" if kept else "there is no such bundle"
            raise ReleaseError(f"--to '{start}': {found} in '{self.root}'; 'foveate bundles' lists them")
        return kept[0]

    def _serving(self, current: str | None) -> list[Bundle]:
        if current is None:
            return []
        twin = self._promotion_of(current).twin
        try:
            return [Bundle.load(self._backend.bundle(one)) for one in (current, twin) if one]
        except BundleError as error:
            remedy = "roll back first, or promote with --no-gate --because TEXT"
            raise ReleaseError(f"the bundle that serves cannot be asked: {error}; {remedy}") from error

    def _promotion_of(self, bundle_id: str) -> Entry:
        """Return the newest line that promoted a bundle: a rollback's knows nothing of gate and twin."""
        for entry in reversed(self.history()):
            if entry.action == "promote" and entry.bundle == bundle_id:
                return entry
        raise ReleaseError(f"'{self.root}': bundle {bundle_id} serves, which no line of {HISTORY} promoted")


def _check_twin(manifest: Manifest, twin: Manifest) -> None:
    """Refuse a twin that says nothing of the bundle.

    Raises
    ------
    ReleaseError
        They differ in more than what they left unseen.
    """
    for name in ("recipe", "data_hash", "seeds", "positive_kinds"):
        if getattr(manifest, name) != getattr(twin, name):
            remedy = "train both from one --config, one with --upto test and one with --upto all"
            raise ReleaseError(
                f"--twin {twin.bundle_id} is none of {manifest.bundle_id}: their {name} differ; {remedy}"
            )


def _entry(manifest: Manifest, action: Action, before: str | None, **details: Any) -> Entry:
    about = {name: getattr(manifest, name) for name in ("metrics", "sweep", "data", "upto")}
    return Entry(_now(), action, manifest.bundle_id, before, **details, **about)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _silent(line: str) -> None:
    del line
