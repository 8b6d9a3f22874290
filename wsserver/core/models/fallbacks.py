"""Which model answers where the one that was asked can't: its configured fallbacks, in order."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from wsserver.core.engine import ModelInfo
from wsserver.core.models.directory import ModelDirectory, ModelView
from wsserver.core.models.options import check_options
from wsserver.core.streams import StreamRecord
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.lifecycle import StreamState, StreamStep
from wsserver_protocol.options import GenerationOptions


def select(
    models: ModelDirectory, model_id: str | None, options: GenerationOptions | None
) -> tuple[ModelView, str | None]:
    """The model for a request, and the id of the one that was asked where that is another.

    Args:
        models: All there are.
        model_id: As the request names it.
        options: What the model must honour; None: that is checked later.

    Raises:
        WireError: As for `ModelDirectory.require`, of the model that was asked, if no fallback can
            answer either; ``unsupported_option`` if the model that was asked is there and can't.
    """
    try:
        model = models.require(model_id)
    except WireError as refusal:
        if refusal.code is not ErrorCode.MODEL_NOT_READY:
            raise
        asked = models.get(model_id)
        other = next(others(models, asked.id, options), None)
        if other is None:
            raise
        return other, asked.id
    if options is not None:
        check_options(model, options)
    return model, None


def others(
    models: ModelDirectory,
    model_id: str,
    options: GenerationOptions | None,
    besides: Collection[str] = (),
) -> Iterator[ModelView]:
    """The fallbacks of a model that can answer now, nearest first; theirs after them."""
    waiting, seen = list(models.get(model_id).fallbacks), {model_id, *besides}
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        waiting += models.get(name).fallbacks
        try:
            model = models.require(name)
            if options is not None:
                check_options(model, options)
        except WireError:
            continue  # it can't: the next one
        yield model


def bind(record: StreamRecord, model: ModelView, requested: str | None) -> None:
    """Have a model make an answer that is in no slot; ``requested`` is the one that was asked."""
    record.model_id = model.id
    record.requested_model = requested if requested != model.id else None
    if record.state is StreamState.QUEUED and not model.is_ready:
        record.take(StreamStep.WAIT_FOR_MODEL)
    elif record.state is StreamState.LOADING and model.is_ready:
        record.take(StreamStep.QUEUE)


def chosen(
    models: ModelDirectory, record: StreamRecord, options: GenerationOptions | None
) -> ModelView:
    """The model that is to make an answer now: its own, or a fallback, which is bound to it then.

    Raises:
        WireError: As for `select`.
    """
    model, requested = select(models, record.model_id, options)
    if requested is not None:
        bind(record, model, record.requested_model or requested)
    return model


async def loaded_model(
    models: ModelDirectory, record: StreamRecord, options: GenerationOptions
) -> tuple[ModelView, ModelInfo]:
    """The model that is to make an answer, once it has loaded; a fallback where it does not.

    Raises:
        WireError: ``model_not_ready`` if none of them does.
    """
    while True:
        model = chosen(models, record, options)
        if model.is_ready and model.info is not None:
            return model, model.info
        await model.settled.wait()
