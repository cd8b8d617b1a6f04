"""A searcher whose every step is in the journal, so that a sweep can go on after its process was killed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray.tune.search import Searcher

from foveate_tune.searchers.base import NUMBER, Proposals
from foveate_tune.trials.journal import Journal
from foveate_tune.trials.record import TrialRecord

Recall = Callable[[str, Sequence[Mapping[str, Any]]], None]
"""Tells a scheduler, by Ray's name of a trial, what it reported in an earlier run."""


class RecordedSearcher(Searcher):
    """First proposes the trials that were begun and are not over, then what the searcher inside proposes.

    Parameters
    ----------
    inside
        Makes the proposals; it knows a trial by the name that Ray first gave it.
    journal
        Where they are kept before their trials start.
    recorded
        Trials of an earlier run.
    begun
        Those of them that are not over.
    recall
        Called with what each of them has reported before a trial of this run starts.
    """

    def __init__(
        self,
        inside: Proposals,
        journal: Journal,
        recorded: Sequence[TrialRecord],
        begun: Sequence[TrialRecord],
        recall: Recall,
    ) -> None:
        super().__init__()
        self._inside = inside
        self._journal = journal
        self._recorded = {int(one.config[NUMBER]): one for one in recorded}
        self._begun = list(begun)
        self._recall = recall
        self._recalled = not recorded
        self._names: dict[str, str] = {}
        if recorded:
            self._replay(recorded)

    @property
    def left(self) -> bool:
        """Whether there is anything to propose."""
        return bool(self._begun) or self._inside.next < self._inside.count

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override] # FINISHED is a text
        """Return the next proposal with its number."""
        if not self._recalled:
            # Only by now has Ray told the scheduler what it is to look at.
            self._recalled = True
            for one in self._recorded.values():
                if one not in self._begun:
                    self._recall(one.trial_id, one.reports)
        if self._begun:
            if self._inside.held is not None and self._inside.held():
                return None
            one = self._begun.pop(0)
            self._names[trial_id] = one.trial_id
            self._recall(trial_id, one.reports)
            return dict(one.config)
        proposal = self._inside.suggest(trial_id)
        if isinstance(proposal, dict):
            self._journal.proposed(proposal, trial_id, self._inside.state())
            # What is not kept does not start.
            return None if self._journal.broken else proposal
        return proposal

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass a report on."""
        self._inside.on_trial_result(self._names.get(trial_id, trial_id), result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Pass a trial's end on."""
        self._inside.on_trial_complete(self._names.get(trial_id, trial_id), result, error)
        self._journal.searched(self._inside.state())

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Say whether the searcher inside sees to it that no more run at once."""
        return self._inside.set_max_concurrency(max_concurrent)

    def save(self, checkpoint_path: str) -> None:
        """Let Ray write nothing: the journal has it."""

    def restore(self, checkpoint_path: str) -> None:
        """Refuse: the journal is what a sweep goes on from."""
        raise NotImplementedError(checkpoint_path)

    def _replay(self, recorded: Sequence[TrialRecord]) -> None:
        """Bring the searcher inside to where it was, or would have been had its last state been written."""
        state = self._journal.searcher()
        if state is not None:
            self._inside.set_state(dict(state))
        while self._inside.next in self._recorded:
            self._inside.suggest(self._recorded[self._inside.next].trial_id)
        for one in recorded:
            for report in one.reports:
                self._inside.on_trial_result(one.trial_id, dict(report))
            if one not in self._begun:
                self._inside.on_trial_complete(one.trial_id, None, one.ended and one.state == "failed")
