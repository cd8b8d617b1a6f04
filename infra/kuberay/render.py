"""Makes each overlay's ``serve.yaml``, which Ray Serve reads, from its ``foveate.yaml``, which people write.

Run it after a change of a ``foveate.yaml``, or of the place of viewers' state in a ``kustomization.yaml``; a test finds
the overlay where it was forgotten.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import yaml

from foveate.core.config import from_dict, load_yaml
from foveate_serve.app import application_settings
from foveate_serve.config import ServeConfig
from foveate_serve.operations.running import serve_settings

OVERLAYS: Final = Path(__file__).resolve().parent / "overlays"
BUNDLE: Final = Path("/foveate/registry/current")
_HEAD: Final = "# Made by infra/kuberay/render.py from foveate.yaml; do not change it by hand.\n"


def state_of(overlay: Path) -> str:
    """Return where an overlay has viewers' state: a literal of its ConfigMap, which the follower reads too."""
    customization = load_yaml(overlay / "kustomization.yaml")
    literals = [one for made in customization["configMapGenerator"] for one in made.get("literals", [])]
    [place] = [value for name, _, value in (one.partition("=") for one in literals) if name == "state"]
    return str(place)


def rendered(overlay: Path) -> str:
    """Return the Serve config of an overlay, as YAML."""
    config = from_dict(ServeConfig, load_yaml(overlay / "foveate.yaml"))
    options: dict[str, Any] = {"host": config.host, "port": config.port}
    # Each node that has a replica answers, and the head, where the follower and KubeRay ask, does too.
    settings = serve_settings([application_settings(BUNDLE, state_of(overlay), config)], options, "EveryNode")
    return _HEAD + yaml.safe_dump(settings, sort_keys=False)


def main() -> None:
    """Write every overlay's ``serve.yaml``."""
    for source in sorted(OVERLAYS.glob("*/foveate.yaml")):
        (source.parent / "serve.yaml").write_text(rendered(source.parent), encoding="utf-8")
        sys.stdout.write(f"{source.parent.name}/serve.yaml\n")


if __name__ == "__main__":
    main()
