"""The tables of sagas in a SQLite file."""

from __future__ import annotations

from typing import Final

__all__ = ["TABLES"]

#: ``due`` is empty for what nobody need take up, so that its index holds what is going on only.
TABLES: Final = """
CREATE TABLE IF NOT EXISTS simplecqrs_sagas (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    saga TEXT NOT NULL,
    state BLOB NOT NULL,
    status TEXT NOT NULL,
    progress TEXT NOT NULL,
    position INTEGER NOT NULL,
    version INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    paused INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    error TEXT NOT NULL,
    owner TEXT NOT NULL,
    recoveries INTEGER NOT NULL,
    correlation_id TEXT NOT NULL,
    headers TEXT NOT NULL,
    due REAL
);
CREATE INDEX IF NOT EXISTS simplecqrs_sagas_due ON simplecqrs_sagas (due) WHERE due IS NOT NULL;
CREATE INDEX IF NOT EXISTS simplecqrs_sagas_saga ON simplecqrs_sagas (saga);
CREATE INDEX IF NOT EXISTS simplecqrs_sagas_status ON simplecqrs_sagas (status);
CREATE TABLE IF NOT EXISTS simplecqrs_saga_log (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    saga_id TEXT NOT NULL,
    step TEXT NOT NULL,
    action TEXT NOT NULL,
    event TEXT NOT NULL,
    at REAL NOT NULL,
    attempt INTEGER NOT NULL,
    error TEXT NOT NULL,
    who TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS simplecqrs_saga_log_saga ON simplecqrs_saga_log (saga_id);
CREATE TABLE IF NOT EXISTS simplecqrs_saga_waits (
    saga_id TEXT NOT NULL,
    step TEXT NOT NULL,
    address TEXT NOT NULL,
    ends REAL,
    event BLOB,
    PRIMARY KEY (saga_id, step)
);
CREATE INDEX IF NOT EXISTS simplecqrs_saga_waits_address ON simplecqrs_saga_waits (address);
CREATE TABLE IF NOT EXISTS simplecqrs_saga_events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    address TEXT NOT NULL,
    event BLOB NOT NULL,
    at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS simplecqrs_saga_events_address ON simplecqrs_saga_events (address);
"""
