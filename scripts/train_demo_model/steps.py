"""The steps from nothing to the finished file, each reading what the one before left behind."""

import json
import os
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

from tokenizers import Tokenizer

from . import texts
from .conversations import ConversationMaker
from .model import ModelConfig
from .nouns import Noun, NounChooser
from .record import make_record, write
from .sequences import SequenceMaker
from .tokenizer import ChatFrame, train_tokenizer
from .train import Trainer, TrainingSettings
from .wordnet import WordNet

PACKAGE = "wordnet-base=1:3.0-37"
"""Debian's package of the dictionary; only its text files are used, nothing is installed."""

MODEL_FILE, LICENSE = "demo.gguf", "LICENSE.WordNet"
DESCRIPTION = (
    "A tiny demonstration chat model of about ten million parameters, trained from scratch on"
    " definitions of everyday nouns from WordNet 3.0; often wrong about everything else."
)

TOKENIZER_SEED, DATA_SEED = 0, 5


def fetch(options: Namespace) -> None:
    """Downloads and unpacks the Debian package."""
    subprocess.run(["apt-get", "download", PACKAGE], cwd=options.work, check=True)
    package = next(options.work.glob("wordnet-base_*.deb"))
    subprocess.run(["dpkg-deb", "-x", str(package), str(options.work / "wordnet")], check=True)


def make_conversations(work: Path) -> ConversationMaker:
    """The generator of all training turns."""
    wordnet = WordNet(work / "wordnet/usr/share/wordnet")
    chooser = NounChooser(wordnet, texts.entries())
    nouns: dict[str, Noun] = chooser.choose()
    return ConversationMaker(nouns, chooser.unknown_words(nouns))


def load_frame(work: Path) -> ChatFrame:
    return ChatFrame(Tokenizer.from_file(str(work / "tokenizer.json")))


def train(options: Namespace) -> None:
    """Trains the tokenizer and then the network."""
    maker = make_conversations(options.work)
    if not options.resume:
        train_tokenizer(maker, options.work / "tokenizer.json", TOKENIZER_SEED)
    sequences = SequenceMaker(maker, load_frame(options.work), DATA_SEED)
    settings = TrainingSettings(minutes=options.minutes, threads=options.threads)
    trainer = Trainer(ModelConfig(), settings, sequences, maker.say, options.work)
    print(f"{len(maker.nouns)} nouns, {trainer.model.parameter_count()} parameters", flush=True)
    if options.resume:
        trainer.resume()
    trainer.run()


def export(options: Namespace) -> None:
    """Writes the GGUF file and the licence text beside it."""
    from .export import export as write_file

    options.target.mkdir(parents=True, exist_ok=True)
    shutil.copy(texts.FOLDER / LICENSE, options.target / LICENSE)
    size = write_file(
        options.work / "checkpoint.pt",
        options.work / "tokenizer.json",
        options.target / MODEL_FILE,
        DESCRIPTION,
    )
    print(f"{options.target / MODEL_FILE}: {size} bytes")


def evaluate(options: Namespace) -> None:
    """Asks the file through llama.cpp and writes training.json and the model card."""
    import torch

    from .chat import Chat
    from .evaluate import Evaluation

    file = options.target / MODEL_FILE
    maker = make_conversations(options.work)
    evaluation = Evaluation(Chat(file), maker).run()
    (options.work / "evaluation.json").write_text(json.dumps(evaluation), encoding="utf-8")
    state = torch.load(options.work / "checkpoint.pt", map_location="cpu", weights_only=False)
    settings = TrainingSettings(minutes=options.minutes, threads=options.threads)
    seeds = {"tokenizer": TOKENIZER_SEED, "data": DATA_SEED, "weights": settings.seed}
    record = make_record(
        maker, ModelConfig(**state["config"]), settings, seeds, state["progress"], PACKAGE, file,
        evaluation,
    )  # fmt: skip
    record["note"] = options.note
    write(record, options.target, sum(w.numel() for w in state["weights"].values()))
    sys.stdout.flush()
    os._exit(0)  # the llama.cpp server has no close()
