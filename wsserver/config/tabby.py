"""Reading TabbyAPI's settings: what of its config.yml has a counterpart here, and what has none.

Knows TabbyAPI's names and this server's, and reads no file: it is handed the parsed tables and the
folder that their paths are relative to. The rule: each key that is set ends either in the TOML or,
with the reason, in a comment below it, and the TOML always loads. So a path that is not there on
this machine is written down as a comment as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsserver.config.faults import Fault, Origin
from wsserver.config.keys import catalogue
from wsserver.config.show import toml_value
from wsserver.config.sources import Entry
from wsserver.config.values import convert

PAGE = 256
"""Tokens: the ExLlama engines' lengths are multiples of it; TabbyAPI's need not all be."""

DEFAULT_CONTEXT = 8192
"""What the ExLlama engines take at most where ``ctx`` is not given."""
SERVER = ("host", "port")

SETTINGS: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "model.max_seq_len": ("ctx", (int,)),
    "model.max_batch_size": ("slots", (int,)),
    "model.cache_size": ("cache_tokens", (int,)),
    "model.cache_mode": ("cache_type", (str,)),
    "model.chunk_size": ("chunk", (int,)),
    "model.gpu_split": ("gpu_split", (list,)),
    "model.tensor_parallel": ("tensor_parallel", (bool,)),
    "model.rope_scale": ("rope_scale", (int, float)),
    "model.rope_alpha": ("rope_alpha", (int, float)),
    "draft_model.draft_num_tokens": ("draft_tokens", (int,)),
}
"""Key to the engine's setting of the same meaning and unit, and its types."""

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "model.max_seq_len": (-1,),
    "model.gpu_split": ([],),
    "model.tensor_parallel": (False,),
    "model.rope_scale": (1.0,),
    "model.rope_alpha": ("auto", 1.0),
    "model.force_enable_thinking": (False,),
    "model.autosplit_reserve": ([],),
    "lora.loras": ([],),
}
"""Values that mean what leaving the setting out means here; the model's own, or none."""

PLACED = frozenset(
    (
        *("model.model_dir", "model.model_name", "network.disable_auth", "lora.lora_dir"),
        *("draft_model.draft_model_dir", "draft_model.draft_model_name"),
    )
)
"""Keys that mean something together; read when all is known."""

WITHOUT: Mapping[str, str] = {
    "network.disable_fetch_requests": "nothing is ever fetched for a client",
    "network.send_tracebacks": "clients are never shown a traceback",
    "network.api_servers": "one protocol is spoken, see protocol/README.md",
    "logging.log_prompt": "prompts and answers are never logged",
    "logging.log_generation_params": "what clients ask for is never logged",
    "logging.log_requests": 'log.level = "debug" tells more of each connection, without its text',
    "logging.log_chat_completion_requests": "prompts and answers are never logged",
    "model.inline_model_loading": "a client loads a model with load_model, then names it",
    "model.use_dummy_models": "models_list has the models that there are",
    "model.dummy_model_names": "models_list has the models that there are",
    "model.use_as_default": "what stands in [models.engines.ENGINE] holds for every load",
    "model.backend": "the engine is told by the model's files",
    "model.tensor_parallel_backend": "the engine's own choice is used",
    "model.gpu_split_auto": "layers are split over the GPUs unless gpu_split says how",
    "model.output_chunking": "the engine's own choice is used",
    "model.prompt_template": "the model's own template is used; chat_template takes Jinja text",
    "model.vision": "models read text only",
    "model.reasoning": "an answer is one text; clients part it at the model's own marks",
    "model.reasoning_start_token": "see model.reasoning",
    "model.reasoning_end_token": "see model.reasoning",
    "model.reasoning_suppress_header": "see model.reasoning",
    "model.tool_format": "calls of tools are text, for the client to read",
    "sampling.override_preset": "each request names its options; temperature, top_p, top_k, min_p "
    "and repetition_penalty among an engine's settings hold where it names none",
    "memory.sysmem_recurrent_cache": "prompts are cached on the GPU only",
    "memory.cuda_malloc_async": "set PYTORCH_CUDA_ALLOC_CONF in the environment",
    "developer.unsafe_launch": "versions are pinned by the installation",
    "developer.disable_request_streaming": "clients choose between stream and generate",
    "developer.realtime_process_priority": "start the server with nice or a systemd unit",
    "developer.seqlog": "logs are JSON lines on standard error, for any collector",
    "developer.seqlog_server_url": "see developer.seqlog",
    "developer.seqlog_api_key": "see developer.seqlog",
}
"""Key to why it has no counterpart, or what is done instead."""

WITHOUT_SECTION: Mapping[str, str] = {
    "draft_model": "the draft model is loaded as its own files say",
    "embeddings": "there are no embedding models",
}
"""Section to why what is left of it has no counterpart."""

