"""The codecs that the settings CODEC and CODECS name."""

from __future__ import annotations

from django.utils.module_loading import import_string

from django_cqrs.conf import settings
from simplecqrs.codec import Codec, JSONCodec
from simplecqrs.errors import NotConfigured

__all__ = ["project_codec", "project_codecs"]


def project_codec() -> Codec:
    """Return the codec that makes payloads: the setting CODEC, JSON by default, with the limit of MAX_BYTES."""
    path = settings().codec
    return JSONCodec(max_bytes=settings().max_bytes) if path is None else _named(path)


def project_codecs() -> dict[type | str, Codec]:
    """Return the codecs of some messages, by patterns of their names: the setting CODECS."""
    return {pattern: _named(path) for pattern, path in settings().codecs.items()}


def _named(path: str) -> Codec:
    """Return the codec that a dotted path names; a class is called with the limit of MAX_BYTES."""
    found = import_string(path)
    missing = [name for name in ("content_type", "encode", "decode") if not hasattr(found, name)]
    if missing:
        raise NotConfigured(f"DJANGO_CQRS: {path!r} is no codec, it has no {', '.join(missing)}")
    return found(max_bytes=settings().max_bytes) if isinstance(found, type) else found  # type: ignore[no-any-return]
