"""``manage.py cqrs_sagas``: where sagas are, and what to do with those that do not go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any
from uuid import UUID

from attrs import evolve
from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_cqrs.actions import system_user
from django_cqrs.conf import settings
from django_cqrs.daemon import serve
from django_cqrs.entries import SagaSettings
from django_cqrs.management.errors import explaining
from django_cqrs.management.sagas import as_json, list_sagas, show_saga, summary
from django_cqrs.management.schemas import add_schema
from django_cqrs.mediator import project_mediator
from django_cqrs.models import Saga
from django_cqrs.probes import of_sagas
from django_cqrs.relay import choose_aliases
from django_cqrs.rounds import everywhere
from django_cqrs.saga_acts import ACTS, STATUSES, SagaOperator
from django_cqrs.saga_letters import held_up
from django_cqrs.saga_pictures import KINDS, picture_of, picture_of_definition
from django_cqrs.saga_recovery import Recovering, recovery_settings
from django_cqrs.schemas import TENANTS, in_schema
from simplecqrs.errors import SagaNotFound
from simplecqrs.log_fields import printable
from simplecqrs.loop import Job
from simplecqrs.saga import Record
from simplecqrs.saga.adopting import sagas_of
from simplecqrs.saga.recovery import Recovered, take_over

HELP = """
Sagas: list them, show one with its steps and its log, draw one, and take over those whose process did not come back.

