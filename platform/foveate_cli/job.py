"""``foveate job``: sweeps that were handed to a cluster."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from foveate_cli.common import before_joining, err, hanging, out
from foveate_cli.stopping import stoppable

_DASHBOARD = "http://127.0.0.1:8265"
_dashboard = click.option(
    "--address",
    default=_DASHBOARD,
    show_default=True,
    callback=before_joining,
    help="The cluster's dashboard.",
)


@click.group(short_help="Follow, stop and list submitted sweeps.")
def command() -> None:
    """Look after sweeps that 'foveate tune --submit' handed to a cluster."""


@command.command()
@click.argument("job")
@_dashboard
def follow(*, job: str, address: str) -> None:
    """Show the log of JOB from its beginning, and go on until it ends. Ctrl-C leaves it running."""
    from foveate_cluster.jobs import Jobs  # noqa: PLC0415 - Ray takes long to import

    jobs = Jobs(address)
    with _detaching(job, address):
        jobs.follow(job, _print)


@command.command()
@click.argument("job")
@_dashboard
def stop(*, job: str, address: str) -> None:
    """Stop JOB. Its sweep stays, and 'foveate tune --resume' goes on with it."""
    from foveate_cluster.jobs import Jobs  # noqa: PLC0415 - as above

    ran = Jobs(address).stop(job)
    out.print(f"{job} {'is stopped' if ran else 'had ended before'}", markup=False)


@command.command("list")
@_dashboard
def list_(*, address: str) -> None:
    """List the sweeps that were handed to the cluster, the oldest first."""
    from foveate_cluster.jobs import Jobs  # noqa: PLC0415 - as above

    for job in Jobs(address).jobs():
        began = job.began[:16].replace("T", " ")
        out.print(hanging(f"{job.job_id}  {job.status:<9}  {began}  ", f"foveate {job.words}"), markup=False)


def submit(words: Sequence[str], address: str, wheel: Path | None) -> str:
    """Hand ``foveate WORDS`` to a cluster and follow it to its end; return the job's id."""
    from foveate_cluster.jobs import Jobs  # noqa: PLC0415
    from foveate_tune import submit as handing  # noqa: PLC0415 - as above

    jobs = Jobs(address)
    err.print("packing Foveate's code")
    job = handing.submit(jobs, words, wheel=wheel, width=shutil.get_terminal_size().columns)
    with _detaching(job, jobs.address):
        # What it promises of Ctrl-C holds from here on.
        err.print(f"job {job} is on the cluster; Ctrl-C leaves it there", markup=False)
        jobs.follow(job, _print)
    return job


@contextmanager
def _detaching(job: str, address: str) -> Iterator[None]:
    where = "" if address == _DASHBOARD else f" --address {address}"
    try:
        with stoppable():
            yield
    except KeyboardInterrupt:
        err.print(f"{job} goes on without you:", markup=False)
        for verb in ("follow", "stop"):
            err.print(f"  foveate job {verb} {job}{where}", markup=False, soft_wrap=True)
        raise


def _print(line: str) -> None:
    out.print(line, markup=False)
