"""A fleet under measurement: a Redis of its own, gateways and workers as processes of their own.

Each member is started as the supervisor starts it (its configuration through a pipe), one role a
process, so that processor time can be told apart by role. What Redis counts is asked of it.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil
from redis import Redis

from scripts.bench.harness import ROOT, Running
from tests.support.redis import RedisProcess
from wsserver.config import Config, Data, Limits, Log, ModelEntry, Models, Server
from wsserver.config import Redis as RedisSection
from wsserver.config.handover import pack
from wsserver.stores.redis.scripts import script

READY_SECONDS = 30.0

SCRIPTS = ROOT / "wsserver" / "stores" / "redis" / "lua"


class Member(Running):
    """A gateway (with its address), or a worker, which has a supervisor."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        started = psutil.Process(process.pid)
        super().__init__(url, started if url.startswith("ws:") else started.children()[0])
        self.popen = process

    def kill(self) -> None:
        """kill -9. The supervisor of a worker lives."""
        self.process.kill()
        self.process.wait()

    def lose(self) -> None:
        """kill -9 of it and its supervisor, which can tell nobody: as if its host were gone."""
        self.popen.kill()
        self.kill()

    def end(self) -> None:
        """SIGTERM, without waiting."""
        self.popen.send_signal(signal.SIGTERM)


@dataclass(frozen=True)
class Counts:
    """What Redis has counted at a moment."""

    at: float
    calls: int
    scripts: int
    bytes_in: int
    bytes_out: int
    cpu: float


class Fleet:
    """Its members, and the Redis between them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self.redis_process = RedisProcess(folder)
        self.redis_process.start()
        stack.callback(self.redis_process.stop)
        self.redis = Redis.from_url(self.redis_process.url)
        stack.callback(self.redis.close)
        self.gateways: list[Member] = []
        self.workers: list[Member] = []
        self._asked = self._asked_in = self._asked_out = 0

    def gateway(self) -> Member:
        """One more gateway, with a port of its own."""
        # Of two, so that no engine runs in it: those are the workers'.
        gateway = self._start("gateway", self._config(processes=2), rb"ws://\S+")
        self.gateways.append(gateway)
        return gateway

    def worker(self, source: str, *, drain_seconds: float = 1.0) -> Member:
        """One more worker with the model ``m`` of this source, and its supervisor."""
        entry = ModelEntry(id="m", source=source)
        models = Models(start=("m",), model=(entry,))
        config = self._config(models=models, drain_seconds=drain_seconds)
        worker = self._start("worker supervisor", config, rb"Worker")
        self.workers.append(worker)
        return worker

    def ready(self) -> None:
        """Wait until each gateway knows of a model that answers."""
        deadline = time.monotonic() + READY_SECONDS
        for gateway in self.gateways:
            address = gateway.url.replace("ws://", "http://").removesuffix("/ws") + "/readyz"
            while not _is_ready(address):
                if time.monotonic() > deadline:
                    raise RuntimeError("a gateway did not become ready")
                time.sleep(0.05)

    def counts(self) -> Counts:
        """What Redis has counted by now, without what asking it made it count."""
        question = ("INFO", "stats", "commandstats", "cpu")
        reply = self.redis_process.ask(*question)
        info = dict(re.findall(r"^(\w+):([\d.]+)\r$", reply, re.M))
        evalsha = re.search(r"^cmdstat_evalsha:calls=(\d+)", reply, re.M)
        self._asked += 1
        self._asked_in += len(" ".join(question)) + 2
        counts = Counts(
            at=time.perf_counter(),
            calls=int(info["total_commands_processed"]) - self._asked,
            scripts=int(evalsha[1]) if evalsha else 0,
            bytes_in=int(info["total_net_input_bytes"]) - self._asked_in,
            bytes_out=int(info["total_net_output_bytes"]) - self._asked_out,
            cpu=float(info["used_cpu_user"]) + float(info["used_cpu_sys"]),
        )
        self._asked_out += len(reply)
        return counts

    @contextmanager
    def steps(self) -> Iterator[Counter[str]]:
        """The steps and plain commands that Redis runs meanwhile, by their names.

        What it reports costs it several times what it does: no figure else holds in this time.
        """
        names = _step_names()
        seen: Counter[str] = Counter()
        with self.redis.monitor() as monitor:  # type: ignore[no-untyped-call]  # the library is
            yield seen
            mark = "steps-end"
            self.redis.echo(mark)
            for entry in monitor.listen():
                words = entry["command"].split()
                if words[:2] == ["ECHO", mark]:
                    break
                if entry["client_type"] == "lua":  # what the steps do
                    continue
                seen[names.get(words[1], words[1]) if words[0] == "EVALSHA" else words[0]] += 1

    def kept_bytes(self, stream_id: str) -> int:
        """Memory of Redis that an answer takes, of all keys that carry its id."""
        keys = self.redis.scan_iter(f"*{stream_id}*", count=1000)
        return sum(self.redis.memory_usage(key, samples=0) or 0 for key in keys)

    def _config(
        self, *, processes: int = 1, models: Models | None = None, drain_seconds: float = 1.0
    ) -> Config:
        server = Server(
            port=0, processes=processes, max_connections=20_000, drain_seconds=drain_seconds
        )
        return Config(
            server=server,
            limits=Limits(max_concurrent_streams=20_000, queue_per_model=20_000),
            redis=RedisSection(url=self.redis_process.url),
            data=Data(dir=str(self._folder)),
            log=Log(format="json", level="error"),
            models=models or Models(start=()),
        )

    def _start(self, role: str, config: Config, mark: bytes) -> Member:
        process = subprocess.Popen(
            [sys.executable, "-m", "wsserver.cli.member", role],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        self._stack.callback(_end, process)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pack(config))
        process.stdin.flush()
        return Member(process, _until(process.stdout, mark))


@contextmanager
def running_fleet() -> Iterator[Fleet]:
    """An empty fleet, its Redis running."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        yield Fleet(Path(folder), stack)


def cpu_seconds(members: Sequence[Running]) -> float:
    return sum(member.cpu_seconds() for member in members)


def _until(output: IO[bytes], mark: bytes) -> str:
    for line in output:
        found = re.search(mark, line)
        if found:
            return found[0].decode()
    raise RuntimeError("a member ended before it was there")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        stream.close()


def _is_ready(address: str) -> bool:
    try:
        with urlopen(address) as reply:
            return bool(reply.status == 200)
    except HTTPError:
        return False


def _step_names() -> dict[str, str]:
    """The steps' names by the digests that Redis knows them by."""
    paths = [path for path in SCRIPTS.glob("*/*.lua") if path.stem != "common"]
    names = [f"{path.parent.name}/{path.stem}" for path in paths]
    return {script(name).digest: name for name in names}
