"""``manage.py cqrs_describe``: every message, who handles it, where, when and why, and where it goes."""

from __future__ import annotations

import json
from typing import Any

from attrs import asdict
from django.core.management.base import BaseCommand, CommandParser

from django_cqrs.describing import describe_one, describe_project
from django_cqrs.management.errors import explaining
from django_cqrs.mediator import project_mediator
from simplecqrs.described_text import as_text
from simplecqrs.mermaid import application_flow


class Command(BaseCommand):
    """Print what the project does."""

    help = "Tell of every message who handles it, where, when and why, and where it goes; likewise consumers and sagas."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "about", nargs="?", help="one message, by its class or its name on the wire, or one consumer or saga"
        )
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="print JSON")
        form.add_argument("--mermaid", action="store_true", help="print a flowchart for Mermaid")

    def handle(self, **options: Any) -> None:
        """Print it."""
        with explaining():
            bus, about = project_mediator(), options["about"]
            described = describe_project(bus) if about is None else describe_one(bus, about)
        if options["json"]:
            self.stdout.write(json.dumps(asdict(described), indent=2))
        elif options["mermaid"]:
            self.stdout.write(application_flow(described).rstrip())
        else:
            self.stdout.write(as_text(described))