SECRET = frozenset(("developer.seqlog_api_key",))


@dataclass
class Translation:
    """A configuration under translation."""

    base: Path
    server: dict[str, Any] = field(default_factory=dict)
    models: dict[str, Any] = field(default_factory=dict)
    entry: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)  # what a person should look at
    notes: list[str] = field(default_factory=list)  # keys that were left out

    def leave(self, key: str, value: Any, reason: str) -> None:
        """Write down a key that is not taken over."""
        shown = "…" if key in SECRET else _shown(value)
        self.notes.append(f"{key} = {shown}: {reason}")

    def take(self, key: str, value: Any, into: dict[str, Any], name: str, *kinds: type) -> None:
        """Take a value over if it has a type that fits."""
        # bool is an int to isinstance: chunk_size: true must not become a number.
        fits = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
        if fits and (not isinstance(value, list) or all(map(_is_number, value))):
            into[name] = value
        else:
            expected = " or ".join(kind.__name__ for kind in kinds)
            self.leave(key, value, f"not understood, expected {expected}")


def translate(tables: Mapping[str, Any], base: Path) -> str:
    """The TOML for a parsed config.yml.

    Args:
        base: Absolute folder of the file; TabbyAPI reads its relative paths against it.
    """
    work = Translation(base)
    for section, table in tables.items():
        if table is None:
            continue
        if not isinstance(table, Mapping):
            work.leave(section, table, "not understood, expected a section")
            continue
        for name, value in table.items():
            if value is not None:  # an empty key is TabbyAPI's default, as if it were not there
                _translate_key(work, f"{section}.{name}", value)
    _place_draft(work, _table(tables, "draft_model"))
    _place_loras(work, _table(tables, "lora"))
    _fit_settings(work)
    _place_model(work, _table(tables, "model"))
    _demand_of_keys(work, _table(tables, "network"))
    return "\n".join(_lines(work)) + "\n"


def _translate_key(work: Translation, key: str, value: Any) -> None:
    section, _, name = key.partition(".")
    if key in PLACED or value in NEUTRAL.get(key, ()):
        return
    if section == "network" and name in SERVER:
        _take_address(work, key, value)
    elif key in SETTINGS:
        setting, kinds = SETTINGS[key]
        work.take(key, value, work.settings, setting, *kinds)
    elif key == "model.backend" and value in ("exllamav2", "exllamav3"):
        work.entry["engine"] = value
    elif key == "model.force_enable_thinking":
        work.settings["template_options"] = {"enable_thinking": True}
    elif key == "model.autosplit_reserve":
        _take_reserve(work, value)
    elif key == "draft_model.draft_mode":
        _take_draft_mode(work, value)
    elif key == "lora.loras":
        pass  # with its folder
    else:
        reason = WITHOUT.get(key) or WITHOUT_SECTION.get(section, "no such key is known")
        work.leave(key, value, reason)


def _take_address(work: Translation, key: str, value: Any) -> None:
    """Taken if this server's own bounds hold, so that the whole always loads."""
    name = key.partition(".")[2]
    path = f"server.{name}"
    checked = convert(Entry(path, value, Origin(key, work.base)), catalogue()[path])
    if isinstance(checked, Fault):
        work.leave(key, value, checked.message)
    else:
        work.server[name] = checked


def _take_reserve(work: Translation, value: Any) -> None:
    """Megabytes for each GPU there, gigabytes here like gpu_split."""
    if isinstance(value, list) and all(map(_is_number, value)):
        work.settings["gpu_reserve"] = [round(size / 1024, 3) for size in value]
    else:
        work.leave("model.autosplit_reserve", value, "not understood, expected a list of numbers")


def _take_draft_mode(work: Translation, value: Any) -> None:
    if value == "ngram":
        work.settings["ngram_draft"] = True
    elif value not in ("model", "disabled"):
        work.leave("draft_model.draft_mode", value, "guesses come from a draft model or from ngram")


