"""A saga: a long story made of steps that can be undone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from uuid import UUID

from simplecqrs.backoff import Retry
from simplecqrs.codec.port import Codec, Inspects
from simplecqrs.errors import DuplicateHandler, InvalidSaga
from simplecqrs.guarding import Open
from simplecqrs.messages import Command
from simplecqrs.registration import Options
from simplecqrs.registry import Registry, default_registry
from simplecqrs.saga.handing import start
from simplecqrs.saga.records import Record, Run, Waiting
from simplecqrs.saga.run_step import RunStep, StepCalls
from simplecqrs.saga.running import Steps, run
from simplecqrs.saga.shape import shape_problems
from simplecqrs.saga.states import is_frozen, plain_problems
from simplecqrs.saga.step import Parallel, Step, WaitFor, steps_of
from simplecqrs.saga.waiting import CONSUMER, HandIn

if TYPE_CHECKING:
    from simplecqrs.mediator import Mediator
    from simplecqrs.saga.results import SagaResult

__all__ = ["Saga"]

S = TypeVar("S")

#: Once, unless a step says more: what failed is undone.
ONCE: Final = Retry(1)
#: After the pivot there is no way back: nearly for ever, for weeks at least.
FORWARD: Final = Retry(1000, first=1.0, cap=3600.0)
#: Seconds that a saga belongs to its worker beyond what a step may take.
MARGIN: Final = 10.0


class Saga(Generic[S]):
    """
    Steps that are done in their order, and undone in the other one if one fails.

    Args:
        name: under which sagas are stored, so it must not change.
        state: the class of what the steps work on; codecs must be able to store it.
        steps: ``Step`` or ``Parallel``: those that can be undone, at most one pivot, then those that only go forward.
        compensation_retry: how often each compensation is tried.
        registry: where it is registered.  Default: the one behind the module-level ``handles``.

    Raises:
        InvalidSaga: with everything that is wrong with it.
        DuplicateHandler: if there is a saga of this name.
    """

    def __init__(
        self,
        name: str,
        state: type[S],
        steps: Sequence[Step[S] | Parallel[S]],
        *,
        compensation_retry: Retry = Retry(3, cap=60.0),  # noqa: B008 - it cannot be changed
        registry: Registry = default_registry,
    ) -> None:
        self.name = name
        self.state = state
        self.definition = tuple(steps)
        self.compensation_retry = compensation_retry
        problems = shape_problems(name, state, self.definition)
        if problems:
            raise InvalidSaga(f"the saga {name!r} cannot work: {'; '.join(problems)}")
        self.groups = tuple(map(steps_of, steps))
        self.by_name: dict[str, Step[S]] = {step.name: step for group in self.groups for step in group}
        self.pivot = _pivot_of(self.groups)
        self.is_frozen = is_frozen(state)
        self.no_retry: tuple[type[Exception], ...] = (Open,)
        self.branches = frozenset(step.name for group in self.groups if len(group) > 1 for step in group)
        self.singles = tuple(group[0].name if len(group) == 1 else "" for group in self.groups)
        self.first_runs = {
            step.name: Run(step.name, "act", 1, begun=True)
            for step in self.by_name.values()
            if step.idempotent and step.waits is None and step.name not in self.branches
        }
        #: Whether each step has the next one for its only follower, and may be begun ahead of time.
        self.is_plain = self.is_frozen and len(self.first_runs) == len(self.groups)
        self._names = {known: step.name for step in self.by_name.values() for known in (step.name, *step.aliases)}
        self._index = {step.name: index for index, group in enumerate(self.groups) for step in group}
        self.message = _message_of(name)
        self._register(registry)

    def _register(self, registry: Registry) -> None:
        if any(isinstance(known.handler, StepCalls) and known.handler.saga.name == self.name for known in registry):
            raise DuplicateHandler(f"there is a saga {self.name!r} already, and what is stored could belong to either")
        handler: Any = StepCalls(self)
        registry.register((self.message,), handler, Options())
        for step in self.by_name.values():
            if step.waits is not None:
                handler = HandIn(self, step)
                registry.register((step.waits.event,), handler, Options(consumer=CONSUMER))

    def __repr__(self) -> str:
        return f"Saga({self.name!r}, {self.state.__qualname__}, {len(self.by_name)} steps)"

    def run(self, bus: Mediator, state: S, *, saga_id: UUID | None = None, patience: float = 30.0) -> SagaResult[S]:
        """
        Run a saga in this thread until it has ended, or nothing more can be done for it now.

        Args:
            saga_id: of two with one id only the first is begun: the second call goes on with it, and takes no notice
                of ``state``.
            patience: seconds to wait in all for attempts that are due later; what would take longer is left to
                whoever recovers sagas.

        Raises:
            SagaBusy: if somebody else works on it.
        """
        return run(bus, self, state, None if saga_id is None else _id(saga_id), patience)

    def steps(self, bus: Mediator, state: S, *, saga_id: UUID | None = None, patience: float = 30.0) -> Steps[S]:
        """
        Run a saga step by step; what is closed early goes on when somebody runs it again, or recovers it.

        In a ``with`` statement, an exception that leaves its body has the saga undone, if it has not passed its pivot.
        """
        return Steps(bus, self, state, _id(saga_id), patience)

    def start(self, bus: Mediator, state: S, *, saga_id: UUID | None = None) -> UUID:
        """Store a saga, in the transaction that is open, for a worker to run, and return its id."""
        return start(bus, self, state, _id(saga_id))

    def problems(self, codec: Codec) -> list[str]:
        """Return what a mediator finds wrong, each with its cure; what is wrong by itself was raised at once."""
        kind: Any = self.state  # which is no message, but is stored as one is
        found = [*codec.problems(kind), *plain_problems(kind)] if isinstance(codec, Inspects) else []
        return [f"the saga {self.name!r}: its state cannot be stored: {text}" for text in found]

    def step(self, name: str) -> Step[S]:
        """Return a step by its name, or by one that it had before."""
        return self.by_name[self._names[name]]

    def knows(self, name: str) -> str | None:
        """Return what a step is called now, or None."""
        return self._names.get(name)

    def index_of(self, step: Step[S]) -> int:
        """Return the place of a step; those of a Parallel share theirs."""
        return self._index[step.name]

    def is_parallel(self, step: Step[S]) -> bool:
        """Tell whether a step belongs to a Parallel."""
        return step.name in self.branches

    def merge_of(self, step: Step[S]) -> Callable[[S, Sequence[S]], S] | None:
        """Return how the states of the Parallel that a step belongs to are merged, if it says so."""
        part = self.definition[self._index[step.name]]
        return part.merge if isinstance(part, Parallel) else None

    def retry_of(self, step: Step[S]) -> Retry:
        """Return how often a step is tried."""
        return step.retry or (FORWARD if self._index[step.name] > self.pivot else ONCE)

    def falls_back(self, step: Step[S], error: BaseException) -> bool:
        """Tell whether a step's fallback answers for a failure."""
        return step.fallback is not None and isinstance(error, (*step.falls_back_on, Open))

    def waiting(self, step: Step[S], waits: WaitFor[S, Any], state: S) -> Waiting:
        """Return what is stored of a step that waits."""
        timeout = waits.timeout.total_seconds() if waits.timeout is not None else None
        return Waiting(step.name, self.place_of(step), waits.key_of(state), timeout)

    def place_of(self, step: Step[S]) -> str:
        """Return under what events for a step are handed in."""
        return f"{self.name}:{step.name}"

    @cached_property
    def lease(self) -> float:
        """Return for how many seconds a worker holds a saga: longer than any step may take."""
        return max(step.timeout for step in self.by_name.values()) + MARGIN

    @cached_property
    def fingerprint(self) -> str:
        """Return a short text that is another one when steps, or their order, are."""
        text = "\n".join("|".join(step.name for step in group) for group in self.groups)
        return sha256(f"{text}\n{self.pivot}".encode()).hexdigest()[:16]

    def new(self, saga_id: UUID, state: S) -> Record:
        """Return the record of a saga that is about to begin."""
        return Record(saga_id, self.name, state, fingerprint=self.fingerprint)


def _pivot_of(groups: Sequence[Sequence[Step[Any]]]) -> int:
    """Return the place of the pivot; what has none and ends with a step that cannot be undone has it there."""
    for index, group in enumerate(groups):
        if any(step.pivot for step in group):
            return index
    return len(groups) - 1


def _message_of(name: str) -> type[RunStep]:
    """Make the message class of a saga's steps, so that each saga has its own handler, name and database."""
    label = "".join(part.capitalize() for part in name.replace("-", "_").replace(".", "_").split("_"))
    space = {"__module__": RunStep.__module__, "__slots__": (), "__qualname__": f"Run{label}Step"}
    bases: tuple[type[Command[Any]], ...] = (RunStep,)
    return type(f"Run{label}Step", bases, space, name=f"saga.{name}")


def _id(saga_id: UUID | None) -> UUID | None:
    if saga_id is not None and not isinstance(saga_id, UUID):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"saga_id= is a UUID, not {saga_id!r}; make one of a name of yours: uuid5(NAMESPACE_URL, 'orders/7'), or "
            "of its text: UUID(text)"
        )
    return saga_id
