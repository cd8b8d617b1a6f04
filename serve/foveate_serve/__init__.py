"""Serving over HTTP with Ray Serve.

:func:`run` serves from a script or a notebook; :mod:`foveate_serve.client` asks a running server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import foveate as _foveate  # noqa: F401  (old names of modules)

if TYPE_CHECKING:
    from foveate.bundle import Bundle
    from foveate_serve.config import ServeConfig

__all__ = ["run"]


def run(
    bundle: Bundle | str | Path,
    config: ServeConfig | Mapping[str, Any] | str | Path | None = None,
    *,
    state: str | Path | None = None,
    address: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> AbstractContextManager[str]:
    """Serve a bundle over HTTP while a ``with`` block runs; what it yields is the server's URL.

    Parameters
    ----------
    bundle
        What :func:`foveate.train` returned, its folder, or its address.
    config
        How to serve: settings such as ``{"port": 0}``, or the path of a YAML file of them.
    state
        Viewers' events and impressions: a file, or an address such as ``redis://HOST:PORT/DB``. None takes the store of
        the bundle's registry, or the file beside the bundle.
    address
        A running Ray cluster; None starts one here that ends with the block.
    progress
        Called with one line of news a step.

    Raises
    ------
    ConfigError, BundleError, StateError
        A setting, the bundle or the store cannot be used, or the port is taken.
    ServingError
        The replicas did not become ready.

    Examples
    --------
    >>> import foveate, foveate_serve
    >>> from foveate_serve.client import Client, RecommendIn
    >>> data = foveate.simulate(viewers=120, items=80, days=14)
    >>> bundle = foveate.train(data, {"sources": ["covisitation", "popularity"]})
    >>> with foveate_serve.run(bundle, {"port": 0, "topology": "fused"}) as url, Client(url) as server:
    ...     slate = server.recommend(RecommendIn(user_id="u00017", k=3))
    >>> len(slate.items)
    3
    """
    from foveate.bundle import Bundle  # noqa: PLC0415 - Ray and torch start slowly
    from foveate.core.config import from_dict, load_yaml  # noqa: PLC0415
    from foveate_serve.app import start  # noqa: PLC0415
    from foveate_serve.config import ServeConfig  # noqa: PLC0415

    if isinstance(config, (str, Path)):
        config = load_yaml(Path(config))
    settings = config if isinstance(config, ServeConfig) else from_dict(ServeConfig, config or {})
    place = bundle.path if isinstance(bundle, Bundle) else bundle
    return start(place, state, settings, address=address, progress=progress)


def __dir__() -> list[str]:
    return list(__all__)
