"""What becomes of a payload between codec and wire: compressed, put elsewhere, signed."""

from __future__ import annotations

from simplecqrs.packing.claims import Claims, ClaimStore, MemoryClaims
from simplecqrs.packing.compression import Compress
from simplecqrs.packing.packing import Packing
from simplecqrs.packing.signatures import Signer, signing, verifying

__all__ = ["ClaimStore", "Claims", "Compress", "MemoryClaims", "Packing", "Signer", "signing", "verifying"]
