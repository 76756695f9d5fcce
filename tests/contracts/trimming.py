"""What every broker does that trims what its consumers have acknowledged."""

from __future__ import annotations

from typing import Any

import pytest

from simplecqrs.errors import NotConfigured
from simplecqrs.transport import Trims
from tests.contracts.broker import DEADLINE, drain, envelope


class TrimmingContract:
    """
    What ``Trims`` asks for, beside ``BrokerContract``, whose fixtures it uses.

    A broker may keep the last entry that was acknowledged.
    """

    def test_trims_what_all_consumers_have_acknowledged(self, broker: Any, topic: str) -> None:
        """A consumer that comes later finds none of it, but perhaps the last one."""
        feeds = [broker.feeds(name, [topic])[0] for name in ("mailing", "billing")]
        broker.publish([envelope(topic) for _ in range(20)], deadline=DEADLINE)
        for feed in feeds:
            drain(feed)

        trimmed = broker.trim(topic, ["mailing", "billing"], keep=0)

        (late,) = broker.feeds("latecomer", [topic])
        assert isinstance(broker, Trims)
        assert trimmed.whole
        assert len(drain(late)) == 20 - trimmed.entries <= 1

    @pytest.mark.parametrize("fetched", [0, 5], ids=["fetched by nobody", "in somebody's hands"])
    def test_trims_nothing_that_a_consumer_has_not_acknowledged(self, broker: Any, topic: str, fetched: int) -> None:
        """Nor one that is declared nowhere here, and is another project's perhaps; it says which one."""
        (fast,), (slow,) = broker.feeds("mailing", [topic]), broker.feeds("stranger", [topic])
        sent = [envelope(topic) for _ in range(20)]
        broker.publish(sent, deadline=DEADLINE)
        drain(fast)
        slow.acknowledge(slow.fetch(3))
        slow.fetch(fetched or 1)

        trimmed = broker.trim(topic, ["mailing"], keep=0)

        assert trimmed.held_by == "stranger"
        assert drain(slow) == sent[3:]

    def test_trims_nothing_if_a_consumer_is_unknown(self, broker: Any, topic: str) -> None:
        """It is to read all of it; the error names it, and what to do."""
        (feed,) = broker.feeds("mailing", [topic])
        sent = [envelope(topic) for _ in range(3)]
        broker.publish(sent, deadline=DEADLINE)
        drain(feed)

        with pytest.raises(NotConfigured, match="billing, which is declared"):
            broker.trim(topic, ["mailing", "billing"], keep=0)

        (late,) = broker.feeds("billing", [topic])
        assert drain(late) == sent

    def test_trims_nothing_that_is_young(self, broker: Any, topic: str) -> None:
        """Who reads it once more shall find it."""
        (feed,) = broker.feeds("mailing", [topic])
        sent = [envelope(topic) for _ in range(3)]
        broker.publish(sent, deadline=DEADLINE)
        drain(feed)

        trimmed = broker.trim(topic, ["mailing"], keep=60)

        (late,) = broker.feeds("latecomer", [topic])
        assert (trimmed.entries, trimmed.held_by) == (0, "")
        assert drain(late) == sent

    def test_counts_only_what_it_would_trim(self, broker: Any, topic: str) -> None:
        """In a dry run; and there is nothing to do in a topic that nobody has written to."""
        assert broker.trim(topic, ["mailing"], keep=0).entries == 0
        (feed,) = broker.feeds("mailing", [topic])
        assert broker.trim(topic, ["mailing"], keep=0, dry_run=True).entries == 0
        sent = [envelope(topic) for _ in range(9)]
        broker.publish(sent, deadline=DEADLINE)
        drain(feed)

        counted = broker.trim(topic, ["mailing"], keep=0, limit=5, dry_run=True)

        (late,) = broker.feeds("latecomer", [topic])
        assert counted.entries == 5
        assert drain(late) == sent

    def test_trims_no_more_than_it_is_told_at_a_time(self, broker: Any, topic: str) -> None:
        """So that others are served in between; it says that there is more."""
        (feed,) = broker.feeds("mailing", [topic])
        broker.publish([envelope(topic) for _ in range(1000)], deadline=DEADLINE)
        drain(feed, 1000)

        trims = [broker.trim(topic, ["mailing"], keep=0, limit=300)]
        while not trims[-1].whole:
            trims.append(broker.trim(topic, ["mailing"], keep=0, limit=300))

        assert len(trims) > 3
        assert max(trimmed.entries for trimmed in trims) <= 300
        assert sum(trimmed.entries for trimmed in trims) >= 999
