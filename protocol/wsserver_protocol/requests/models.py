"""Requests about models, and for the server's figures."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from wsserver_protocol.fields import Id
from wsserver_protocol.requests.base import ClientMessage

Source = Annotated[str, Meta(min_length=1, max_length=4096)]

MAX_SETTINGS = 256
"""Most settings of an engine in one ``load_model``."""


class Models(ClientMessage, frozen=True, kw_only=True, tag="models"):
    """Ask which models there are. Answered ``models_list``."""


class LoadModel(ClientMessage, frozen=True, kw_only=True, tag="load_model"):
    """Load a model. ``model_load_progress``…, then ``model_loaded`` or ``model_load_error``.

    Attributes:
        source: A path under the server's model folder, a configured name, or an allowed
            ``scheme:`` source such as ``synthetic:?tps=50``.
        format: Format of the weights, such as ``gguf``; default: found out from the source.
        immediate: Where the model does not fit, unload what stands in its way.
        id: Id to give it; default: the file's stem, with ``-2`` and so on where that is taken.
        options: The engine's own settings, such as ``slots``; keys in either spelling.
    """

    source: Source
    format: Id | None = None
    immediate: bool = False
    id: Id | None = None
    options: Annotated[dict[str, Any], Meta(max_length=MAX_SETTINGS)] | None = None


class UnloadModel(ClientMessage, frozen=True, kw_only=True, tag="unload_model"):
    """Unload a model, or cancel its loading. Answered ``model_unloaded``.

    Attributes:
        id: Id of the model.
        force: Stop its running streams instead of letting them end.
    """

    id: Id
    force: bool = False


class Metrics(ClientMessage, frozen=True, kw_only=True, tag="metrics"):
    """Ask for the server's figures. Answered ``metrics``; needs the scope ``metrics:read``."""
