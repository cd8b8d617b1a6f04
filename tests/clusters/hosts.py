"""Hosts on one machine: network namespaces on a bridge, each with an address, a loopback and a ``/tmp/ray`` of its own.

::

    with hosts(3, scratch) as [head, *others]:
        head.run(["ray", "start", "--head", f"--node-ip-address={head.address}"], env=...)
        others[0].cut()    # nothing reaches it or leaves it
        others[0].mend()
        others[1].kill()   # every process of it ends at once

The test itself stands on the bridge: it reaches each host by its address. All else is shared, files above all, as on
hosts that mount the same volume. It takes Linux, root and iproute2; where they are missing, :class:`NoHostsError` says
so. Whatever happens in the block, processes, links and namespaces go with it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

RAY_FOLDER: Final = Path("/tmp/ray")  # noqa: S108 - where Ray keeps its sessions unless it is told otherwise
_NETWORKS: Final = [f"198.18.{number}" for number in range(256)]
"""RFC 2544 sets these addresses aside for tests of networks: nobody else has them."""
_END_S: Final = 10.0
_OWN: Final = ("lo", "eth0")
_AS_HOST: Final = 'mount --bind "$0" /tmp/ray && exec "$@"'
"""Every command of ``ip netns exec`` has mounts of its own."""


class NoHostsError(Exception):
    """Hosts cannot be made here; the message says why."""


@dataclass(frozen=True)
class Host:
    """One of them.

    Parameters
    ----------
    name
        Its namespace, and the bridge's end of its cable.
    address
        Its IPv4 address.
    folder
        What it sees as ``/tmp/ray``.
    """

    name: str
    address: str
    folder: Path

    def start(self, command: Sequence[str], env: Mapping[str, str], **options: Any) -> subprocess.Popen[str]:
        """Start a command on it; options are those of ``subprocess.Popen``."""
        words = ["ip", "netns", "exec", self.name, "sh", "-c", _AS_HOST, str(self.folder), *command]
        return subprocess.Popen(words, env=dict(env), text=True, **options)

    def run(self, command: Sequence[str], env: Mapping[str, str], *, timeout_s: float = 120.0) -> str:
        """Run a command on it to its end; return what it printed.

        Raises
        ------
        AssertionError
            It ended with another status than 0.
        """
        # A file and not a pipe: what the command leaves running would hold a pipe open.
        said = self.folder.with_suffix(".said")
        with said.open("w") as out:
            process = self.start(command, env, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
            status = process.wait(timeout_s)
        assert status == 0, f"{' '.join(command)} on {self.name} ended with {status}:\n{said.read_text()}"
        return said.read_text()

    def pids(self) -> list[int]:
        """Return the processes that run on it."""
        return [int(pid) for pid in _ip("netns", "pids", self.name).split()]

    def pid_of(self, program: str) -> int:
        """Return the process that runs a program such as ``gcs_server``."""
        [pid] = [pid for pid in self.pids() if Path(_words(pid)[0]).name == program]
        return pid

    def kill(self) -> None:
        """End every process of it at once, as when its power fails."""
        give_up = time.monotonic() + _END_S
        while (pids := self.pids()) and time.monotonic() < give_up:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def cut(self) -> None:
        """Pull its cable: packets are lost, connections stay open and hear nothing."""
        _ip("link", "set", self.name, "down")

    def mend(self) -> None:
        """Put its cable back."""
        _ip("link", "set", self.name, "up")

    @contextmanager
    def without(self, program: str) -> Iterator[None]:
        """Kill a program's process, and start it again as it was when the block ends."""
        pid = self.pid_of(program)
        words, place = _words(pid), Path(f"/proc/{pid}")
        held = dict(one.split("=", 1) for one in _zero_ended(place / "environ") if "=" in one)
        folder = (place / "cwd").readlink()
        os.kill(pid, signal.SIGKILL)
        try:
            yield
        finally:
            quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            # As a daemon: nobody here has to wait for it.
            daemon = ["sh", "-c", '"$@" &', "sh", *words]
            self.start(daemon, held, cwd=folder, start_new_session=True, **quiet).wait()


@contextmanager
def hosts(count: int, scratch: Path) -> Iterator[list[Host]]:
    """Have hosts while the block runs.

    Parameters
    ----------
    scratch
        A folder that is there, for what they keep apart.

    Raises
    ------
    NoHostsError
        This is not Linux, not root, or has no iproute2; or the kernel refuses.
    """
    if os.name != "posix" or os.geteuid() or not shutil.which("ip"):
        raise NoHostsError("hosts are network namespaces, which take Linux, root and iproute2")
    # Of this process, and of no hosts that it had before: their ends may still be on the way out.
    tag = f"fv{os.getpid():x}{secrets.token_hex(2)}"
    with ExitStack() as stack:
        try:
            network = _network()
            RAY_FOLDER.mkdir(exist_ok=True)
            _made(stack, ("link", "add", tag, "type", "bridge"), ("link", "del", tag))
            _ip("addr", "add", f"{network}.254/24", "dev", tag)
            _ip("link", "set", tag, "up")
            made = [_host(stack, tag, network, number, scratch) for number in range(count)]
        except subprocess.CalledProcessError as error:
            raise NoHostsError(f"'{' '.join(error.cmd)}' is refused here: {error.stderr.strip()}") from error
        yield made


def _host(stack: ExitStack, bridge: str, network: str, number: int, scratch: Path) -> Host:
    """Make one, and have the stack take it away again."""
    name = f"{bridge}-{number}"
    host = Host(name, f"{network}.{number + 1}", scratch / name)
    host.folder.mkdir()
    _made(stack, ("netns", "add", name), ("netns", "del", name))
    stack.callback(host.kill)
    # It would go with the namespace, but only when the kernel gets round to that.
    _made(stack, ("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name), ("link", "del", name))
    _ip("link", "set", name, "master", bridge, "up")
    for words in (("addr", "add", f"{host.address}/24", "dev", "eth0"), *(("link", "set", d, "up") for d in _OWN)):
        _ip("-n", name, *words)
    _ip("-n", name, "route", "add", "default", "via", f"{network}.254")
    return host


def _made(stack: ExitStack, make: Sequence[str], unmake: Sequence[str]) -> None:
    _ip(*make)
    stack.callback(_ip, *unmake)


def _network() -> str:
    """Return the first three numbers of addresses that no interface of this machine has."""
    told = json.loads(_ip("-j", "-4", "addr"))
    taken = {one["local"].rpartition(".")[0] for interface in told for one in interface.get("addr_info", [])}
    return next(network for network in _NETWORKS if network not in taken)


def _ip(*words: str) -> str:
    command = [shutil.which("ip") or "ip", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _words(pid: int) -> list[str]:
    """Return a process's command line; of one that has just ended, an empty word."""
    try:
        return _zero_ended(Path(f"/proc/{pid}/cmdline")) or [""]
    except OSError:
        return [""]


def _zero_ended(path: Path) -> list[str]:
    return path.read_bytes().decode().rstrip("\0").split("\0")
