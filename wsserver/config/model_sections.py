"""The settings about models: which there are, where they run, and how much they may take."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from wsserver.config.fields import PATH, AutoSize, Positive, Section, Size

Gpu = Annotated[int, Meta(ge=0, le=1023)]


class ModelEntry(Section, frozen=True):
    """A model known by name: ``load_model`` takes its id as source."""

    id: Annotated[str, Meta(min_length=1, max_length=128, description="Name that clients use.")]
    source: Annotated[
        str, Meta(min_length=1, description="Path of a GGUF file, or a scheme: source.")
    ]
    engine: Annotated[
        str | None, Meta(description="Engine to use; left out, the source tells.")
    ] = None
    settings: Annotated[
        dict[str, Any], Meta(description="The engine's own keys, over models.engines.<engine>.")
    ] = {}
    replicas: Annotated[
        int, Meta(ge=1, le=64, description="Engines with this model, behind one queue.")
    ] = 1
    gpus: Annotated[
        tuple[Gpu, ...],
        Meta(
            description="GPUs that each replica sees, numbered as by nvidia-smi: [0, 1]. Empty: "
            "all, as the engine chooses."
        ),
    ] = ()
    placement: Annotated[
        tuple[tuple[Gpu, ...], ...],
        Meta(
            description="The GPUs of each replica by itself, in place of gpus and replicas: "
            "[[0], [1]] is a replica on each of two."
        ),
    ] = ()
    gpu_split: Annotated[
        tuple[Annotated[float, Meta(gt=0, le=1e6)], ...],
        Meta(
            description="How much of a replica each of its GPUs takes, in order: shares for "
            "llamacpp, GiB for exllamav2."
        ),
    ] = ()
    memory: Annotated[
        Size,
        Meta(
            description="Memory that one replica is counted with under models.max_memory or "
            "max_gpu_memory. 0: the engine's estimate."
        ),
    ] = 0
    fallbacks: Annotated[
        tuple[str, ...],
        Meta(
            description="Ids of models that answer in its place, in order, where it is not loaded, "
            "has failed, its queue is full, or it fails as overloaded before the first token."
        ),
    ] = ()
    description: Annotated[str | None, Meta(description="Shown to people in models_list.")] = None
    default: Annotated[bool, Meta(description="Answers where a request names no model.")] = False
    load: Annotated[bool, Meta(description="Loaded at start unless models.start says other.")] = (
        True
    )


class Models(Section, frozen=True):
    """Which models there are, and which are loaded at start.

    After loading, ``model`` holds every known model with absolute paths, those of ``--model``
    included, and ``start`` only ids of these: first the default one.
    """

    start: Annotated[
        tuple[str, ...],
        Meta(
            description="What to load at start, the default first: the id of a [[models.model]], a "
            "path, a scheme: source, or id=source (flag --model, repeatable). Left out: every "
            "[[models.model]] with load = true; without any, the shipped demo model."
        ),
    ] = ()
    dir: Annotated[
        str,
        Meta(
            extra=PATH,
            description="Folder whose GGUF files load_model may name. Empty: no file may be named.",
        ),
    ] = ""
    schemes: Annotated[
        tuple[str, ...],
        Meta(
            description="scheme: sources that load_model and --model accept. openai: works in "
            "--model and [[models.model]] without it; entered here, clients may name addresses."
        ),
    ] = ("synthetic",)
    max_loaded: Annotated[
        Positive, Meta(description="Models loaded at once; past it load_model is refused.")
    ] = 32
    max_memory: Annotated[
        AutoSize,
        Meta(
            description="Memory that loaded models may take together, by their engines' estimates, "
            'in bytes or as in "12GiB"; past it load_model is refused, or with immediate makes '
            "place. 0: no bound. auto: this machine's (or container's) memory, where one model "
            "alone may take twice as much; no bound where there is a GPU, since then nobody can "
            "tell beforehand which memory a model takes."
        ),
    ] = "auto"
    max_gpu_memory: Annotated[
        Size,
        Meta(
            description="The same for each GPU that a model names with gpus or placement. 0: no "
            "bound."
        ),
    ] = 0
    engines: Annotated[
        dict[str, dict[str, Any]],
        Meta(description="Settings for every model of an engine: [models.engines.llamacpp]."),
    ] = {}
    model: Annotated[
        tuple[ModelEntry, ...], Meta(description="Models known by name: [[models.model]] tables.")
    ] = ()