def _fit_settings(work: Translation) -> None:
    """Make the settings ones that the engine takes together, and say what was changed."""
    settings = work.settings
    if isinstance(kind := settings.get("cache_type"), str):
        _fit_cache_type(work, kind)
    if work.entry.get("engine") == "exllamav3":
        for name in ("rope_scale", "rope_alpha"):
            if (value := settings.pop(name, None)) is not None:
                work.leave(f"model.{name}", value, "exllamav3 takes it from the model's files")
    if "gpu_split" in settings and (reserve := settings.pop("gpu_reserve", None)) is not None:
        work.leave("model.autosplit_reserve", reserve, "gpu_split says how the GPUs are filled")
    for name in ("ctx", "cache_tokens", "chunk"):
        if (tokens := settings.get(name)) and tokens % PAGE:
            settings[name] = -(-tokens // PAGE) * PAGE
            work.remarks.append(f"{name}: {tokens} is no multiple of {PAGE}, rounded up")
    cache, ctx = settings.get("cache_tokens"), settings.get("ctx")
    if cache and ctx and cache < ctx:
        settings["cache_tokens"] = ctx
        work.remarks.append(f"cache_tokens: {cache} is less than ctx, raised as TabbyAPI does")
    elif cache and not ctx and cache < DEFAULT_CONTEXT:
        settings["ctx"] = cache
    elif not ctx:
        work.remarks.append(
            f"ctx: not given, so at most {DEFAULT_CONTEXT}; TabbyAPI would take the model's own"
        )


def _fit_cache_type(work: Translation, kind: str) -> None:
    """ExLlamaV3's pairs are bits of keys and values; here both have the same."""
    keys, comma, values = "".join(kind.lower().split()).partition(",")
    if comma and keys != values:
        del work.settings["cache_type"]
        work.leave("model.cache_mode", kind, 'keys and values have one width: cache_type = "q6"')
    else:
        work.settings["cache_type"] = f"q{keys}" if comma else keys


def _place_model(work: Translation, model: Mapping[str, Any]) -> None:
    """The model's folder and the folder of all models, where they are there."""
    folder = work.base / str(model.get("model_dir") or "models")
    if folder.is_dir():
        work.models["dir"] = str(folder)
    else:
        work.remarks.append(f"models.dir: there is no folder {folder}")
    name = model.get("model_name")
    if not name:
        work.remarks.append("[[models.model]]: config.yml names no model to load")
        return
    path = folder / str(name)
    work.entry = {"id": str(name)[:128], "source": str(path), "default": True, **work.entry}
    if not path.exists():
        work.remarks.append(f"[[models.model]]: there is no {path}, so it is commented out")


def _place_draft(work: Translation, draft: Mapping[str, Any]) -> None:
    name = draft.get("draft_model_name")
    if name is not None:
        path = work.base / str(draft.get("draft_model_dir") or "models") / str(name)
        needs_one = draft.get("draft_mode", "model") == "model"
        if needs_one and path.exists():
            work.settings["draft_model"] = str(path)
            return
        reason = f"there is no {path}" if needs_one else "its draft_mode needs no model"
        work.leave("draft_model.draft_model_name", name, reason)
    if "ngram_draft" not in work.settings and (count := work.settings.pop("draft_tokens", None)):
        work.leave("draft_model.draft_num_tokens", count, "nothing is drafted")


def _place_loras(work: Translation, lora: Mapping[str, Any]) -> None:
    items = lora.get("loras")
    if not items:
        return
    if not isinstance(items, list) or not all(_is_lora(item) for item in items):
        work.leave("lora.loras", items, "not understood, expected a list of names with a scaling")
        return
    folder = work.base / str(lora.get("lora_dir") or "loras")
    work.settings["loras"] = [
        {"folder": str(folder / item["name"]), "scale": float(item.get("scaling", 1.0))}
        for item in items
    ]


def _is_lora(item: Any) -> bool:
    if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
        return False
    return _is_number(item.get("scaling", 1.0))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _table(tables: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    table = tables.get(section)
    return table if isinstance(table, Mapping) else {}


def _demand_of_keys(work: Translation, network: Mapping[str, Any]) -> None:
    if network.get("disable_auth") is True:
        return
    work.remarks.append(
        "auth: TabbyAPI asked every client for a key of its api_tokens.yml, this file asks for "
        "none. See the README before others can reach the port"
    )


def _lines(work: Translation) -> Iterator[str]:
    yield "# wsserver.toml, translated from TabbyAPI's config.yml."
    if work.server:
        yield from ("", "[server]", *_pairs(work.server))
    if work.models:
        yield from ("", "[models]", *_pairs(work.models))
    if "id" in work.entry:
        lines = ["[[models.model]]", *_pairs(work.entry)]
        if work.settings:
            lines += ["[models.model.settings]", *_pairs(work.settings)]
        is_there = Path(work.entry["source"]).exists()
        yield from ("", *(line if is_there else f"# {line}" for line in lines))
    elif work.settings or work.entry:
        work.remarks.append(f"settings of the model: {_shown({**work.entry, **work.settings})}")
    if work.remarks:
        yield from ("", "# To look at:", *map(_comment, work.remarks))
    if work.notes:
        yield from ("", "# Not taken over:", *map(_comment, work.notes))


def _pairs(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        yield f"{name} = {toml_value(value)}"


def _comment(text: str) -> str:
    return f"#   {' '.join(text.split())}"  # a line break in a name would end the comment


def _shown(value: Any) -> str:
    """A value for a comment: on one line, whatever it is (YAML knows dates, too)."""
    try:
        return toml_value(value)
    except TypeError:
        return " ".join(str(value).split())
