"""Writes what is known about the finished file: training.json and the model card."""

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import texts
from .conversations import ConversationMaker
from .model import ModelConfig
from .train import TrainingSettings

PACKAGES = ("torch", "tokenizers", "gguf", "numpy", "xllamacpp")
LOSS_ROWS = 14
"""Rows of the card's loss table; training.json has all of them."""

Record = dict[str, Any]


def make_record(
    maker: ConversationMaker,
    config: ModelConfig,
    settings: TrainingSettings,
    seeds: dict[str, int],
    progress: Record,
    package: str,
    file: Path,
    evaluation: Record,
) -> Record:
    """Everything needed to understand or repeat the run."""
    nouns = maker.nouns.values()
    return {
        "data": {
            "package": package,
            "license": "WordNet 3.0 (LICENSE.WordNet)",
            "nouns": len(maker.nouns),
            "handwritten_entries": len(texts.entries()),
            "definition_characters": sum(len(noun.gloss) for noun in nouns),
            "small_talk_questions": sum(
                len(exchange.questions)
                for exchanges in maker.small_talk.values()
                for exchange in exchanges
            ),
            "definition_forms": len({*maker.forms["definition"], *maker.forms["bare"]}),
        },
        "model": asdict(config),
        "settings": asdict(settings),
        "seeds": seeds,
        "packages": {name: version(name) for name in PACKAGES},
        "result": {key: value for key, value in progress.items() if key != "log"},
        "file_bytes": file.stat().st_size,
        "log": progress["log"],
        "evaluation": evaluation,
    }


def write(record: Record, folder: Path, parameters: int) -> None:
    """Writes training.json and README.md into the folder of the model file."""
    text = json.dumps(record, indent=1, ensure_ascii=False)
    (folder / "training.json").write_text(text + "\n", encoding="utf-8")
    template = (texts.FOLDER / "card.md").read_text(encoding="utf-8")
    card = template
    for name, value in _slots(record, parameters).items():
        card = card.replace("{{" + name + "}}", value)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _slots(record: Record, parameters: int) -> dict[str, str]:
    result, evaluation, data = record["result"], record["evaluation"], record["data"]
    transcripts = evaluation["transcripts"]
    slots = {
        "parameters": f"{parameters / 1e6:.1f} million",
        "megabytes": f"{record['file_bytes'] / 1e6:.1f} MB",
        "nouns": str(data["nouns"]),
        "handwritten": str(data["handwritten_entries"]),
        "small_talk": str(data["small_talk_questions"]),
        "forms": str(data["definition_forms"]),
        "package": data["package"],
        "minutes": f"{result['seconds'] / 60:.0f}",
        "steps": str(result["steps"]),
        "tokens": f"{result['tokens'] / 1e6:.1f} million",
        "answer_tokens": f"{result['answer_tokens'] / 1e6:.1f} million",
        "long_share": f"{100 * result['long_tokens'] / result['tokens']:.0f} %",
        "final_loss": f"{record['log'][-1]['loss']:.3f}",
        "speed": str(evaluation["tokens_per_second"]),
        "shape": ", ".join(f"{key} {value:g}" for key, value in record["model"].items()),
        "packages": ", ".join(f"{name} {v}" for name, v in record["packages"].items()),
        "note": record["note"],
        "loss_table": _loss_table(record["log"]),
        "recall_table": _recall_table(evaluation),
        "length_table": _length_table(evaluation["long_chats"]),
        "conversation": _dialogue(transcripts["conversation"]),
        "long": _dialogue(transcripts["long"]),
    }
    for section in ("planned", "free", "words", "lists", "refusals"):
        slots[section] = _table(
            ("Question", "Temperature 0", "Temperature 0.6"),
            [
                (row["question"], row["greedy"], _unless_same(row["sampled"], row["greedy"]))
                for row in transcripts[section]
            ],
        )
    return slots


def _unless_same(text: str, other: str) -> str:
    return "(the same)" if text == other else text


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _loss_table(log: list[dict[str, float]]) -> str:
    probed = [entry for entry in log if "recall" in entry]
    step = max(1, len(probed) // LOSS_ROWS)
    chosen = probed[:-1:step] + probed[-1:]
    rows = []
    for entry in chosen:
        tokens, loss = f"{entry['tokens'] / 1e6:.2f} M", f"{entry['loss']:.3f}"
        rows.append((f"{entry['minutes']:.0f}", tokens, loss, f"{entry['recall']:.2f}"))
    return _table(("Minutes", "Tokens seen", "Loss on answers", "Recall of 96 nouns"), rows)


def _share(right: int, of: int) -> str:
    return f"{right / of:.3f}"


def _recall_table(evaluation: Record) -> str:
    rows = [
        (f"`{form}`", _share(r["right"], r["of"]), str(r["of"]))
        for form, r in evaluation["recall"].items()
    ]
    named = {
        "kinds": "`Is {a} (its category)?`, yes expected",
        "capitals": "capitals",
        "sums": "sums, 0 to 10 (all trained)",
    }
    for key, label in named.items():
        rows.append((label, _share(evaluation[key]["right"], evaluation[key]["of"]),
                     str(evaluation[key]["of"])))  # fmt: skip
    rows += [
        (f"says that it does not know: {name} words", _share(r["refused"], r["of"]), str(r["of"]))
        for name, r in evaluation["unknown"].items()
    ]
    return _table(("Asked", "Share right", "Of"), rows)


def _length_table(chats: Record) -> str:
    rows = [(key, _share(r["right"], r["of"]), str(r["of"])) for key, r in chats.items()]
    return _table(("Tokens of chat before the question", "Share right", "Of"), rows)


def _dialogue(rows: list[dict[str, str]]) -> str:
    return "\n".join(f"- **{row['question']}** {row['greedy']}" for row in rows)
