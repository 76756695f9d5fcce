"""A class diagram's text, written class by class and link by link."""

from __future__ import annotations

from typing import Any, Final, Literal

from simplecqrs.fields import fields_of
from simplecqrs.mermaid.labels import cut, label
from simplecqrs.titles import title, type_title

__all__ = ["ClassDiagram", "Link"]

Link = Literal["has", "is", "knows", "leads to"]
#: How each link is written.
ARROWS: Final[dict[Link, str]] = {"has": "*--", "is": "--|>", "knows": "..>", "leads to": "-->"}
#: Characters of a member; what is longer is cut.
LONGEST: Final = 80


class ClassDiagram:
    """A class diagram that grows; each thing is drawn once."""

    def __init__(self) -> None:
        self._lines = ["classDiagram"]
        self._ids: dict[Any, str] = {}
        self._drawn: list[Any] = []  # so that ids of objects stay theirs
        self._links: list[str] = []

    def add(self, thing: object, name: str, kind: str, *members: str) -> str:
        """
        Draw a thing, unless it is drawn already, and return its id.

        Args:
            kind: what is written over it, one word.
        """
        known = self._ids.get(_key(thing))
        if known is not None:
            return known
        found = self._ids[_key(thing)] = f"c{len(self._ids) + 1}"
        self._drawn.append(thing)
        self._lines.append(f'    class {found}["{label(name) or " "}"]')
        self._lines.append(f"    <<{kind}>> {found}")
        self._lines += [f"    {found} : {_member(member)}" for member in members]
        return found

    def add_class(self, cls: type[Any], kind: str, *members: str) -> str:
        """Draw a class with its fields, and then these members."""
        fields = [f"{name}: {type_title(hint)}" for name, hint in fields_of(cls).items()]
        return self.add(cls, title(cls), kind, *fields, *members)

    def link(self, source: str, target: str, link: Link, text: str = "") -> None:
        """Draw how two things have to do with each other; the same again is not drawn twice."""
        line = f"    {source} {ARROWS[link]} {target}{f' : {label(text)}' if text else ''}"
        if line not in self._links:
            self._links.append(line)

    def text(self) -> str:
        """Return all of it."""
        return "\n".join([*self._lines, *self._links]) + "\n"


def _key(thing: Any) -> Any:
    """Return what a thing is known by: itself, or its identity if it cannot be a key."""
    try:
        hash(thing)
    except TypeError:
        return id(thing)
    return thing


def _member(text: str) -> str:
    """Write a member; what ends with a bracket pair is shown among the methods."""
    name, opened, rest = cut(text, LONGEST).partition("(")
    inner, closed, answer = rest.rpartition(")")
    if not opened or not closed:
        return label(text, LONGEST).replace("(", "#40;").replace(")", "#41;")
    shown = label(inner, LONGEST).replace("(", "#40;").replace(")", "#41;")
    return f"{label(name)}({shown}) {label(answer.strip(), LONGEST)}".rstrip()
