"""The checker finds each fault that is planted in its evidence, and none where there is none."""

from __future__ import annotations

from uuid import UUID

import pytest
from attrs import evolve

from tests.chaos.checker import Entry, Evidence, Fact, check

FACTS = [Fact(key, version, f"deed-{key}-{version}") for version in (1, 2, 3) for key in ("a", "b")]
ENTRIES = [Entry(str(UUID(int=number)), fact) for number, fact in enumerate(FACTS)]
GHOST = Entry(str(UUID(int=99)), Fact("a", 4, "rolled back"))
GOOD = Evidence(
    journal=[
        {"what": "intent", "deed": "deed-a-1", "key": "a", "steps": 1},
        *({"what": "ok", "deed": f.deed, "key": f.key, "version": f.version, "steps": 1} for f in FACTS),
        {"what": "intent", "deed": "nobody knows", "key": "a", "steps": 1},
        {"what": "end", "events": 6},
    ],
    committed=FACTS,
    log=ENTRIES,
    handled=ENTRIES,
    effects={"a": 3, "b": 3},
)
SWAPPED = [ENTRIES[2], ENTRIES[1], ENTRIES[0], *ENTRIES[3:]]


def test_a_good_run_has_no_faults() -> None:
    """Nothing is found where nothing is wrong."""
    assert check(GOOD).faults() == {}


@pytest.mark.parametrize(
    ("evidence", "faults"),
    [
        pytest.param(evolve(GOOD, committed=FACTS[:-1]), {"forgotten", "ghosts", "miscounted"}, id="forgotten"),
        pytest.param(evolve(GOOD, log=ENTRIES[1:]), {"unpublished"}, id="dropped-by-the-relay"),
        pytest.param(evolve(GOOD, handled=ENTRIES[1:]), {"unhandled"}, id="dropped-by-the-consumer"),
        pytest.param(evolve(GOOD, log=[*ENTRIES, GHOST]), {"ghosts"}, id="ghost-in-the-log"),
        pytest.param(evolve(GOOD, handled=[*ENTRIES, GHOST]), {"ghosts"}, id="ghost-at-the-handler"),
        pytest.param(evolve(GOOD, log=SWAPPED), {"inverted_in_log"}, id="swapped-in-the-log"),
        pytest.param(evolve(GOOD, handled=SWAPPED), {"inverted_at_handler"}, id="swapped-at-the-handler"),
        pytest.param(evolve(GOOD, log=[*ENTRIES, ENTRIES[0]]), {"duplicates"}, id="doubled-in-the-log"),
        pytest.param(evolve(GOOD, handled=[*ENTRIES, ENTRIES[0]]), {"doubled"}, id="doubled-at-the-handler"),
        pytest.param(evolve(GOOD, effects={"a": 4, "b": 3}), {"miscounted"}, id="doubled-effect"),
        pytest.param(evolve(GOOD, effects={"a": 3}), {"miscounted"}, id="lost-effect"),
        pytest.param(evolve(GOOD, effects={"a": 3, "b": 3, "c": 1}), {"miscounted"}, id="effect-of-nothing"),
        pytest.param(
            evolve(GOOD, log=[*ENTRIES, Entry("another", FACTS[0])]), {"renamed"}, id="one-event-under-two-ids"
        ),
    ],
)
def test_a_planted_fault_is_found(evidence: Evidence, faults: set[str]) -> None:
    """Each planted fault is found, under its name and no other."""
    assert set(check(evidence).faults()) == faults


def test_duplicates_in_the_log_are_forgiven_up_to_a_number() -> None:
    """A kill may repeat a batch; what is repeated later does not count as out of order."""
    verdict = check(evolve(GOOD, log=[*ENTRIES, *ENTRIES[:2]]))

    assert verdict.faults(duplicates=2) == {}
    assert verdict.faults(duplicates=1) == {"duplicates": 1}


def test_a_broker_without_a_log_is_not_blamed() -> None:
    """The database broker keeps no log; what it lost shows at the handler."""
    assert check(evolve(GOOD, log=None)).faults() == {}
    assert check(evolve(GOOD, log=None, handled=ENTRIES[1:], effects={"a": 2, "b": 3})).faults() == {
        "unhandled": 1,
        "miscounted": 1,
    }


def test_versions_of_one_deed_are_facts_of_their_own() -> None:
    """A command with three events is acknowledged once, and each of its events is looked for."""
    journal = [{"what": "ok", "deed": "d", "key": "a", "version": 3, "steps": 3}]

    verdict = check(Evidence(journal=journal, committed=[], handled=[], effects={}))

    assert verdict.forgotten == {Fact("a", 1, "d"), Fact("a", 2, "d"), Fact("a", 3, "d")}
