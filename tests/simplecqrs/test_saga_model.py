"""
Random sagas against a small model of the world: whatever fails, crashes, or is asked for by a person.

The model is a bank that honours keys: what each step has done to it is there, or not.  A saga's word is compared with
that; how it came to it is the machine's business.
"""

from __future__ import annotations

from typing import Any, Literal

from attrs import define, evolve, field, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simplecqrs import NO_COMPENSATION, Mediator, OutcomeUnknown, Parallel, Registry, Retry, Saga, Step
from simplecqrs.errors import InvalidSaga
from simplecqrs.saga import MemorySagas, cancel, current_step, pause, recover, resume, retry, skip
from tests.simplecqrs.saga_world import Boom, Clock, Killed, Trip

#: What a call comes to.  late: it has happened, and its answer is lost; mute: it has not, and its answer is lost as
#: well; dies before, dies after: so does its process.
Outcome = Literal["works", "fails", "late", "mute", "dies before", "dies after"]
outcomes = st.sampled_from(["works", "works", "works", "fails", "late", "mute", "dies before", "dies after"])
acts = st.sampled_from(["cancel", "pause", "resume", "retry", "skip", "recover", "recover"])
who = {"who": "ann", "why": "test"}


@frozen
class Plan:
    """How a step is defined."""

    idempotent: bool
    fallback: bool
    tries: int
    free: bool  # there is nothing to undo


plans = st.builds(
    Plan, idempotent=st.booleans() | st.just(True), fallback=st.booleans(), tries=st.integers(1, 2), free=st.booleans()
)
groups = st.lists(st.lists(plans, min_size=1, max_size=2), min_size=1, max_size=5)


@define
class Bank:
    """
    The world outside.

    Args:
        done: the steps whose effect is there, and by which action.
        refused: those that were undone: what comes late is not done any more.
        told: what calls come to.
        once: the steps that may not be asked again by themselves.
        wrong: what must not have happened; raised in a step it would be the step's failure.
        unsure: those of them of which nobody knows whether they happened.
    """

    told: list[Outcome]
    done: dict[str, str] = field(factory=dict[str, str])
    refused: set[str] = field(factory=set[str])
    skipped: set[str] = field(factory=set[str])
    calls: list[tuple[str, str]] = field(factory=list[tuple[str, str]])
    once: set[str] = field(factory=set[str])
    unsure: set[str] = field(factory=set[str])
    wrong: list[str] = field(factory=list[str])

    def act(self, state: Trip) -> Trip:
        """Do it once for each key."""
        step, outcome = self._begun()
        if outcome in ("works", "late", "dies after") and step.step not in self.refused:
            if self.done.get(step.step, step.action) != step.action:
                self.wrong.append(f"{step.step}: both act and fallback were done")
            self.done[step.step] = step.action
        return self._ended(outcome, state, step.step)

    def undo(self, state: Trip) -> Trip:
        """Undo it, also if it never happened, and see that it does not happen any more."""
        step, outcome = self._begun()
        if outcome in ("works", "late", "dies after"):
            self.done.pop(step.step, None)
            self.refused.add(step.step)
        return self._ended(outcome, state, f"-{step.step}")

    def _begun(self) -> tuple[Any, Outcome]:
        step = current_step()
        self.calls.append((step.step, step.action))
        outcome: Outcome = self.told.pop(0) if self.told else "works"
        if step.step in self.once and not step.action.startswith("undo"):
            if step.step in self.unsure:
                self.wrong.append(f"{step.step} was asked again, and nobody had said so")
            if outcome not in ("works", "fails"):
                self.unsure.add(step.step)
        return step, outcome

    def _ended(self, outcome: Outcome, state: Trip, name: str) -> Trip:
        if outcome.startswith("dies"):
            raise Killed
        if outcome in ("late", "mute"):
            raise OutcomeUnknown(outcome)
        if outcome == "fails":
            raise Boom
        return evolve(state, notes=(*state.notes, name))


def defined(bank: Bank, plan: list[list[Plan]], pivot: int, registry: Registry) -> Saga[Trip]:
    """Make a saga of a plan: what is at the pivot stands alone."""
    parts: list[Any] = []
    for index, group in enumerate(plan):
        steps = [_step(bank, f"{index}{'ab'[n]}", each, index, pivot) for n, each in enumerate(group)]
        alone = len(steps) == 1 or index == pivot
        parts.append(steps[0] if alone else Parallel(*steps, merge=lambda before, _: before))
    return Saga("model", Trip, parts, registry=registry, compensation_retry=Retry(2, first=1.0))


