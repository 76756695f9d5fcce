"""Sagas in a Django project: started in a transaction, run by the consumer, or run at once."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.db import transaction

from django_cqrs.consumers import consumer_names, consumers, topics_of
from django_cqrs.errors import InsideTransaction
from django_cqrs.models import Blocked, Dead, Inbox, Saga, SagaEntry, SagaWait, Scheduled
from django_cqrs.saga_recovery import recover
from simplecqrs.backoff import Retry
from simplecqrs.saga import Parallel, SagaStatus, Step, cancel, pause, resume
from simplecqrs.saga import Saga as Definition
from tests.desk.project import Project
from tests.desk.trips import PaymentCame, Trip, doing, hurry, keys, noted, paid, trip_saga, undoing

pytestmark = pytest.mark.usefixtures("committed")


def fails(_: Trip) -> None:
    """Fail."""
    raise ValueError("no seats")


def status(saga_id: UUID) -> SagaStatus:
    """Return where a saga is."""
    found: SagaStatus = Saga.objects.get(id=saga_id).status
    return found


def log(saga_id: UUID) -> list[str]:
    """Return a saga's log in short."""
    return [f"{e.step} {e.action} {e.event}" for e in SagaEntry.objects.filter(saga_id=saga_id).order_by("id")]


def test_a_started_saga_is_run_by_the_consumer(project: Project) -> None:
    """A message for each step; the end of one and the beginning of the next are one transaction."""
    saga = trip_saga(project.registry, "hotel", "flight", "thanks")

    with transaction.atomic():
        saga_id = saga.start(project.bus, Trip())
    assert (status(saga_id), Inbox.objects.count(), noted()) == ("RUNNING", 1, [])
    project.work()

    assert status(saga_id) == "COMPLETED"
    assert noted() == ["hotel ann", "flight ann", "thanks ann"]
    assert Inbox.objects.count() == 0
    assert log(saga_id) == [f"{step} act {event}" for step in ("hotel", "flight", "thanks")
                            for event in ("started", "completed")]  # fmt: skip


def test_a_saga_is_started_with_what_belongs_to_it(project: Project) -> None:
    """Neither it nor its message is there if the transaction is rolled back; a second start of an id is none."""
    saga, saga_id = trip_saga(project.registry, "hotel"), uuid4()

    with pytest.raises(ValueError, match="no seats"), transaction.atomic():
        saga.start(project.bus, Trip())
        fails(Trip())
    assert (Saga.objects.count(), Inbox.objects.count()) == (0, 0)
    for _ in range(2):
        saga.start(project.bus, Trip(), saga_id=saga_id)

    assert (Saga.objects.count(), Inbox.objects.count()) == (1, 1)


def test_a_saga_is_run_at_once(project: Project) -> None:
    """Each step commits; what it came to is stored."""
    saga = trip_saga(project.registry, "hotel", "flight")

    result = saga.run(project.bus, Trip())

    assert result.unwrap().done == ("hotel", "flight")
    assert (status(result.saga_id), noted()) == ("COMPLETED", ["hotel ann", "flight ann"])


def test_a_saga_is_not_run_where_a_transaction_is_open(project: Project) -> None:
    """Its steps could not commit; it can be started there."""
    saga = trip_saga(project.registry, "hotel")

    with pytest.raises(InsideTransaction, match=r"saga\.start"), transaction.atomic():
        saga.run(project.bus, Trip())

    assert Saga.objects.count() == 0


def test_what_failed_is_undone(project: Project) -> None:
    """What the failing step wrote is rolled back, what the others did is compensated; the consumer has no failure."""
    saga = trip_saga(project.registry, "hotel", "flight", "car", car=Step("car", doing("car", fails)))

    saga_id = saga.start(project.bus, Trip())
    project.work()

    assert status(saga_id) == "COMPENSATED"
    assert noted() == ["hotel ann", "flight ann", "no flight ann", "no hotel ann"]
    assert Saga.objects.get().error == "car: ValueError: no seats"
    assert Blocked.objects.count() == 0


def test_an_attempt_that_is_due_later_is_scheduled(project: Project) -> None:
    """It is stored as begun before it is called; it has the same key."""
    seen: list[str] = []
    flight = Step("flight", doing("flight", lambda s: (keys(seen)(s), fails(s))), undoing("flight"), retry=Retry(3))
    saga = trip_saga(project.registry, "hotel", "flight", "thanks", flight=flight)

    saga_id = saga.start(project.bus, Trip())
    project.work()
    assert (Scheduled.objects.count(), len(seen), status(saga_id)) == (1, 1, "RUNNING")
    hurry()
    project.work()
    hurry()
    project.work()

    assert (len(seen), set(seen)) == (3, {f"trip:{saga_id}:flight:act"})
    assert status(saga_id) == "COMPENSATED"
    assert log(saga_id).count("flight act started") == 3


