"""A consumer's place in a partition, and how a committed offset says it."""

from __future__ import annotations

import pytest

from simplecqrs.brokers.kafka_places import Place, read_ahead, write_ahead
from simplecqrs.transport import Garbage

CONTENT = Garbage("whatever", b"")


def place(*offsets: int, done: int = 0) -> Place:
    """Make a place at which these offsets were read."""
    made = Place(done=done)
    made.go_to(done)
    for offset in offsets:
        made.take(offset, CONTENT)
    return made


class TestPlaces:
    """What is open, and how far it is done."""

    def test_is_done_up_to_the_first_that_is_open(self) -> None:
        """What is stored beyond it is remembered."""
        here = place(0, 1, 2, 3)

        news = here.acknowledge([1, 2])

        assert news
        assert (here.done, here.ahead, here.open()) == (0, {1, 2}, [0, 3])

    def test_passes_over_offsets_that_nobody_has(self) -> None:
        """Compaction and transactions leave holes."""
        here = place(0, 5, 9)

        here.acknowledge([0, 5])

        assert (here.done, here.open()) == (9, [9])
        assert here.acknowledge([9])
        assert here.done == 10

    def test_says_whether_there_is_news(self) -> None:
        """What is stored twice, or was done long ago, is none."""
        here = place(4, 5, done=4)
        here.acknowledge([4])

        assert not here.acknowledge([4])
        assert not here.acknowledge([1, 2])

    def test_does_not_take_what_is_beyond_its_reading_for_done(self) -> None:
        """It does not know what lies between."""
        here = place(0, 1)

        here.acknowledge([0, 1, 7])

        assert (here.done, here.ahead) == (2, {7})

    @pytest.mark.parametrize(("done", "fits"), [(0, False), (3, True), (5, True), (6, True), (7, False)])
    def test_tells_whether_the_server_is_elsewhere(self, done: int, fits: bool) -> None:
        """Before what was read, or beyond it, it has to read anew."""
        here = place(3, 4, 5, done=3)

        assert here.believe(done, set()) is fits
        assert here.done == done


class TestMetadata:
    """What is stored ahead, as text."""

    @pytest.mark.parametrize("ahead", [set(), {5}, {5, 6, 7}, {1, 3, 4, 5, 9}, {10**17}])
    def test_comes_back(self, ahead: set[int]) -> None:
        """Ranges are short."""
        assert read_ahead(write_ahead(ahead)) == ahead

    def test_leaves_out_what_does_not_fit(self) -> None:
        """Brokers take 4,096 bytes; the rest comes once more."""
        ahead = set(range(0, 10_000, 2))

        text = write_ahead(ahead)

        assert len(text) < 4096
        assert read_ahead(text) == set(sorted(ahead)[: len(read_ahead(text))])

    @pytest.mark.parametrize(
        "text", [None, "", "by hand", "stored ahead: ", "stored ahead: x", "stored ahead: 1-", "stored ahead: 1,,2"]
    )
    def test_takes_nothing_from_what_others_wrote(self, text: str | None) -> None:
        """Metadata is anybody's."""
        assert read_ahead(text) == set()

    def test_does_not_believe_in_very_many(self) -> None:
        """A range of all numbers would fill the memory."""
        assert read_ahead(f"stored ahead: 7,8-{10**17}") == {7}
