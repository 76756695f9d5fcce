"""The converters that all codecs go through: lossless one way, and nothing coerced the other way."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from simplecqrs.conversion.classes import add_classes
from simplecqrs.conversion.foreign import add_foreign
from simplecqrs.conversion.nesting import add_nesting
from simplecqrs.conversion.scalars import add_scalars
from simplecqrs.conversion.unions import add_unions

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["Hooks", "converter"]

#: Registers hooks for somebody's own types.
Hooks = Callable[[Any], object]


@cache
def converter(*, strict: bool = False, explains: bool = False, hooks: Hooks | None = None) -> Converter:
    """
    Return the converter; made when first needed, since cattrs takes long to import.

    Args:
        strict: unknown fields are wrong.
        explains: find everything that is wrong, with its path, and take the time for it; others stop at once.
        hooks: registers hooks for somebody's own types.
    """
    from cattrs.preconf.json import make_converter

    made = make_converter(forbid_extra_keys=strict, omit_if_default=False, detailed_validation=False)
    add_scalars(made)
    add_nesting(made, explains=explains)
    add_classes(made, strict=strict, explains=explains)
    add_unions(made)
    add_foreign(made)
    if hooks is not None:
        hooks(made)
    return made
