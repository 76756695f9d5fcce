"""Pictures from code, as Mermaid's text: sagas, chains, and what a whole application does."""

from __future__ import annotations

from simplecqrs.mermaid.application import application_flow
from simplecqrs.mermaid.chain_classes import chain_classes
from simplecqrs.mermaid.chain_sequence import chain_sequence
from simplecqrs.mermaid.saga_classes import saga_classes
from simplecqrs.mermaid.saga_flow import saga_flow, saga_path
from simplecqrs.mermaid.saga_sequence import saga_sequence

__all__ = [
    "application_flow",
    "chain_classes",
    "chain_sequence",
    "saga_classes",
    "saga_flow",
    "saga_path",
    "saga_sequence",
]
