"""Pictures from code, as Mermaid's text: sagas, chains, and what a whole application does."""

from __future__ import annotations

from simplecqrs.mermaid.application import application_flow
from simplecqrs.mermaid.chains_classes import chain_classes
from simplecqrs.mermaid.chains_sequence import chain_sequence
from simplecqrs.mermaid.sagas_classes import saga_classes
from simplecqrs.mermaid.sagas_flow import saga_flow, saga_path
from simplecqrs.mermaid.sagas_sequence import saga_sequence

__all__ = [
    "application_flow",
    "chain_classes",
    "chain_sequence",
    "saga_classes",
    "saga_flow",
    "saga_path",
    "saga_sequence",
]
