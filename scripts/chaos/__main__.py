"""``python -m scripts.chaos``: break a fleet in every way, and see whether anyone notices."""

from __future__ import annotations

import argparse
import json
import random
import sys
from datetime import UTC, datetime
from pathlib import Path

from scripts.bench.harness import machine
from scripts.chaos import network
from scripts.chaos.faults import FAULTS, LOSING, possible
from scripts.chaos.run import Plan, run

RESULTS = Path(__file__).resolve().parent / "results"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--seconds", type=float, default=120.0, help="of blows and of asking")
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--every", type=float, default=4.0, help="seconds between blows")
    parser.add_argument("--window", type=float, default=12.0, help="seconds a place is kept")
    parser.add_argument(
        "--faults",
        help=f"kinds, between commas: {', '.join(FAULTS)}; by default all but the last two, since "
        "Redis loses data by those, and over a cluster but those of links. Empty: no faults",
    )
    parser.add_argument("--cluster", action="store_true", help="a Redis Cluster of three nodes")
    parser.add_argument("--no-rooms", action="store_true", help="nobody goes into a room")
    parser.add_argument("--logs", type=Path, help="keep logs and Redis' files in this folder")
    parser.add_argument("--save", action="store_true", help="keep the result among the results")
    given = parser.parse_args()
    given.apart = not given.cluster and network.is_allowed()
    return given


def _kinds(given: argparse.Namespace) -> list[str]:
    if given.faults is not None:
        return [kind for kind in given.faults.split(",") if kind]
    return possible(is_cluster=given.cluster, is_apart=given.apart)


def _command(plan: Plan, faults: str | None) -> str:
    """What to type for the same run."""
    words = ["python -m scripts.chaos", f"--seed {plan.seed} --seconds {plan.seconds:g}"]
    words.append(f"--clients {plan.clients} --every {plan.every:g} --window {plan.window:g}")
    if plan.cluster:
        words.append("--cluster")
    if not plan.has_rooms:
        words.append("--no-rooms")
    if faults is not None:
        words.append(f"--faults {faults}")
    return " ".join(words)


def _name(plan: Plan) -> str:
    """Under which a result is kept."""
    if plan.cluster:
        return "cluster"
    return "losses" if LOSING & set(plan.faults) else "chaos"


def main() -> int:
    given = _arguments()
    kinds = _kinds(given)
    if unknown := [kind for kind in kinds if kind not in FAULTS]:
        print(f"no such fault: {', '.join(unknown)}; there are: {', '.join(FAULTS)}")
        return 2
    can_be = {*possible(is_cluster=given.cluster, is_apart=given.apart), *LOSING}
    if out_of_reach := sorted(set(kinds) - can_be):
        print(
            f"not here: {', '.join(out_of_reach)}. Over a cluster there is no proxy between a "
            "process and Redis; for wires it takes root and the program ip"
        )
        return 2
    plan = Plan(
        *(given.seed, given.seconds, given.clients, kinds, given.every),
        *(given.cluster, given.apart, not given.no_rooms, given.window),
    )
    print(f"seed {plan.seed}, {plan.clients} clients, {plan.seconds:g} s", flush=True)
    result = run(plan, given.logs).result()
    print(json.dumps(result, indent=2))
    if given.save:
        document = {
            "command": _command(plan, given.faults),
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "result": result,
        }
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{_name(plan)}.json"
        path.write_text(json.dumps(document, indent=2) + "\n")
        print(f"kept in {path}")
    return 1 if result["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
