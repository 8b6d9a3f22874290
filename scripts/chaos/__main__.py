"""``python -m scripts.chaos``: break a fleet in every way, and see whether anyone notices."""

from __future__ import annotations

import argparse
import json
import random
import sys
from datetime import UTC, datetime
from pathlib import Path

from scripts.bench.harness import machine
from scripts.chaos.faults import FAULTS, LOSING
from scripts.chaos.run import Plan, run

RESULTS = Path(__file__).resolve().parent / "results"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.chaos", description=__doc__)
    usual = [kind for kind in FAULTS if kind not in LOSING]
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--seconds", type=float, default=120.0, help="of blows and of asking")
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--every", type=float, default=4.0, help="seconds between blows")
    parser.add_argument("--window", type=float, default=12.0, help="seconds a place is kept")
    parser.add_argument(
        "--faults",
        default=",".join(usual),
        help=f"kinds, between commas: {', '.join(FAULTS)}; all but the last two by default, "
        "since Redis loses data by those. None: no faults",
    )
    parser.add_argument("--logs", type=Path, help="keep logs and Redis' files in this folder")
    parser.add_argument("--save", action="store_true", help="keep the result among the results")
    return parser.parse_args()


def main() -> int:
    given = _arguments()
    kinds = [kind for kind in given.faults.split(",") if kind]
    if unknown := [kind for kind in kinds if kind not in FAULTS]:
        print(f"no such fault: {', '.join(unknown)}; there are: {', '.join(FAULTS)}")
        return 2
    plan = Plan(given.seed, given.seconds, given.clients, kinds, given.every, given.window)
    print(f"seed {plan.seed}, {plan.clients} clients, {plan.seconds:g} s", flush=True)
    result = run(plan, given.logs).result()
    print(json.dumps(result, indent=2))
    if given.save:
        document = {
            "command": f"python -m scripts.chaos --seed {plan.seed} --seconds {plan.seconds:g} "
            f"--clients {plan.clients} --every {plan.every:g} --window {plan.window:g}",
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "result": result,
        }
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{'lossy' if LOSING & set(kinds) else 'chaos'}.json"
        path.write_text(json.dumps(document, indent=2) + "\n")
        print(f"kept in {path}")
    return 1 if result["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
