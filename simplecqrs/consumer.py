"""A consumer: takes messages out of its inbox and hands them to handlers."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from attrs import define, field

from simplecqrs.bell import Bell
from simplecqrs.counts import Counts
from simplecqrs.deadlines import within
from simplecqrs.envelope import Envelope
from simplecqrs.handling import Handling, Receive
from simplecqrs.log_fields import named
from simplecqrs.policies import Policy
from simplecqrs.queue import LANES, PASSES, Held, Row, Storage, Work
from simplecqrs.territory import Territory
from simplecqrs.together import Together

__all__ = ["Consumer", "Policy"]

log = logging.getLogger("simplecqrs.consumer")

MiB = 1024 * 1024
#: How many messages are taken for a ring of the bell each, before one looks what else there is.
UNSEEN = 4
#: How often a message is begun by others who do not come back before it is put aside untried: they may have been
#: stopped in it by chance.  On a retry once is enough: that is an attempt that has failed.
DEATHS = 3


@define(kw_only=True)
class Consumer:
    """
    Handle what waits in a consumer's inbox: per message one transaction, under its lane's lock.

    Any number of workers may run.  Each works one lane at a time, for up to ``run`` messages: one of its own while
    there is work in them, else one that nobody works.

    Args:
        consumer: its name; its queue in the inbox bears it.
        receive: handles a message; what it writes shares the transaction in which the row is deleted.
        policy: what becomes of a message that failed; asked when it has failed.
        batch: messages per transaction.  More are faster; if one of them fails, all are rolled back and handled one by
            one.  What handlers do outside of the database is repeated then, and after a crash.
        strict: a message without a handler is a dead letter, not only counted.
        timeout: seconds after which the database takes the lane from a handler that hangs.
        stopping: asked between two messages of a run; if true, the run ends.
        wait: called with the seconds after which lanes of others may be taken over.
        bell: rings when a message has come.  None: nobody tells.
    """

    consumer: str
    storage: Storage
    receive: Receive
    policy: Callable[[Envelope], Policy] = lambda _: Policy()
    lanes: int = LANES
    run: int = 50
    batch: int = 1
    max_bytes: int = 4 * MiB
    strict: bool = False
    timeout: float = 300.0
    stopping: Callable[[], bool] = lambda: False
    wait: Callable[[float], object] = time.sleep
    bell: Bell | None = None
    counts: Counts = field(factory=Counts)
    _territory: Territory = field(factory=Territory, init=False)
    #: Messages that are still to be handled one by one, since the batch in which they were was rolled back.
    _singly: int = field(default=0, init=False)
    #: How many may be taken without a look: some after one that found nothing.  What comes then is one message, and
    #: fewer statements bring it sooner.
    _unseen: int = field(default=0, init=False)
    _heard: int = field(default=0, init=False)
    #: Whether a message was found before the bell rang for it, so that its next ring says nothing new.
    _is_owed: bool = field(default=False, init=False)
    _handling: Handling = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._handling = Handling(
            consumer=self.consumer, storage=self.storage, receive=self.receive, policy=self.policy, strict=self.strict,
            timeout=self.timeout, counts=self.counts,
        )  # fmt: skip

    @property
    def name(self) -> str:
        """Name the worker in log lines."""
        return f"consumer {self.consumer}"

    @property
    def asides(self) -> dict[str, int]:
        """Count what a person at the terminal may want to know besides."""
        return {
            "failed": self.counts.failed,
            "discarded": self.counts.discarded,
            "pauses": self.counts.paused,
            "waits for a release": self.counts.awaited,
            "without a handler": self.counts.unclaimed,
            "expired": getattr(self.receive, "expired", 0),
        }

    def step(self) -> int:
        """Work one lane for a run of messages and return how many were settled, handled or not."""
        for _ in range(PASSES):
            settled = self._work_lane()
            if settled is not None:
                return settled
        return 0

    def close(self) -> None:
        """Leave the lanes to others, who need not wait then; unless it dies of a message, which is to be remembered."""
        if not self._handling.is_dying:
            self.storage.release(self.consumer, self._territory.owner)

    def _work_lane(self) -> int | None:
        """Work one lane; None if its rows had only to be moved behind their blocked keys, so that others are next."""
        unseen, self._unseen, is_rung = self._unseen, 0, self._is_rung()
        self._handling.doubts.is_foreign = False
        if is_rung and unseen and self._take_own():
            self._unseen = unseen - 1
            return 1
        order = random.sample(range(self.lanes), self.lanes)
        works = self._territory.find(lambda: self.storage.look(self.consumer, order), self.wait)
        self._unseen = 0 if works else UNSEEN
        self._is_owed = not is_rung and (self._is_owed or bool(works))
        if not works:
            return 0
        if unseen and self._is_plain(works[0]) and self._handling.take(self._first(works[0])) != "gone":
            return 1
        together = Together(self._handling.hand_over, self.stopping)
        error = self._try(together, {work.lane: work.owner for work in works})
        return self._settle(together) if error is None else self._undone(together, error)

    def _try(self, together: Together, owners: Mapping[int, int]) -> Exception | None:
        """Handle the first rows of a lane in one transaction; return for what it was rolled back."""
        try:
            with self.storage.hold(self.consumer, lanes=list(owners), limit=1, local=True, idle=self.timeout) as held:
                together.read = held.read(self.run, self.max_bytes) if held is not None else None
                if held is not None and together.read and self._begin(held, together.read, owners):
                    self._handle_together(held, together, together.read[0])
        except Exception as error:
            # What fails at the commit is the handler's as well: a deferred constraint, a lane lost to the timeout.
            if not together.tried:
                raise
            return error
        return None

    def _handle_together(self, held: Held, together: Together, first: Row) -> None:
        try:
            with within(self.timeout):
                together.handle(held, 1 if self._singly else self.batch)
        except Exception:
            # Between here and its parking another worker may take the lane, who is not to think that we have died.
            if first.parked:
                held.disclaim(first, self._territory.owner)
            raise

    def _begin(self, held: Held, rows: Sequence[Row], owners: Mapping[int, int]) -> bool:
        """Note who begins with these rows, and how many go one by one; False if the first one was put aside."""
        row = rows[0]
        most = 1 if row.parked else DEATHS
        known = owners.get(row.lane, 0)
        stays = known == self._territory.owner and not row.parked
        self._handling.doubts.is_foreign = known not in (0, self._territory.owner)
        starts = 0 if stays else held.claim(row, self._territory.owner, most=most)
        if starts >= most:
            self._handling.failing.put_aside(held, row)
            return False
        if self.batch > 1 and (row.parked or starts):  # who died in it may have begun a batch
            self._singly = max(self._singly, self.batch if starts else sum(row.parked for row in rows))
        return True

    def _undone(self, together: Together, error: Exception) -> int:
        """Deal with what was rolled back: one message has failed; of several, each is handled by itself now."""
        tried = together.tried
        if len(tried) == 1:
            self._singly = max(0, self._singly - 1)
            self._handling.failed(tried[0], error)
            return 1
        self._singly = len(tried)
        # Whoever has failed will fail by itself, and is told of then; a commit may fail for what they are together.
        level, what = (logging.WARNING, "commit") if together.is_done else (logging.INFO, "handle")
        log.log(
            level, "%s could not %s %d messages; one by one now", self.consumer, what, len(tried),
            exc_info=error, extra=named(queue=self.consumer),
        )  # fmt: skip
        return max(1, self._go_on(tried))

    def _settle(self, together: Together) -> int | None:
        """Count what was handled and is committed now, and go on with what is handled one by one."""
        if together.read is None or not together.handled:
            return 0 if together.read is None else 1 if together.read else None
        for row, claimed in together.handled:
            self._handling.done(row, claimed=claimed)
        self._singly = max(0, self._singly - 1)
        until = len(together.read) if self.batch == 1 else 1 + self._singly
        return len(together.handled) + self._go_on(together.read[1:until])

    def _go_on(self, rows: Sequence[Row]) -> int:
        """Handle these, one transaction each; any surprise ends it, for what follows may have to wait."""
        settled = 0
        for row in rows:
            taken = "gone" if self.stopping() else self._handling.take(self._handling.ours(row))
            settled += taken != "gone"
            if taken != "handled":
                break
        self._singly = max(0, self._singly - settled)
        return settled

    def _is_plain(self, work: Work) -> bool:
        """Tell whether nothing has to be asked or noted before the first row of a lane is handled."""
        return work.owner == self._territory.owner and work.head > 0 and not work.due

    def _is_rung(self) -> bool:
        """Tell whether the bell has rung since it was asked before."""
        heard, self._heard = self._heard, 0 if self.bell is None else self.bell.rings
        return heard != self._heard

    def _take_own(self) -> bool:
        """Handle a message without a look, if what came last was in a lane of ours as well; False if there is none."""
        territory, lanes = self._territory, range(self.lanes)
        if self._is_owed or not territory.is_likely:
            return False
        own = self.storage.take_own(self.consumer, territory.owner, lanes=lanes, idle=self.timeout)
        territory.is_likely = self._handling.take(own) != "gone"
        return territory.is_likely

    def _first(self, work: Work) -> AbstractContextManager[Row | None]:
        return self.storage.take_first(self.consumer, work, idle=self.timeout)
