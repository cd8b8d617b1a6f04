"""``python -m foveate_cli``: the command line where no script was installed, as on a cluster's nodes."""

from __future__ import annotations

from foveate_cli.main import main

main()