cancel, pause, resume, retry and skip change the sagas whose ids are given; --why is asked for, and is in their logs.
recover is a daemon unless it is told --once; any number may run.  Those that the consumer runs need no recovery.
"""


class Command(BaseCommand):
    """List, show, draw, recover and change sagas."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the actions."""
        parser.add_argument("action", choices=["list", "show", "recover", *ACTS, "diagram"])
        parser.add_argument("ids", nargs="*", help="ids of sagas; for diagram, names of definitions as well")
        parser.add_argument("--status", choices=STATUSES, type=str.upper, help="list only these")
        parser.add_argument("--saga", help="list or recover only those of this name")
        parser.add_argument("--limit", type=int, default=20, help="how many are listed")
        parser.add_argument("--json", action="store_true", help="list and show print JSON")
        parser.add_argument("--database", action="append", default=[], help="list only this alias; may be repeated")
        add_schema(parser)
        parser.add_argument("--why", default="", help="the reason of a change; kept in the saga's log")
        parser.add_argument("--who", help="who changes it; default: the user of the system")
        parser.add_argument("--step", help="the step that retry or skip is about")
        parser.add_argument("--kind", choices=KINDS, default="flow", help="which diagram")
        self._add_recovery(parser)

    def _add_recovery(self, parser: CommandParser) -> None:
        group = parser.add_argument_group("recover")
        group.add_argument("--once", action="store_true", help="recover what is due now, and stop")
        group.add_argument("--interval", type=float, help="seconds between two looks; default: as SAGAS says")
        group.add_argument("--batch", type=int, help="sagas that are looked for at a time")
        group.add_argument("--max-attempts", type=int, help="how often one is taken over that does not go on")
        group.add_argument("--max-seconds", type=float, help="stop after so long")

    def handle(self, **options: Any) -> None:
        """Do it."""
        self._options = options
        self._bus = project_mediator()
        act = self._act if options["action"] in ACTS else getattr(self, f"_{options['action']}")
        schema = options["schema"]
        with explaining(), nullcontext() if schema is None else in_schema(schema):
            act()

    def _list(self) -> None:
        rows = sorted(
            (row for alias in choose_aliases(self._options["database"]) for row in self._rows(alias)),
            key=lambda row: row.created_at,
            reverse=True,
        )[: self._options["limit"]]
        known = set(sagas_of(self._bus))
        if self._options["json"]:
            self.stdout.write(json.dumps([summary(row, known=row.saga in known) for row in rows], indent=2))
            return
        for line in list_sagas(rows, known):
            self.stdout.write(printable(line))

    def _rows(self, alias: str) -> list[Saga]:
        wanted = {name: self._options[name] for name in ("status", "saga") if self._options[name]}
        found = Saga.objects.using(alias).filter(**wanted).defer("state", "headers").order_by("-created_at", "-id")
        return list(found[: self._options["limit"]])

    def _show(self) -> None:
        shown = []
        for saga_id in self._ids():
            record, history = self._record(saga_id), self._bus.sagas.history(saga_id)
            known = record.saga in sagas_of(self._bus)
            held = held_up(settings().alias_for(f"saga.{record.saga}"), record)
            if self._options["json"]:
                shown.append(as_json(record, history, known=known, held=held))
                continue
            for line in show_saga(record, history, known=known, held=held):
                self.stdout.write(printable(line, keep="\n\t"))
        if self._options["json"]:
            self.stdout.write(json.dumps(shown, indent=2))

    def _act(self) -> None:
        if not self._options["why"].strip():
            raise CommandError(f"say why, for the saga's log: cqrs_sagas {self._options['action']} ID --why '...'")
        operator = SagaOperator(self._bus, self._options["who"] or system_user(), self._options["why"].strip())
        for saga_id in self._ids():
            self.stdout.write(operator.act(self._options["action"], saga_id, step=self._options["step"]))

    def _recover(self) -> None:
        chosen = self._chosen()
        if self._options["ids"]:
            for saga_id in self._ids():
                self._record(saga_id)
                found = take_over(self._bus, saga_id, take_overs=chosen.take_overs, patience=chosen.patience)
                self._told(found, saga_id)
            return

        def make(stopping: Callable[[], bool]) -> list[Job]:
            saga, tell = self._options["saga"], self._told
            recovering = partial(Recovering, self._bus, saga=saga, chosen=lambda: chosen, tell=tell)
            return [everywhere(TENANTS, recovering, of_sagas(), patience=chosen.interval)]

        serve(make, self.stdout, drain=self._options["once"], seconds=self._options["max_seconds"])

    def _chosen(self) -> SagaSettings:
        """Return the setting SAGAS, with what was asked for here."""
        found = recovery_settings()
        asked = {name: self._options[name] for name in ("interval", "batch") if self._options[name] is not None}
        try:
            if self._options["max_attempts"] is not None:
                asked["take_overs"] = evolve(found.take_overs, attempts=self._options["max_attempts"])
            return evolve(found, **asked)
        except ValueError as error:
            raise CommandError(str(error)) from None

    def _told(self, recovered: Recovered | None, saga_id: UUID | None = None) -> None:
        if recovered is None:
            self.stdout.write(f"{saga_id} is held by somebody else, who works on it")
        elif recovered.result is None:
            self.stdout.write(printable(f"{recovered.saga_id} could not be recovered: {recovered.error}"))
        else:
            error = f": {recovered.result.error}" if recovered.result.error else ""
            self.stdout.write(printable(f"{recovered.saga_id} is {recovered.result.status}{error}"))

    def _diagram(self) -> None:
        given = self._options["ids"]
        if not given:
            raise CommandError(f"cqrs_sagas diagram needs an id, or one of {', '.join(sorted(sagas_of(self._bus)))}")
        for name in given:
            if name in sagas_of(self._bus):
                self.stdout.write(picture_of_definition(self._bus, name, self._options["kind"]))
            else:
                record = self._record(self._id(name))
                self.stdout.write(picture_of(self._bus, record, self._options["kind"]))

    def _ids(self) -> list[UUID]:
        if not self._options["ids"]:
            raise CommandError(f"cqrs_sagas {self._options['action']} needs ids, as `cqrs_sagas list` prints them")
        return [self._id(text) for text in self._options["ids"]]

    def _id(self, text: str) -> UUID:
        try:
            return UUID(text)
        except ValueError:
            known = ", ".join(sorted(sagas_of(self._bus))) or "none"
            raise CommandError(f"{text!r} is no id of a saga; definitions are: {known}") from None

    def _record(self, saga_id: UUID) -> Record:
        record = self._bus.sagas.load(saga_id)
        if record is None:
            raise SagaNotFound(f"there is no saga {saga_id}")
        return record