def test_a_fallback_is_called_in_the_place_of_what_failed(project: Project) -> None:
    """It is undone by its own compensation."""
    flight = Step(
        "flight", doing("flight", fails), undoing("flight"), fallback=Step("bus", doing("bus"), undoing("bus"))
    )
    saga = trip_saga(project.registry, "flight", "hotel", flight=flight, hotel=Step("hotel", doing("hotel", fails)))

    saga_id = saga.start(project.bus, Trip())
    project.work()

    assert (status(saga_id), noted()) == ("COMPENSATED", ["bus ann", "no bus ann"])


@pytest.mark.parametrize("early", [False, True])
def test_an_event_goes_on_with_those_that_wait_for_it(project: Project, early: bool) -> None:
    """Whether it comes before the saga waits, or after."""
    saga = trip_saga(project.registry, "hotel", "paid", "thanks", paid=paid())
    if early:
        project.publish(PaymentCame("bob"), PaymentCame("ann"))
        project.ship()
        project.work()

    saga_id = saga.start(project.bus, Trip())
    project.work()
    if not early:
        assert status(saga_id) == "WAITING"
        project.publish(PaymentCame("bob"), PaymentCame("ann"))
        project.ship()
        project.work()

    assert (status(saga_id), noted()) == ("COMPLETED", ["hotel ann", "thanks ann"])
    assert SagaWait.objects.count() == 0


def test_a_saga_that_waits_first_takes_what_came_early(project: Project) -> None:
    """Whoever looks for sagas that nobody works on finds it at once."""
    saga = trip_saga(project.registry, "paid", "thanks", paid=paid())
    project.publish(PaymentCame("ann"))
    project.ship()
    project.work()

    saga_id = saga.start(project.bus, Trip())
    project.work()

    assert status(saga_id) == "COMPLETED"


def test_a_time_to_wait_ends(project: Project) -> None:
    """What was done before is undone then."""
    saga = trip_saga(project.registry, "hotel", "paid", "thanks", paid=paid(timeout=timedelta(hours=1)))

    saga_id = saga.start(project.bus, Trip())
    project.work()
    assert status(saga_id) == "WAITING"
    hurry()
    project.work()

    assert (status(saga_id), noted()) == ("COMPENSATED", ["hotel ann", "no hotel ann"])


def test_steps_that_run_in_parallel_have_lanes_of_their_own(project: Project) -> None:
    """What they have returned is merged when all have; all are undone if one fails."""

    def hotel(state: Trip) -> None:
        doing("hotel")(state)

    def car(state: Trip) -> None:
        doing("car")(state)

    both = Parallel(Step("hotel", hotel, undoing("hotel")), Step("car", car, undoing("car")))
    last = Step("thanks", doing("thanks", fails))
    saga = Definition("trip", Trip, [both, last], registry=project.registry)

    saga_id = saga.start(project.bus, Trip())
    assert sorted(Inbox.objects.values_list("key", flat=True)) == [f"{saga_id}:car", f"{saga_id}:hotel"]
    project.work()

    assert status(saga_id) == "COMPENSATED"
    assert sorted(noted()) == ["car ann", "hotel ann", "no car ann", "no hotel ann"]


def test_a_person_stops_a_saga(project: Project) -> None:
    """What rests goes on when it is told to; what is cancelled is undone."""
    saga = trip_saga(project.registry, "hotel", "paid", "thanks", paid=paid())
    resting, cancelled = saga.start(project.bus, Trip()), saga.start(project.bus, Trip("bob"))

    pause(project.bus, resting, who="eve", why="a test")
    project.work()
    cancel(project.bus, cancelled, who="eve", why="a test")
    project.work()
    assert (status(resting), status(cancelled)) == ("RUNNING", "CANCELLED")
    assert sorted(noted()) == ["hotel ann", "hotel bob", "no hotel bob"]
    resume(project.bus, resting, who="eve", why="a test")
    project.work()

    assert status(resting) == "WAITING"
    assert SagaEntry.objects.filter(who="eve").count() == 3


def test_a_step_that_may_not_be_asked_again_is_called_once(project: Project) -> None:
    """It is stored that it is called, under a lease, before it is; then nobody else does it."""
    seen: list[tuple[bool, str]] = []

    def look(_: Trip) -> None:
        kept = Saga.objects.get()
        seen.append((bool(kept.owner), status(kept.id)))

    hotel = Step("hotel", doing("hotel", look), undoing("hotel"), idempotent=False)
    saga = trip_saga(project.registry, "hotel", "thanks", hotel=hotel)

    saga_id = saga.start(project.bus, Trip())
    project.work()

    assert seen == [(True, "RUNNING")]
    assert (status(saga_id), noted(), Saga.objects.get().owner) == ("COMPLETED", ["hotel ann", "thanks ann"], "")


