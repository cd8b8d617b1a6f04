"""The bundle card: what a person wants to know of a bundle, on one page of Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from foveate.bundle.manifest import Manifest, Metrics
from foveate.recommend.model import Model

_WHAT_LIES_WHERE = """\
| file | what it is |
|---|---|
| `manifest.json` | every file with its checksum, and everything on this page for a program |
| `recipe.yaml` | how to train this again: `foveate train --config recipe.yaml` |
| `catalog.parquet` | the items |
| `sources/*.safetensors` | what each candidate source has learned |
| `features.safetensors` | what the features remember of the items |
| `learned.safetensors` | the items as vectors, for policies that ask how alike two are |
| `trending.safetensors` | what everyone watches, for when no source can be asked |
| `ranker/*` | the re-ranker, as text |
| `golden.json` | made-up requests and how they were answered, asked again wherever this is loaded to serve |

No viewer's history is in here, and no pickle. The folder never changes: with one byte altered it is refused."""

VIEWERS_ASKED = "viewers"
"""The figure that says how many viewers the others were measured on."""


def card(manifest: Manifest, model: Model) -> str:
    """Write the card of a bundle."""
    return "\n\n".join(_sections(manifest, model)) + "\n"


def _sections(manifest: Manifest, model: Model) -> Iterator[str]:
    yield f"# Bundle `{manifest.bundle_id}`"
    yield _summary(manifest, model)
    if manifest.simulated:
        yield "> **Simulated.** Its data come from a simulated world: its figures say nothing about real viewers."
    yield "## What was measured\n\n" + _metrics(manifest.metrics)
    yield "## How it chooses\n\n" + _choice(manifest, model)
    yield "## Where it comes from\n\n" + _origin(manifest)
    yield "## What lies where\n\n" + _WHAT_LIES_WHERE
    yield "## The columns of a feature row\n\n" + ", ".join(f"`{name}`" for name in manifest.columns) + "."


def _summary(manifest: Manifest, model: Model) -> str:
    sources = _listed(manifest.sources)
    clock = "the time of a request" if model.clock == "time" else "the order of events alone, never the time"
    return (
        f"Recommends from {manifest.items:,} videos in two stages: {sources} each offer their best"
        f" {model.recipe.candidates}, and a `{type(model.recipe.ranker).name}` ranker orders them by"
        f" {len(manifest.columns)} columns. It reads {clock}. "
        f"What counts as interest: {_listed(manifest.positive_kinds)}."
    )


def _metrics(metrics: Metrics) -> str:
    if not metrics:
        return "Nothing was measured on this bundle. `foveate evaluate` does."
    return "\n\n".join(_window(name, models) for name, models in metrics.items())


def _window(name: str, models: Mapping[str, Mapping[str, float]]) -> str:
    columns = list(dict.fromkeys(metric for figures in models.values() for metric in figures))
    lines = [f"| {name} | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    for model, figures in models.items():
        cells = [_cell(metric, figures.get(metric)) for metric in columns]
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(metric: str, figure: float | None) -> str:
    if figure is None:
        return ""
    return f"{figure:,.0f}" if metric == VIEWERS_ASKED else f"{figure:.4f}"


def _choice(manifest: Manifest, model: Model) -> str:
    recipe = model.recipe
    rules = ", ".join(recipe.constraints.labels) or "no constraints"
    return "\n".join(
        [
            f"- Candidates: {_listed(manifest.sources)}; what a viewer has already met is left out first.",
            f"- Order: `{type(recipe.ranker).name}`.",
            f"- Slate: policy `{type(recipe.policy).name}`; {rules}.",
        ]
    )


def _origin(manifest: Manifest) -> str:
    sweep = "no sweep: the recipe was given"
    if manifest.sweep:
        sweep = ", ".join(f"{key} {value}" for key, value in manifest.sweep.items())
    lines = [
        f"- Data: {manifest.data or 'no title'}, content hash `{manifest.data_hash or 'unknown'}`",
        f"- Settings: {sweep}",
        f"- Seeds: {', '.join(map(str, manifest.seeds)) or 'not given'}",
        f"- Parent: {f'`{manifest.parent}`' if manifest.parent else 'none, it is the first of its line'}",
        f"- Written by Foveate {manifest.foveate}; feature layout `{manifest.feature_schema}`",
    ]
    return "\n".join(lines)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
