"""The gate before serving: whether a new bundle falls below the one that serves by more than a stated margin.

Both answer the same viewers on the newest window of a log, as slates of ten places, which is what a viewer gets. The
new bundle passes where the lower end of the 95 % interval of the difference, in per cent of the old one's NDCG@10 and
by a paired bootstrap over viewers, lies above minus the margin: a one-sided test of non-inferiority at 2.5 %. So too
few viewers speak against a promotion, and not for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from foveate.bundle import Bundle
from foveate.core import metrics
from foveate.core.errors import ReleaseError
from foveate.core.metrics import Floats
from foveate.data.dataset import Dataset
from foveate.data.split import Stage
from foveate.evaluation.loaded import SEEN, newest_stage, notes_on
from foveate.evaluation.outcomes import SLATE, SLATE_SIZE, Subject, answer
from foveate.evaluation.panel import Panel, panel_of
from foveate.releases import Verdict
from foveate.retrieval.base import CandidateSource, FitContext, SourceConfig

MARGIN = 2.0
"""Per cent."""
VIEWERS = 20_000
"""How many viewers are asked at most."""
FEWEST = 30
"""With fewer viewers a bootstrap's interval promises more than it holds."""
POPULARITY = "popularity"

Say = Callable[[str], None]


def compare_bundles(
    dataset: Dataset,
    new: Bundle,
    old: Sequence[Bundle],
    *,
    margin: float = MARGIN,
    viewers: int = VIEWERS,
    say: Say | None = None,
) -> Verdict:
    """Ask a new bundle and the one that serves about the newest window.

    The window is cut as the new bundle's recipe says, and what counts as interest is what that bundle says.

    Parameters
    ----------
    old
        The bundle that serves, and after it any that may stand in for it; the first that has not seen the window is
        asked. Empty where nothing serves yet: then popularity is to be beaten.
    margin
        In per cent.
    viewers
        How many are asked at most, drawn by the new bundle's seed.
    say
        Called with one line of news a step.

    Raises
    ------
    ReleaseError
        A bundle has learned from the window, or too few viewers have a target in it.
    BundleError
        A bundle does not fit the data.
    DataError
        The data cannot be cut as the new bundle's recipe says.
    """
    say = say or _silent
    stage, notes = _unseen(new, new, dataset)
    panel = panel_of(stage, new.model.catalog, most=viewers, seed=new.model.recipe.seed)
    if len(panel.queries) < FEWEST:
        remedy = "import more of the log, or widen the split that it was trained with"
        raise ReleaseError(
            f"only {len(panel.queries)} viewers have a target in the newest window of '{dataset.path}', "
            f"and {FEWEST} are the fewest to judge by: {remedy}"
        )
    seed = new.model.recipe.seed
    say(f"asking bundle {new.bundle_id} about {len(panel.queries):,} viewers")
    ours = _ndcg(Subject(new.model, ()), SLATE, panel, seed, say)
    if old:
        rival, there, more = _rival(old, new, dataset)
        say(f"asking bundle {rival.bundle_id} about the same viewers")
        same = panel_of(there, rival.model.catalog, most=viewers, seed=seed)
        theirs = _ndcg(Subject(rival.model, ()), SLATE, same, seed, say)
        notes, against = tuple(dict.fromkeys((*notes, *more))), rival.bundle_id
    else:
        say("asking popularity about the same viewers")
        subject = Subject(new.model, (_popularity(new, stage),))
        theirs, against = _ndcg(subject, POPULARITY, panel, seed, say), POPULARITY
    return _verdict(ours, theirs, judged=new.bundle_id, against=against, data=dataset.title, margin=margin, notes=notes)


def _unseen(bundle: Bundle, cutter: Bundle, dataset: Dataset) -> tuple[Stage, tuple[str, ...]]:
    """Return the newest window in a bundle's codes, cut as ``cutter`` says.

    Raises
    ------
    ReleaseError
        The bundle has learned from it.
    """
    stage = newest_stage(bundle, dataset, cutter.model.recipe.protocol, like=cutter.model)
    notes = notes_on(bundle, dataset, stage)
    if SEEN in notes:
        remedy = (
            "train it with --upto test, or name with --twin a bundle of the same recipe that was"
            if bundle is cutter
            else "judge on a newer log, which neither has seen"
        )
        raise ReleaseError(
            f"bundle {bundle.bundle_id} has learned from the newest window of '{dataset.path}', so it cannot be judged "
            f"by it: {remedy}; or promote with --no-gate --because TEXT"
        )
    return stage, notes


def _rival(old: Sequence[Bundle], new: Bundle, dataset: Dataset) -> tuple[Bundle, Stage, tuple[str, ...]]:
    """Return the first of ``old`` that has not seen the window."""
    refused: ReleaseError | None = None
    for bundle in old:
        try:
            stage, notes = _unseen(bundle, new, dataset)
        except ReleaseError as error:
            refused = refused or error
        else:
            return bundle, stage, (*notes, *_differences(bundle, new))
    raise refused or AssertionError("there is no rival to choose")


def _differences(old: Bundle, new: Bundle) -> tuple[str, ...]:
    """Return a note where the two were not trained for the same task."""
    tasks = [(b.model.recipe.protocol, b.model.recipe.signals, b.model.positive_kinds) for b in (old, new)]
    note = (
        f"bundle {old.bundle_id} was trained for another protocol or other interest: both are judged by the new one's"
    )
    return () if tasks[0] == tasks[1] else (note,)


def _popularity(bundle: Bundle, stage: Stage) -> CandidateSource:
    model = bundle.model
    known = replace(stage.history.take(stage.history.item < len(model.catalog)), n_items=len(model.catalog))
    context = FitContext(known.histories(model.catalog.duration), model.catalog, stage.now, model.recipe.seed)
    return SourceConfig.variants[POPULARITY]().fit(context)


def _ndcg(subject: Subject, model: str, panel: Panel, seed: int, say: Say) -> Floats:
    """``[B]``: each viewer's NDCG@10."""
    ranks_T = answer(subject, panel, seed, say).by_model[model].all_ranks()
    return metrics.multi_ndcg_at(ranks_T, panel.offsets, SLATE_SIZE)


def _verdict(
    ours_B: Floats, theirs_B: Floats, *, judged: str, against: str, data: str, margin: float, notes: tuple[str, ...]
) -> Verdict:
    difference = metrics.paired_difference(ours_B, theirs_B, seed=0)
    share = difference.percent
    # Where the old one is right about nobody, no share of it can be lost.
    passed = share.low > -margin if math.isfinite(share.low) else difference.absolute.low >= 0
    percent, low, high = (value if math.isfinite(value) else None for value in (share.mean, share.low, share.high))
    return Verdict(
        passed=bool(passed),
        judged=judged,
        against=against,
        metric="slate ndcg@10",
        viewers=len(ours_B),
        data=data,
        new=float(ours_B.mean()),
        old=float(theirs_B.mean()),
        percent=percent,
        low=low,
        high=high,
        margin=margin,
        notes=notes,
    )


def _silent(line: str) -> None:
    del line
