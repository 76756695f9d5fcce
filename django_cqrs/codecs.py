"""The codecs that the settings CODEC and CODECS name, and what COMPRESS and CLAIMS do to payloads after them."""

from __future__ import annotations

from django.utils.module_loading import import_string

from django_cqrs.conf import settings
from django_cqrs.entries import ClaimSettings
from simplecqrs.codec import Codec, JSONCodec
from simplecqrs.errors import NotConfigured
from simplecqrs.packing import Claims, ClaimStore, Packing

__all__ = ["project_codec", "project_codecs", "project_packing"]


def project_codec() -> Codec:
    """Return the codec that makes payloads: the setting CODEC, JSON by default, with the limit of MAX_BYTES."""
    path = settings().codec
    return JSONCodec(max_bytes=settings().max_bytes) if path is None else _named(path)


def project_codecs() -> dict[type | str, Codec]:
    """Return the codecs of some messages, by patterns of their names: the setting CODECS."""
    return {pattern: _named(path) for pattern, path in settings().codecs.items()}


def project_packing() -> Packing:
    """Return what is done to payloads after the codec: the settings COMPRESS and CLAIMS."""
    found = settings()
    claims = None if found.claims is None else Claims(_store(found.claims), above=found.claims.above)
    return Packing(compress=found.compress, claims=claims, max_bytes=found.max_bytes)


def _store(found: ClaimSettings) -> ClaimStore:
    if found.store is None:
        from django_cqrs.claims import StorageClaims

        return StorageClaims(found.storage)
    store = import_string(found.store)
    try:
        made = store() if isinstance(store, type) else store
    except TypeError as error:
        raise NotConfigured(f"CLAIMS: {found.store!r} cannot be made without arguments: {error}") from error
    if not callable(getattr(made, "put", None)) or not callable(getattr(made, "get", None)):
        raise NotConfigured(f"CLAIMS: {found.store!r} is no ClaimStore: it has no put and get")
    return made  # type: ignore[no-any-return]


def _named(path: str) -> Codec:
    """Return the codec that a dotted path names; a class is called with the limit of MAX_BYTES."""
    found = import_string(path)
    missing = [name for name in ("content_type", "encode", "decode") if not hasattr(found, name)]
    if missing:
        raise NotConfigured(f"DJANGO_CQRS: {path!r} is no codec, it has no {', '.join(missing)}")
    return found(max_bytes=settings().max_bytes) if isinstance(found, type) else found  # type: ignore[no-any-return]
