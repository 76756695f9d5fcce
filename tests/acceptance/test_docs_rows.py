"""The acceptance rows of docs, examples and benchmarks, 91, 92, 95, and the weakness of docs, B40."""

from __future__ import annotations

import re
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES
from benchmarks.groups import GROUPS
from tests.test_examples import SCRIPTS

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
#: The examples of diator, of python-cqrs up to 5.3, and of releases before that whose names have gone since.
THEIRS = [
    "simple",
    "di",
    "rodi",
    "azure",
    "request_handler",
    "typed_request_handler",
    "request_response_types",
    "domain_event_handler",
    "event_producing",
    "request_fallback",
    "event_fallback",
    "fastapi_integration",
    "kafka_event_consuming",
    "event_consuming",
    "kafka_event_producing",
    "cor_request_handler",
    "typed_cor_request_handler",
    "cor_request_fallback",
    "cor_mermaid",
    "streaming_handler_parallel_events",
    "typed_streaming_handler",
    "streaming_handler_fallback",
    "fastapi_sse_streaming",
    "saga",
    "saga_fallback",
    "saga_recovery",
    "saga_recovery_scheduler",
    "saga_sqlalchemy_storage",
    "saga_fastapi_sse",
    "saga_mermaid",
    "save_events_into_outbox",
    "kafka_outboxed_event_producing",
    "protobuf_outbox",
    "fastapi_outbox",
    "kafka_proto_event_producing",
    "kafka_proto_event_consuming",
    "di_basic",
    "dependency_injector_simple",
    "scoped_dependencies_di",
    "scoped_dependencies_dishka",
    "scoped_dependencies_dependency_injector",
    "scoped_dependencies_custom_container",
    "scoped_dependencies_fastapi",
    "scoped_dependencies_sqlalchemy",
]

MAP = (ROOT / "examples" / "README.md").read_text().partition("| there | here |")[2]


def test_row_95_a_page_says_when_not_to_use_this() -> None:
    """In reasons of its own, with what to take instead; it is linked from where a stranger begins."""
    page = (ROOT / "docs" / "when-not-to-use-this.md").read_text()

    assert re.match(r"# When not to use", page)
    assert len(re.findall(r"^(?:## |\*\*|\* \*\*|- \*\*)", page, re.MULTILINE)) >= 5
    for instead in ("atomic", "async", "on_commit"):
        assert instead in page
    assert "when-not-to-use-this.md" in (ROOT / "docs" / "index.md").read_text()


@pytest.mark.parametrize("theirs", THEIRS)
def test_row_91_each_example_of_the_predecessors_has_one_here(theirs: str) -> None:
    """The map names scripts that are there; tests/test_examples.py runs each, and compares what it prints."""
    lines = re.findall(rf"^\| (?=.*\b{theirs}\.py`)(.+) \| (.+) \|$", MAP, re.MULTILINE)

    assert len(lines) == 1
    ours = re.findall(r"\((\w+)\.py\)", lines[0][1])
    assert ours
    assert set(ours) <= {script.stem for script in SCRIPTS}


def test_row_91_no_example_is_on_the_map_that_is_not_theirs() -> None:
    """So that the list of the tests and the map do not drift apart."""
    named = re.findall(r"(\w+)\.py`", MAP)

    assert sorted(named) == sorted(THEIRS)


#: The predecessors' groups, and two that they have not.
MEASURED = (*GROUPS, "outbox", "inbox")


@pytest.mark.parametrize("group", MEASURED)
def test_row_92_each_group_of_benchmarks_has_its_command(group: str) -> None:
    """The table names benchmarks that the command knows; each can be imported, and has something to run."""
    table = (ROOT / "benchmarks" / "README.md").read_text()
    [command] = re.findall(rf"^\| {group} \| .+ \| `python -m benchmarks (.+)` \|$", table, re.MULTILINE)

    for name in command.split():
        assert name in NAMES
        assert callable(import_module(f"benchmarks.{name}").run)


@pytest.mark.parametrize("group", GROUPS)
def test_row_92_what_a_group_measures_works(group: str) -> None:
    """Each subject of the nine groups is called once; that takes no servers."""
    with ExitStack() as stack:
        outcomes = {name: call() for name, call in GROUPS[group](stack).items()}

    assert len(outcomes) >= 2
    for outcome in outcomes.values():
        assert getattr(outcome, "status", "COMPLETED") == "COMPLETED"


