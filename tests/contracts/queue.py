"""
What every queue has to do: the contract of ``Storage``, ``Held``, ``Inbox`` and ``Inspection``.

An adapter runs it by deriving from both classes and giving the fixtures, each time on an empty queue::

    @pytest.mark.django_db(transaction=True)
    class TestOutbox(StorageContract):
        box = "outbox"
        parallel = whole = connection.vendor != "sqlite"

        @pytest.fixture
        def storage(self) -> Storage: ...
        @pytest.fixture
        def inspection(self) -> Inspection: ...
        def transaction(self) -> AbstractContextManager[object]: return atomic()
        def leave_thread(self) -> None: connections.close_all()

    class TestInbox(InboxContract): ...  # as above, and ``inbox`` and ``outbox``

``StorageContract`` is for both boxes, ``InboxContract`` for an inbox.  Tests need real transactions (threads see what
is committed, nothing else) and no clock: what is to be due has a pause of 0, what is to wait one of an hour.
"""

from __future__ import annotations

from tests.contracts.queue_harness import make, texts
from tests.contracts.queue_holding import HoldingContract
from tests.contracts.queue_inbox import InboxContract
from tests.contracts.queue_letters import LettersContract
from tests.contracts.queue_marks import MarksContract
from tests.contracts.queue_operating import OperatingContract
from tests.contracts.queue_parking import ParkingContract
from tests.contracts.queue_pausing import PausingContract
from tests.contracts.queue_reading import ReadingContract
from tests.contracts.queue_taking import TakingContract

__all__ = ["InboxContract", "MarksContract", "PausingContract", "StorageContract", "make", "texts"]


class StorageContract(
    HoldingContract, ReadingContract, ParkingContract, TakingContract, LettersContract, OperatingContract
):
    """``Storage``, ``Held`` and ``Inspection``."""
