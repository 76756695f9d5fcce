"""The documentation is whole: pages are found, links lead somewhere, and nothing that is public is left out."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import attrs
import pytest

import django_cqrs
import simplecqrs
from django_cqrs.entries import BrokerSettings, ConsumerSettings, Settings
from django_cqrs.management import commands

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = {page: page.read_text() for page in PAGES}
EVERYTHING = "\n".join(TEXTS.values())
REFERENCE = re.findall(r"^::: ([\w.]+)$", EVERYTHING, re.MULTILINE)
CODE = re.compile(r"^```.*?^```|<!--.*?-->", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)\s]*)\)")
#: What Django looks for by itself, or what is behind one that is documented.
INTERNAL = {
    "django_cqrs.actions", "django_cqrs.admin", "django_cqrs.admin_causes", "django_cqrs.admin_lists",
    "django_cqrs.admin_operations", "django_cqrs.admin_pages", "django_cqrs.ages", "django_cqrs.alarms",
    "django_cqrs.alive", "django_cqrs.append_only", "django_cqrs.apps", "django_cqrs.audit", "django_cqrs.awaiting",
    "django_cqrs.batches", "django_cqrs.bells", "django_cqrs.blocking", "django_cqrs.bounded", "django_cqrs.brokers",
    "django_cqrs.canary", "django_cqrs.causes", "django_cqrs.cdc", "django_cqrs.checks", "django_cqrs.codecs",
    "django_cqrs.conf", "django_cqrs.consumers", "django_cqrs.counting", "django_cqrs.crew", "django_cqrs.daemon",
    "django_cqrs.databases", "django_cqrs.deferring", "django_cqrs.describing", "django_cqrs.django_tasks",
    "django_cqrs.doorbells", "django_cqrs.engines", "django_cqrs.entry_fields", "django_cqrs.fetching",
    "django_cqrs.findings", "django_cqrs.fitting", "django_cqrs.followers", "django_cqrs.frames",
    "django_cqrs.group_acts", "django_cqrs.guards", "django_cqrs.held", "django_cqrs.history",
    "django_cqrs.idempotency", "django_cqrs.inbox", "django_cqrs.inspection", "django_cqrs.letter_models",
    "django_cqrs.listening", "django_cqrs.locks", "django_cqrs.loops", "django_cqrs.masking", "django_cqrs.measures",
    "django_cqrs.message_models", "django_cqrs.meter", "django_cqrs.models", "django_cqrs.old_letters",
    "django_cqrs.operations", "django_cqrs.outbox", "django_cqrs.overdue", "django_cqrs.partitions",
    "django_cqrs.pausing", "django_cqrs.pending", "django_cqrs.pending_limits", "django_cqrs.permission_checks",
    "django_cqrs.places", "django_cqrs.policies", "django_cqrs.positions", "django_cqrs.preflight",
    "django_cqrs.pressure", "django_cqrs.probes", "django_cqrs.processes", "django_cqrs.promises",
    "django_cqrs.promotion", "django_cqrs.pulse", "django_cqrs.pulse_models", "django_cqrs.pulse_status",
    "django_cqrs.purging", "django_cqrs.queue", "django_cqrs.recovery_models", "django_cqrs.relay",
    "django_cqrs.releases", "django_cqrs.requests", "django_cqrs.resending", "django_cqrs.rewinding",
    "django_cqrs.rounds", "django_cqrs.rows", "django_cqrs.safe_ids", "django_cqrs.saga_acts", "django_cqrs.saga_admin",
    "django_cqrs.saga_consumer", "django_cqrs.saga_letters", "django_cqrs.saga_messages", "django_cqrs.saga_models",
    "django_cqrs.saga_pictures", "django_cqrs.saga_preflight", "django_cqrs.saga_recovery", "django_cqrs.saga_rows",
    "django_cqrs.saga_status", "django_cqrs.saga_transactions", "django_cqrs.saga_waits", "django_cqrs.sagas",
    "django_cqrs.schedule", "django_cqrs.single", "django_cqrs.size_models", "django_cqrs.sparkline",
    "django_cqrs.status", "django_cqrs.stepping", "django_cqrs.storage", "django_cqrs.subscriptions",
    "django_cqrs.tallies", "django_cqrs.telling", "django_cqrs.tenants", "django_cqrs.totals", "django_cqrs.tracing",
    "django_cqrs.transactions", "django_cqrs.trimming", "django_cqrs.wakeup", "django_cqrs.watchdog",
    "django_cqrs.workers", "django_cqrs.working",
}  # fmt: skip

#: The options of every command.
DJANGOS = {
    "--help", "--version", "--verbosity", "--settings", "--pythonpath", "--traceback", "--no-color", "--force-color",
    "--skip-checks",
}  # fmt: skip


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as they are built."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", text), re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def nav() -> list[str]:
    """Return all pages of the navigation."""
    return re.findall(r"^ +- .+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)


def is_named(name: str, text: str = EVERYTHING) -> bool:
    """Tell whether a text names something, as a word of its own."""
    return re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text) is not None


def test_every_page_is_in_the_navigation() -> None:
    """Once, and what is in the navigation is there."""
    assert sorted(nav()) == [str(page.relative_to(DOCS)) for page in PAGES]


def test_every_page_is_one_click_from_the_first_one() -> None:
    """So that everything on a page is two clicks away, also for who reads on without the navigation."""
    linked = {link.partition("#")[0] for link in LINK.findall(TEXTS[DOCS / "index.md"])}

    assert [page for page in nav() if page not in linked | {"index.md"} and not page.startswith("reference/")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_its_links_lead_somewhere(page: Path) -> None:
    """To a page, and to a heading of it."""
    broken = []
    for link in LINK.findall(CODE.sub("", TEXTS[page])):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if target not in TEXTS or (anchor and anchor not in anchors(TEXTS[target])):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize("page", ["README.md", "examples/README.md", "example_project/README.md", "CONTRIBUTING.md"])
def test_links_of_the_repository_lead_somewhere(page: str) -> None:
    """Relative links of what is read on a forge."""
    links = LINK.findall(CODE.sub("", (ROOT / page).read_text()))

    assert [link for link in links if not ((ROOT / page).parent / link.partition("#")[0]).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_it_is_short(page: Path) -> None:
    """What is hidden does not count; lists may grow."""
    seen = re.sub(r"^<!--.*?-->$", "", TEXTS[page], flags=re.DOTALL | re.MULTILINE)

    assert len(seen.splitlines()) <= 125 or page.stem in {"decisions", "glossary", "performance", "reliability"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_its_tables_are_whole(page: Path) -> None:
    """No row stands by itself, after an empty line: it would be shown as text."""
    lines = ["", *CODE.sub("", TEXTS[page]).splitlines(), ""]
    first = [n for n, line in enumerate(lines) if line.startswith("|") and not lines[n - 1].startswith("|")]

    assert [lines[n] for n in first if not lines[n + 1].startswith("|--")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_it_begins_with_its_title(page: Path) -> None:
    """One, and it is the first line."""
    titles = re.findall(r"^# .+$", CODE.sub("", TEXTS[page]), re.MULTILINE)

    assert titles == [TEXTS[page].splitlines()[0]]


def test_every_name_of_simplecqrs_is_shown_in_a_guide() -> None:
    """In the pages, and not only in the reference."""
    guides = "\n".join(text for page, text in TEXTS.items() if page.parent == DOCS)

    assert [name for name in simplecqrs.__all__ if not is_named(name, guides)] == []


def test_every_public_name_of_django_cqrs_is_documented() -> None:
    """What is in the modules that users import is in a page, or in a module that the reference shows."""
    modules = {m.name for m in pkgutil.iter_modules(django_cqrs.__path__, "django_cqrs.") if not m.ispkg} - INTERNAL
    names = {name: module for module in modules for name in importlib.import_module(module).__all__}

    assert INTERNAL - {m.name for m in pkgutil.iter_modules(django_cqrs.__path__, "django_cqrs.")} == set()
    assert [name for name, module in names.items() if module not in REFERENCE and not is_named(name)] == []
    assert [name for name in django_cqrs.__all__ if not is_named(name)] == []


def test_what_the_reference_shows_is_there() -> None:
    """And has a list of what is public."""
    assert [name for name in REFERENCE if not hasattr(importlib.import_module(name), "__all__")] == []


@pytest.mark.parametrize(
    ("kind", "spelt"), [(Settings, str.upper), (ConsumerSettings, str.lower), (BrokerSettings, str.upper)]
)
def test_every_setting_is_documented(kind: type, spelt: type[str]) -> None:
    """On the page of settings, as it is written."""
    page = TEXTS[DOCS / "django-settings.md"]

    assert [key for key in map(spelt, attrs.fields_dict(kind)) if f"`{key}`" not in page] == []


def test_every_command_and_its_options_are_documented() -> None:
    """On some page."""
    from django.core.management import load_command_class

    page = EVERYTHING
    missing = []
    for found in pkgutil.iter_modules(commands.__path__):
        parser = load_command_class("django_cqrs", found.name).create_parser("manage.py", found.name)
        own = [
            option
            for action in parser._actions
            for option in action.option_strings
            if option.startswith("--") and option not in DJANGOS
        ]
        missing += [name for name in (found.name, *own) if name not in page]

    assert missing == []


def test_every_error_is_documented() -> None:
    """On the page of errors."""
    page = TEXTS[DOCS / "errors.md"]
    modules = [importlib.import_module(name) for name in ("simplecqrs.errors", "django_cqrs.errors")]

    assert [name for module in modules for name in module.__all__ if f"`{name}`" not in page] == []
