"""Which options a model can honour."""

from __future__ import annotations

from wsserver.core.models.directory import ModelView
from wsserver_protocol.errors import ErrorCode, FieldError, WireError
from wsserver_protocol.options import GenerationOptions


def check_options(model: ModelView, options: GenerationOptions) -> None:
    """Refuse what the model's engine can't honour.

    What a model that is still loading can't do its engine refuses.

    Raises:
        WireError: ``unsupported_option`` naming every such field.
    """
    info = model.info
    if info is None:
        return
    names = [name for name in sorted(info.unsupported_options) if _is_given(options, name)]
    if names:
        fields = [f"options.{_camel(name)}" for name in names]
        raise WireError(
            ErrorCode.UNSUPPORTED_OPTION,
            f"Model {model.id!r} does not support {', '.join(fields)}.",
            details=tuple(FieldError(field=f, message="not supported") for f in fields),
        )


def _is_given(options: GenerationOptions, name: str) -> bool:
    value: object = getattr(options, name)
    return value is not None and value != ()


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