def _step(bank: Bank, name: str, plan: Plan, index: int, pivot: int) -> Step[Trip]:
    if not plan.idempotent:
        bank.once.add(name)
    undo: Any = NO_COMPENSATION if plan.free else bank.undo
    return Step(
        name,
        bank.act,
        None if index > pivot or (index == pivot and plan.free) else undo,
        fallback=bank.act if plan.fallback else None,
        retry=Retry(plan.tries, first=1.0),
        idempotent=plan.idempotent,
        pivot=index == pivot,
    )


def drive(bus: Mediator, saga: Saga[Trip], bank: Bank, asked: list[str], clock: Clock) -> Any:
    """Run a saga to where a person is happy with it, and return what is stored."""
    try:
        saga_id = saga.run(bus, Trip(), patience=0).saga_id
    except Killed:
        [record] = bus.sagas.find()
        saga_id = record.id
    for _ in range(200):
        record = _stored(bus, saga_id)
        if record.status in ("COMPLETED", "COMPENSATED", "CANCELLED") and not asked:
            return record
        _ask(bus, saga_id, asked.pop(0) if asked else _next(record), bank)
        clock.now += 10_000
        try:
            for outcome in recover(bus, take_overs=Retry(100)):
                assert outcome.error is None
        except Killed:
            pass
    raise AssertionError(f"it did not end: {_stored(bus, saga_id)}")


def _next(record: Any) -> str:
    if record.paused:
        return "resume"
    return "retry" if record.status in ("FAILED", "UNKNOWN") else "recover"


def _stored(bus: Mediator, saga_id: Any) -> Any:
    record = bus.sagas.load(saga_id)
    assert record is not None
    return record


def _ask(bus: Mediator, saga_id: Any, what: str, bank: Bank) -> None:
    given_up = [name for name, known in _stored(bus, saga_id).progress.items() if known.phase in ("unknown", "stuck")]
    try:
        if what == "skip" and given_up:
            skip(bus, saga_id, step=given_up[0], **who)
            bank.skipped.add(given_up[0])
        elif what in ("cancel", "pause", "resume", "retry"):
            bank.unsure -= bank.unsure if what == "retry" else set()
            {"cancel": cancel, "pause": pause, "resume": resume, "retry": retry}[what](bus, saga_id, **who)
    except InvalidSaga:  # it means nothing now
        pass


def check(saga: Saga[Trip], bank: Bank, record: Any) -> None:
    """Compare a saga's word with the world."""
    steps = {name: step for name, step in saga.by_name.items() if name not in bank.skipped}
    assert bank.wrong == []
    if record.status == "COMPLETED":
        assert set(steps) <= set(bank.done)
        assert not any(action.startswith("undo") for _, action in bank.calls)
    else:
        stays = {name for name, step in steps.items() if step.compensate is NO_COMPENSATION}
        assert set(bank.done) - bank.skipped <= stays
    places = [saga.index_of(saga.by_name[name]) for name, action in bank.calls if action.startswith("undo")]
    forward = [saga.index_of(saga.by_name[name]) for name, action in bank.calls if not action.startswith("undo")]
    assert forward == sorted(forward)
    if places:
        first = next(n for n, (_, action) in enumerate(bank.calls) if action.startswith("undo"))
        assert all(action.startswith("undo") for _, action in bank.calls[first:])
        assert max(forward) <= saga.pivot


@given(plan=groups, pivot=st.integers(0, 4), told=st.lists(outcomes, max_size=14), asked=st.lists(acts, max_size=6))
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_saga_tells_the_truth_about_the_world(
    plan: list[list[Plan]], pivot: int, told: list[Outcome], asked: list[str]
) -> None:
    """Each effect is there once, or undone, the last first; and nothing is undone after the pivot."""
    registry, bank, clock = Registry(), Bank([*told]), Clock()
    saga = defined(bank, plan, min(pivot, len(plan) - 1), registry)
    sagas = MemorySagas(clock=clock)
    sagas.parallel = False
    bus = Mediator(registry, sagas=sagas)

    record = drive(bus, saga, bank, [*asked], clock)

    check(saga, bank, record)
    check_log(saga, bus, record)


def check_log(saga: Saga[Trip], bus: Mediator, record: Any) -> None:
    """Each call that the log tells of began, and what was undone was undone the last first."""
    log = [(e.step, e.action, e.event) for e in bus.sagas.history(record.id) if e.step]
    undone = [
        saga.index_of(saga.by_name[step]) for step, action, event in log if (action[:4], event) == ("undo", "completed")
    ]
    assert all(log.count((s, a, "completed")) <= 1 for s, a, _ in log)
    assert sorted(undone, reverse=True) == undone or any(e.action == "retry" for e in bus.sagas.history(record.id))
