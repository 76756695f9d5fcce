"""Large payloads in a storage of Django's: a folder, a bucket, whatever STORAGES names."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Final
from uuid import UUID

from django.core.files.base import ContentFile
from django.core.files.storage import InvalidStorageError, Storage, storages

from simplecqrs.errors import ClaimMissing, InvalidPayload, NotConfigured

__all__ = ["StorageClaims"]

#: A day, and the id of a message; a storage may add something to a name that is taken.
REFERENCE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}/[0-9a-f-]{36}(_[A-Za-z0-9]{1,16})?")


class StorageClaims:
    """
    Keep large payloads in a storage of Django's, in one folder for each day.

    Nothing is deleted: let the storage forget folders that are older than any message may become, ``SEEN_DAYS`` and
    what is scheduled included, as buckets do by a rule for their objects' age.

    Args:
        storage: its alias in STORAGES.  Senders and receivers name the same place.
        folder: in which it is all kept.

    Raises:
        NotConfigured: if there is no such storage.
    """

    def __init__(self, storage: str = "default", *, folder: str = "cqrs-claims") -> None:
        self._alias = storage
        self._folder = folder
        _ = self._storage

    @property
    def _storage(self) -> Storage:
        try:
            found: Storage = storages[self._alias]
        except InvalidStorageError as error:
            raise NotConfigured(f"CLAIMS: the storage {self._alias!r}: {error}; name one of STORAGES") from None
        return found

    def put(self, message: UUID, payload: bytes, /) -> str:
        """
        Write a file, which nobody reads before the transaction commits, and nobody ever if it does not.

        Raises:
            NotConfigured: if the storage gives it a name by which it could not be told from any other file.
        """
        path = f"{self._folder}/{datetime.now(timezone.utc):%Y-%m-%d}/{message}"
        name = self._storage.save(path, ContentFile(payload)).replace("\\", "/")
        reference = name.removeprefix(f"{self._folder}/")
        if REFERENCE.fullmatch(reference) is None:
            raise NotConfigured(
                f"CLAIMS: the storage {self._alias!r} has renamed {path} to {name}, which nobody would read again; "
                "name another one of STORAGES"
            )
        return reference

    def get(self, reference: str, /, *, limit: int) -> bytes:
        """Read a file, as far as the limit and one byte."""
        if REFERENCE.fullmatch(reference) is None:  # it came from outside, and may name any file
            raise InvalidPayload(f"the claim check names {reference[:100]!r}, which was never put there")
        try:
            with self._storage.open(f"{self._folder}/{reference}") as file:
                found: bytes = file.read(limit + 1)
        except FileNotFoundError:
            raise ClaimMissing(f"no payload is kept as {reference} in the storage {self._alias!r}") from None
        return found
