"""Real redis-servers for tests: one alone on a socket of its own, or three as a cluster."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

START_SECONDS = 10.0

NODES = 3
"""Of a cluster: the fewest that Redis counts as one."""

SLOTS = 16384


class RedisProcess:
    """One server. It can be stopped and started again with what it had saved.

    Args:
        folder: Its own.
        port: Where it listens; by default on a socket in the folder.
        options: More settings of redis.conf.
    """

    def __init__(self, folder: Path, port: int | None = None, **options: str) -> None:
        self.folder = folder
        self.port = port
        self._options = {name.replace("_", "-"): value for name, value in options.items()}
        self._socket = folder / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"unix://{self._socket}" if self.port is None else f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and wait until it accepts connections."""
        options = {
            "port": str(self.port or 0),
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "logfile": str(self.folder / "redis.log"),
            **({"unixsocket": str(self._socket)} if self.port is None else {"bind": "127.0.0.1"}),
            **self._options,
            # With TLS alone there is no other port.
            **({"port": "0"} if "tls-port" in self._options else {}),
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen(
            ["redis-server", *arguments], cwd=self.folder, stdin=subprocess.DEVNULL
        )
        _wait(self._answers, lambda: self._process is not None and self._process.poll() is None)

    def stop(self) -> None:
        """End it orderly: what it has is on the disk."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once: what it had not written yet is lost."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Let it hang: connections stay, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def forget(self) -> None:
        """Delete what a stopped server would start again with."""
        shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)

    def ask(self, *words: str) -> str:
        """The raw reply to one command, at most 64 KiB of it."""
        family = socket.AF_UNIX if self.port is None else socket.AF_INET
        with socket.socket(family) as asking:
            asking.connect(str(self._socket) if self.port is None else ("127.0.0.1", self.port))
            asking.sendall((" ".join(words) + "\r\n").encode())
            return asking.recv(65536).decode()

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._signal(how)
            self._signal(signal.SIGCONT)  # a frozen one takes no other signal
            self._process.wait(10)
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _answers(self) -> bool:
        try:
            return self.ask("PING").startswith("+PONG")
        except OSError:
            return False


class RedisCluster:
    """Servers that share the slots, and those that stand by to take their places."""

    def __init__(self, nodes: list[RedisProcess], replicas: list[RedisProcess]) -> None:
        self.nodes = nodes
        self.replicas = replicas

    @property
    def url(self) -> str:
        """Where the first one listens."""
        return self.nodes[0].url

    @contextmanager
    def moving(self, slot: int) -> Iterator[tuple[RedisProcess, RedisProcess, Callable[[], None]]]:
        """A slot on its way: from, to, and what ends it. Afterwards it is at home again, empty."""
        share = SLOTS // len(self.nodes)
        home = min(slot // share, len(self.nodes) - 1)
        source, target = self.nodes[home], self.nodes[home - 1]
        ids = {node: node.ask("CLUSTER", "MYID").split("\r\n")[1] for node in (source, target)}

        def settle(owner: RedisProcess) -> None:
            for node in (owner, *self.nodes):  # the owner first: the others hear of it from there
                _expect_ok(node.ask("CLUSTER", "SETSLOT", str(slot), "NODE", ids[owner]))

        _expect_ok(target.ask("CLUSTER", "SETSLOT", str(slot), "IMPORTING", ids[source]))
        _expect_ok(source.ask("CLUSTER", "SETSLOT", str(slot), "MIGRATING", ids[target]))
        try:
            yield source, target, lambda: settle(target)
        finally:
            settle(source)

    def join(self) -> None:
        """Make a cluster of servers that have just been started, and wait until it is one."""
        share = SLOTS // len(self.nodes)
        for number, node in enumerate(self.nodes):
            last = SLOTS - 1 if node is self.nodes[-1] else (number + 1) * share - 1
            _expect_ok(node.ask("CLUSTER", "ADDSLOTSRANGE", str(number * share), str(last)))
            _expect_ok(node.ask("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1)))
        everyone = [*self.nodes, *self.replicas]
        for node in everyone[1:]:
            bus = node._options["cluster-port"]
            _expect_ok(self.nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", str(node.port), bus))
        _wait(lambda: all(_is_whole(node, len(self.nodes)) for node in everyone))
        for node, replica in zip(self.nodes, self.replicas, strict=False):
            master = node.ask("CLUSTER", "MYID").split("\r\n")[1]
            _wait(partial(_follows, replica, master))
        _wait(lambda: all("master_link_status:up" in r.ask("INFO") for r in self.replicas))


@contextmanager
def running_redis(folder: Path) -> Iterator[RedisProcess]:
    """A server for the length of the block."""
    server = RedisProcess(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def running_redis_cluster(
    folder: Path, *, has_replicas: bool = False, **given: str
) -> Iterator[RedisCluster]:
    """A cluster of `NODES` servers for the length of the block.

    Args:
        folder: Where they keep what they have.
        has_replicas: Whether each has another one that takes its place should it die.
        given: More settings of redis.conf.
    """
    with ExitStack() as stack:
        nodes = []
        for number, (port, bus) in enumerate(_free_ports(2 * NODES if has_replicas else NODES)):
            (folder / str(number)).mkdir()
            options = {"cluster_enabled": "yes", "cluster_port": str(bus), **given}
            node = RedisProcess(folder / str(number), port, **options)
            node.start()
            stack.callback(node.stop)
            nodes.append(node)
        cluster = RedisCluster(nodes[:NODES], nodes[NODES:])
        cluster.join()
        yield cluster


def redis_is_installed() -> bool:
    """Whether this machine has a redis-server to run."""
    return shutil.which("redis-server") is not None


def _free_ports(count: int) -> list[tuple[int, int]]:
    """For each of so many servers two ports that nobody had a moment ago."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2 * count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in sockets]
    return list(zip(ports[::2], ports[1::2], strict=True))


def _follows(replica: RedisProcess, master: str) -> bool:
    """Whether a server has become another one's replica; it may have to hear of that one first."""
    return replica.ask("CLUSTER", "REPLICATE", master).startswith("+OK")


def _is_whole(node: RedisProcess, nodes: int) -> bool:
    """Whether a node counts all slots as served, by all nodes, and knows their addresses."""
    slots = node.ask("CLUSTER", "SLOTS")
    return "cluster_state:ok" in node.ask("CLUSTER", "INFO") and slots.startswith(f"*{nodes}\r\n")


def _expect_ok(reply: str) -> None:
    assert reply.startswith("+OK"), reply


def _wait(condition: Callable[[], bool], may_wait: Callable[[], bool] = lambda: True) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline and may_wait(), "redis-server did not start: see its log"
        time.sleep(0.01)  # redis-server tells nobody when it is ready