@pytest.mark.parametrize(("idempotent", "end"), [(False, "UNKNOWN"), (True, "COMPLETED")])
def test_what_ended_its_process_is_found_again(project: Project, idempotent: bool, end: str) -> None:
    """It is asked again, with the same key; if that may not be, a person has to say."""
    seen: list[str] = []

    def die_once(state: Trip) -> None:
        keys(seen)(state)
        if len(seen) == 1:
            raise KeyboardInterrupt

    hotel = Step("hotel", doing("hotel", die_once), undoing("hotel"), idempotent=idempotent)
    saga = trip_saga(project.registry, "hotel", "thanks", hotel=hotel)

    saga_id = saga.start(project.bus, Trip())
    with pytest.raises(KeyboardInterrupt):
        project.work()
    hurry()
    project.work()

    assert (status(saga_id), len(set(seen))) == (end, 1)
    assert noted() == ([] if end == "UNKNOWN" else ["hotel ann", "thanks ann"])


def test_what_may_have_happened_is_undone(project: Project) -> None:
    """Its process has ended in it, and the second time it fails: nobody knows what the first time did."""
    seen: list[str] = []

    def die_then_fail(state: Trip) -> None:
        keys(seen)(state)
        if len(seen) == 1:
            raise KeyboardInterrupt
        fails(state)

    hotel = Step("hotel", doing("hotel", die_then_fail), undoing("hotel"))
    saga = trip_saga(project.registry, "hotel", "thanks", hotel=hotel)

    saga_id = saga.start(project.bus, Trip())
    with pytest.raises(KeyboardInterrupt):
        project.work()
    project.work()

    assert (status(saga_id), noted()) == ("COMPENSATED", ["no hotel ann"])


def test_a_saga_that_is_gone_leaves_nothing_behind(project: Project) -> None:
    """Its message is done."""
    saga = trip_saga(project.registry, "hotel")
    saga.start(project.bus, Trip())
    Saga.objects.all().delete()

    project.work()

    assert (Inbox.objects.count(), Blocked.objects.count()) == (0, 0)


def test_a_step_is_called_in_the_lane_of_its_saga(project: Project) -> None:
    """A message in another one, of a definition that had it there or of a stranger, is stored anew in that."""
    saga = trip_saga(project.registry, "hotel", "thanks")
    saga_id = saga.start(project.bus, Trip())
    Inbox.objects.update(key=f"{saga_id}:hotel")

    [*workers, _] = consumers("sagas")
    assert sum(worker.step() for worker in workers) == 1
    assert (noted(), Inbox.objects.get().key) == ([], str(saga_id))
    project.work()

    assert (status(saga_id), noted()) == ("COMPLETED", ["hotel ann", "thanks ann"])


def test_what_is_no_message_of_ours_is_a_dead_letter(project: Project) -> None:
    """Whoever could write to the consumer's broker could send one."""
    saga = trip_saga(project.registry, "hotel")
    saga.start(project.bus, Trip())
    Inbox.objects.update(payload=b'{"saga_id": 7}')

    project.work()

    assert "does not say how a saga goes on" in Dead.objects.get().reason


def test_the_consumer_is_there_when_there_are_sagas(project: Project) -> None:
    """It subscribes to what steps wait for."""
    assert "sagas" not in consumer_names(project.bus)
    trip_saga(project.registry, "hotel", "paid", "thanks", paid=paid())

    assert "sagas" in consumer_names(project.bus)
    assert topics_of("sagas", project.bus) == [project.bus.vocabulary.topic(PaymentCame)]


def test_an_attempt_that_fails_is_no_worker_that_did_not_come_back(project: Project) -> None:
    """A step is tried as often as its retry says, though each attempt is made by whoever takes the saga over."""
    seen: list[str] = []
    mail = Step("mail", doing("mail", lambda s: (keys(seen)(s), fails(s))), retry=Retry(8, first=60))
    saga = trip_saga(project.registry, "hotel", "mail", hotel=Step("hotel", doing("hotel"), pivot=True), mail=mail)

    saga_id = saga.run(project.bus, Trip(), patience=0).saga_id
    for _ in range(9):
        hurry()
        recover(project.bus)

    assert (len(seen), status(saga_id)) == (8, "FAILED")
    assert Saga.objects.get().error == "mail: ValueError: no seats"


@pytest.mark.parametrize("dies", [False, True])
def test_what_runs_in_parallel_does_not_wait_for_what_may_not_be_asked_again(project: Project, dies: bool) -> None:
    """Both go on; if the process of one ends, that is found, though others were stored since."""

    def die(_: Trip) -> None:
        if dies:
            raise KeyboardInterrupt

    once = Step("once", die, undoing("once"), idempotent=False)
    others = [Step(name, lambda s: doing("x")(s) and None, undoing(name)) for name in ("a", "b")]
    saga = Definition("trip", Trip, [Parallel(others[0], once, others[1]), Step("c", doing("c"))],
                      registry=project.registry)  # fmt: skip

    saga_id = saga.start(project.bus, Trip())
    with suppress(KeyboardInterrupt):
        project.work()
    project.work()
    assert not dies or Saga.objects.get().due_at is not None
    hurry()
    project.work()

    assert noted() == (["x ann", "x ann"] if dies else ["x ann", "x ann", "c ann"])
    assert status(saga_id) == ("UNKNOWN" if dies else "COMPLETED")
