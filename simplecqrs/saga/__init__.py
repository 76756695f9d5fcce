"""Sagas: long stories made of steps that can be undone."""

from __future__ import annotations

from simplecqrs.saga.definition import Saga
from simplecqrs.saga.memory import MemorySagas
from simplecqrs.saga.operating import cancel, pause, resume, retry, skip
from simplecqrs.saga.records import Entry, Record, SagaStatus
from simplecqrs.saga.recovery import Recovered, recover, recover_one
from simplecqrs.saga.results import SagaResult, StepResult
from simplecqrs.saga.run_step import RunStep, current_step
from simplecqrs.saga.step import NO_COMPENSATION, Parallel, Step, SyncSagaStep, wait_for
from simplecqrs.saga.storage import SagaStorage
from simplecqrs.saga.waiting import hand_in

__all__ = [
    "NO_COMPENSATION",
    "Entry",
    "MemorySagas",
    "Parallel",
    "Record",
    "Recovered",
    "RunStep",
    "Saga",
    "SagaResult",
    "SagaStatus",
    "SagaStorage",
    "Step",
    "StepResult",
    "SyncSagaStep",
    "cancel",
    "current_step",
    "hand_in",
    "pause",
    "recover",
    "recover_one",
    "resume",
    "retry",
    "skip",
    "wait_for",
]
