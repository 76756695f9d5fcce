"""Lets the reference show how attrs classes are called: griffe reads sources, and knows dataclasses only."""

from __future__ import annotations

from typing import Any

from griffe import Attribute, Class, ExprCall, Extension, Function, Parameter, ParameterKind, Parameters

__all__ = ["AttrsSignatures"]

ATTRS = {"attrs.frozen", "attrs.define"}


class AttrsSignatures(Extension):
    """Give each attrs class the ``__init__`` that attrs writes."""

    def on_class(self, *, cls: Class, **_: Any) -> None:
        """Add it, unless the class has its own or is none of attrs."""
        if "__init_subclass__" in cls.members and cls.docstring is not None:  # what it documents are class keywords
            cls.docstring.parser_options = {**cls.docstring.parser_options, "warn_unknown_params": False}
        decorators = [str(d.value) for d in cls.decorators if d.callable_path in ATTRS]
        if not decorators or "__init__" in cls.members:
            return
        everything = "kw_only=True" in decorators[0]
        members = [member for member in cls.members.values() if isinstance(member, Attribute)]
        found = [_parameter(member, keyword_only=everything) for member in members if _is_field(member)]
        found.sort(key=lambda parameter: parameter.kind is ParameterKind.keyword_only)
        init = Function("__init__", parameters=Parameters(Parameter("self"), *found), returns="None", parent=cls)
        cls.set_member("__init__", init)


def _is_field(member: Attribute) -> bool:
    if "property" in member.labels:
        return False
    is_constant = "ClassVar" in str(member.annotation) or "Final" in str(member.annotation)
    return member.annotation is not None and not is_constant and "init=False" not in str(member.value)


def _parameter(member: Attribute, *, keyword_only: bool) -> Parameter:
    default, value = member.value, member.value
    if isinstance(value, ExprCall):
        options = {getattr(argument, "name", ""): getattr(argument, "value", None) for argument in value.arguments}
        default = options.get("default") or (f"{options['factory']}()" if "factory" in options else None)
        keyword_only = keyword_only or str(options.get("kw_only")) == "True"
        if value.canonical_path != "attrs.field":  # a helper that returns a field
            default = "..."
    kind = ParameterKind.keyword_only if keyword_only else ParameterKind.positional_or_keyword
    return Parameter(member.name.lstrip("_"), annotation=member.annotation, kind=kind, default=default)