#: Blocks that are neither run nor compared by the tests of the pages: who looks at them, or why nobody need.
OTHERWISE = {
    ("streaming-to-browsers", "js"): "tests/browser has the same script in a real browser",
    ("protobuf", "proto"): "test_b40_the_proto_that_is_shown_is_the_one_that_is_used",
    ("reliability", "sh"): "test_b40_the_scripts_that_are_shown_exist",
    ("kafka", "sh"): "test_b40_the_scripts_that_are_shown_exist",
    **{
        (f"recovery-{disaster}", "sh"): "tests/django_cqrs/test_recovery_drills.py types it"
        for disaster in ("broker-emptied", "broker-restored", "consumer", "producer")
    },
    ("cdc", "properties"): "tests/acceptance/test_cdc_rows.py, by tests/desk/event_router.py",
    ("cdc", "sql"): "tests/chaos/test_96_cdc.py",
    ("systemd", "ini"): "tests/test_docs_running.py",
    ("containers", "yaml"): "tests/test_docs_running.py",
}
#: What tests of the pages run, or compare with what is printed.
RUN = {"python", "text"}


def test_b40_no_block_of_the_docs_is_exempt_without_a_reason() -> None:
    """Each has a language that tests run, or somebody else who looks at it; and no exemption outlives its block."""
    found = {
        (page.stem, language)
        for page in [*DOCS.rglob("*.md"), ROOT / "README.md"]
        for language in re.findall(r"^ *```(\w*)[^\n]*\n.*?^ *```$", page.read_text(), re.DOTALL | re.MULTILINE)
    }

    assert {language for _, language in found - OTHERWISE.keys()} == RUN
    assert OTHERWISE.keys() <= found


def test_b40_no_block_of_python_is_skipped() -> None:
    """No page tells the tests to pass over a part of it, and none is hidden from them by its indentation."""
    for page in DOCS.rglob("*.md"):
        text = page.read_text()
        assert not re.search(r"<!--\s*skip", text), page.name
        assert not re.search(r"^ +```python", text, re.MULTILINE), page.name


def test_b40_the_proto_that_is_shown_is_the_one_that_is_used() -> None:
    """Its messages are in the file of which the tests' code is generated."""
    [shown] = re.findall(r"^```proto\n(.*?)^```", (DOCS / "protobuf.md").read_text(), re.DOTALL | re.MULTILINE)
    used = (ROOT / "tests" / "protos" / "shop.proto").read_text()

    for message in re.findall(r"^message .*?^}", shown, re.DOTALL | re.MULTILINE):
        assert message in used


def test_b40_the_scripts_that_are_shown_exist() -> None:
    """With the options and the tests that they are shown with."""
    for (page, _), reason in OTHERWISE.items():
        if reason == "test_b40_the_scripts_that_are_shown_exist":
            [shown] = re.findall(r"^```sh\n(.*?)^```", (DOCS / f"{page}.md").read_text(), re.DOTALL | re.MULTILINE)
            for word in re.findall(r"(?:^|\s)((?:scripts|tests)/[\w./]+)", shown):
                assert (ROOT / word).exists(), word
            for option in re.findall(r"scripts/(\w+).* (--\w+)", shown):
                assert option[1] in (ROOT / "scripts" / option[0]).read_text(), option


#: Blocks in docstrings that are no doctests, and who runs what they show.
IN_DOCSTRINGS = {
    "simplecqrs/containers/svcs.py": "tests/simplecqrs/test_container_svcs.py",
    "simplecqrs/containers/rodi.py": "tests/simplecqrs/test_container_rodi.py",
    "django_cqrs/sse.py": "the page's script: tests/browser",
    "django_cqrs/testing.py": "README.md",
    "django_cqrs/tasks.py": "tests/test_docs_running.py",
    "simplecqrs/errors.py": "a drawing",
    "django_cqrs/errors.py": "a drawing",
}


def test_b40_no_example_in_a_docstring_is_exempt_without_a_reason() -> None:
    """What is no doctest is on a list."""
    modules = [*(ROOT / "simplecqrs").rglob("*.py"), *(ROOT / "django_cqrs").rglob("*.py")]

    with_blocks = [m for m in modules if re.search(r'^(?: *\S.*)?::\n(?:\n|""")', m.read_text(), re.MULTILINE)]

    assert {str(module.relative_to(ROOT)) for module in with_blocks} == IN_DOCSTRINGS.keys()
