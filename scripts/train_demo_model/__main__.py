"""Command line: `python -m scripts.train_demo_model [--work FOLDER] [--minutes N] STEP ...`."""

import argparse
import os
from pathlib import Path

STEPS = ("fetch", "train", "export", "evaluate")
TARGET = Path("wsserver/demo")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.train_demo_model")
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {STEPS}; all if none")
    parser.add_argument("--work", type=Path, default=Path("build/demo_model"))
    parser.add_argument("--target", type=Path, default=TARGET, help="where the model file goes")
    parser.add_argument("--minutes", type=float, default=97.0, help="length of the training")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--note", default="", help="a remark on the run, for the record")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    from . import steps

    for name in options.steps or STEPS:
        getattr(steps, name)(options)


main()
