"""The random model's tokenizer: byte-level BPE, trained on the text that is at hand.

A real tokenizer, since half of what goes wrong between an engine and a client is in one: characters
of several tokens, special tokens, a chat template. ExLlamaV2's package carries texts for its
quantizer; without it this project's own documents do.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

from scripts.gpu.kit import ROOT

SPECIAL = {"pad": "<|pad|>", "bos": "<|begin|>", "eos": "<|im_end|>"}
START = "<|im_start|>"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def texts() -> list[Path]:
    """The files to learn from, in order; they decide the tokenizer."""
    package = find_spec("exllamav2")
    for folder in package.submodule_search_locations or () if package else ():
        found = sorted(Path(folder).glob("conversion/standard_cal_data/*.utf8"))
        if found:
            return found
    return sorted((ROOT / "docs").glob("*.md"))


def write_tokenizer(folder: Path, vocabulary: int) -> dict[str, int]:
    """Train and write tokenizer.json and tokenizer_config.json; return the special ids.

    Raises:
        ModuleNotFoundError: If `tokenizers` is not installed.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[*SPECIAL.values(), START],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    lines = (line for path in texts() for line in path.read_text("utf-8").splitlines(True))
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
        **{f"{name}_token": text for name, text in SPECIAL.items()},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))
    ids = tokenizer.get_vocab()
    return {name: ids[text] for name, text in SPECIAL.items()}
