"""``python -m scripts.bench [NAME …]``: measure, print, and keep the results."""

from __future__ import annotations

import json
import sys

from scripts.bench import (
    crowds,
    deaths,
    engines,
    histories,
    latency,
    over_redis,
    recovery,
    sharing,
    throughput,
)
from scripts.bench.harness import save

MEASUREMENTS = {
    "frames": throughput.frames,
    "idle": throughput.idle,
    "first_token": latency.first_token,
    "stop": latency.stop,
    "paced": latency.paced,
    "through": engines.through,
    "resume": recovery.resume,
    "stalled": recovery.stalled,
    "fairness": sharing.fairness,
    "failover": sharing.failover,
    "redis": over_redis.redis,
    "room": crowds.room,
    "fleet_idle": crowds.fleet_idle,
    "deaths": deaths.deaths,
    "history_appends": histories.history_appends,
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        print(f"no such measurement: {', '.join(unknown)}; there are: {', '.join(MEASUREMENTS)}")
        return 2
    for name in names or MEASUREMENTS:
        print(f"{name}: {(MEASUREMENTS[name].__doc__ or '').splitlines()[0]}", flush=True)
        figures = MEASUREMENTS[name]()
        print(json.dumps(figures, indent=2))
        print(f"kept in {save(name, figures)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
