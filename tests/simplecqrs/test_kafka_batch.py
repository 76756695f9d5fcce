"""The envelopes of one call to Kafka: which are sent, in how many waves, and which are not."""

from __future__ import annotations

from collections.abc import Sequence

from simplecqrs.brokers.cloudevents import CloudEventsBinary
from simplecqrs.brokers.kafka_batch import Batch
from simplecqrs.brokers.kafka_records import record_of, size_of
from simplecqrs.brokers.kafka_settings import MOST
from simplecqrs.envelope import Envelope
from tests.contracts.broker import envelope

WIRE = CloudEventsBinary()


def batch_of(envelopes: Sequence[Envelope], largest: int) -> Batch:
    batch = Batch(WIRE, "", largest, {})
    batch.add(envelopes)
    return batch


def size(envelope: Envelope) -> int:
    return size_of([record_of(envelope, WIRE, envelope.topic)])


class TestWaves:
    """What goes out at a time: as much as fits into one batch of the producer's."""

    def test_are_one_where_all_fits(self) -> None:
        """All that a call has leaves at once, to the last byte that there is room for."""
        envelopes = [envelope("orders", payload=b"x" * 100) for _ in range(3)]
        room = sum(map(size, envelopes))

        assert list(batch_of(envelopes, room).waves()) == [[0, 1, 2]]
        assert list(batch_of(envelopes, room - 1).waves()) == [[0, 1], [2]]

    def test_have_no_more_records_than_a_batch_may(self) -> None:
        """However small they are."""
        envelopes = [envelope("orders")] * (MOST + 1)

        waves = list(batch_of(envelopes, 2**30).waves())

        assert [len(wave) for wave in waves] == [MOST, 1]

    def test_are_none_where_nothing_is_to_be_sent(self) -> None:
        """A call of which all is refused sends nothing."""
        assert list(batch_of([envelope("orders", payload=b"x" * 1_000)], 1_000).waves()) == []


class TestLarge:
    """Records that are larger than they may be."""

    def test_hold_up_what_follows_of_their_key_and_nothing_else(self) -> None:
        """What came before of the key is sent, and what others have."""
        payloads = {"a": b"{}", "large": b"x" * 1_000}
        sent = [("k", "a"), ("k", "large"), ("k", "a"), ("other", "a"), ("", "large"), ("", "a")]
        envelopes = [envelope("orders", key=key, payload=payloads[what]) for key, what in sent]

        batch = batch_of(envelopes, 1_000)

        assert [place for wave in batch.waves() for place in wave] == [0, 3, 5]
        assert list(batch.unsent) == [1, 4]
        assert "orders: it has" in batch.unsent[1]
        assert "message.max.bytes" in batch.unsent[1]

    def test_do_not_keep_back_what_came_before_something_else_of_its_key(self) -> None:
        """An event that no format can say, later in the call, is no reason to keep back an earlier one."""
        unspeakable = envelope("orders", key="k", name="\ud800")
        envelopes = [envelope("orders", key="k"), unspeakable, envelope("orders", payload=b"x" * 2_000)]

        batch = batch_of(envelopes, 1_000)

        assert list(batch.records) == [0]
        assert sorted(batch.unsent) == [1, 2]


def test_a_size_is_at_least_what_all_texts_and_bytes_take() -> None:
    """In bytes, not characters; that of many is the sum of theirs."""
    one = envelope("orders", key="ü" * 50, payload=b"{}")
    record = record_of(one, WIRE, "orders")
    texts = "".join((*record.headers, *record.headers.values())).encode()

    assert record.key is not None
    assert size_of([record]) > len(texts) + len(record.key) + len(record.value)
    assert size_of([record] * 3) == 3 * size_of([record])
