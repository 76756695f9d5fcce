"""Azure Service Bus as a broker: the real client library, and a peer on loopback that speaks its protocol."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

azure = pytest.importorskip("azure.servicebus", reason="it is not installed: pip install 'simplecqrs[azure]'")

from azure.servicebus.amqp import AmqpAnnotatedMessage  # noqa: E402

from simplecqrs.brokers.azure import AzureServiceBus  # noqa: E402
from simplecqrs.envelope import Envelope  # noqa: E402
from simplecqrs.errors import BrokerDown, MissingExtra, NotConfigured  # noqa: E402
from simplecqrs.transport import ACCEPTED, Garbage  # noqa: E402
from tests.contracts.broker import DEADLINE, BrokerContract, drain, envelope, statuses  # noqa: E402
from tests.service_bus.child import Child, service_bus_process  # noqa: E402
from tests.service_bus.fixtures import broker, hurry, peer, shared  # noqa: E402
from tests.service_bus.peer import Peer, connection_string  # noqa: E402

__all__ = ["broker", "hurry", "peer", "shared"]

pytestmark = [
    pytest.mark.services,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # see ``hurry``
]


class TestContract(BrokerContract):
    """It does what every adapter does."""

    @pytest.fixture
    def topic(self) -> str:
        return "orders"

    @pytest.fixture
    def broker(self, broker: AzureServiceBus) -> AzureServiceBus:
        return broker

    @pytest.fixture
    def reopen(self, peer: Peer, shared: AzureServiceBus) -> Iterator[Callable[[], AzureServiceBus]]:
        opened: list[AzureServiceBus] = []

        def reopen() -> AzureServiceBus:
            peer.forsake()  # what a dead fetcher has locked is free after a while
            opened.append(AzureServiceBus(peer.url))
            return opened[-1]

        yield reopen
        for one in opened:
            one.close()
        shared._links.drop("orders/Subscriptions/mailing")

    @pytest.fixture
    def unacceptable(self) -> Callable[[str, str], Envelope]:
        return lambda topic, key: envelope(topic, key=key, payload=b"x" * 2**20)

    @pytest.fixture
    def litter(self, peer: Peer) -> Callable[[str], None]:
        def litter(topic: str) -> None:
            client = azure.ServiceBusClient.from_connection_string(peer.url)
            with client.get_topic_sender(topic, keep_alive=0) as sender:
                sender.send_messages(azure.ServiceBusMessage(b"hello"))

        return litter


def raw(peer: Peer, count: int = 10) -> list[Any]:
    """Receive by the client library itself."""
    client = azure.ServiceBusClient.from_connection_string(peer.url)
    with client.get_subscription_receiver("orders", "billing", keep_alive=0, prefetch_count=count) as receiver:
        received: list[Any] = receiver.receive_messages(count, max_wait_time=0.1)
        return received


class TestWire:
    """What others see of our messages."""

    def test_tells_the_broker_id_key_and_content_type(self, broker: AzureServiceBus, peer: Peer) -> None:
        """The id is the event's, so that duplicates can be detected; the key is session and partition key."""
        sent = envelope("orders", key="7", correlation_id="c", headers={"user": "Zo\u00eb"})

        broker.publish([sent], deadline=DEADLINE)

        (message,) = raw(peer)
        assert (message.message_id, message.session_id, message.subject) == (str(sent.id), "7", "OrderPlaced")
        assert message.content_type == "application/json"
        assert message.application_properties[b"cloudEvents:type"] == b"OrderPlaced"
        assert b"".join(message.body) == b"{}"

    def test_keeps_the_order_of_keys_that_are_too_long_for_a_session(self, broker: AzureServiceBus, peer: Peer) -> None:
        """Their digest is the session; the key itself arrives."""
        sent = envelope("orders", key="k" * 200)

        broker.publish([sent], deadline=DEADLINE)

        (message,) = raw(peer)
        assert len(message.session_id or "") == 64
        assert drain(broker.feeds("mailing", ["orders"])[0]) == [sent]

    def test_is_sent_once_where_the_topic_detects_duplicates(self, broker: AzureServiceBus, peer: Peer) -> None:
        """What may have been stored is sent again, and dropped there."""
        peer.store.create("careful", "mailing", duplicates=True)
        sent = [envelope("careful"), envelope("careful")]

        for _ in range(2):
            assert list(broker.publish(sent, deadline=DEADLINE)) == [ACCEPTED, ACCEPTED]

        assert drain(broker.feeds("mailing", ["careful"])[0]) == sent

    def test_sends_a_batch_as_one_transfer(self, broker: AzureServiceBus, peer: Peer) -> None:
        """Five hundred envelopes are one round trip; what does not fit goes into another."""
        transfers = peer.store.topics["orders"].transfers
        transfers.clear()

        broker.publish([envelope("orders", key=str(n)) for n in range(500)], deadline=DEADLINE)
        broker.publish([envelope("orders", payload=b"x" * 400_000) for _ in range(3)], deadline=DEADLINE)

        assert transfers == {500: 1, 2: 1, 1: 1}

    def test_reads_a_format_of_its_own_choice(self, broker: AzureServiceBus, peer: Peer) -> None:
        """All in one JSON document, for instance."""
        structured = AzureServiceBus(peer.url, format="cloudevents-structured")
        sent = envelope("orders", key="7")
        structured.publish([sent], deadline=DEADLINE)
        structured.close()

        assert drain(broker.feeds("mailing", ["orders"])[0]) == [sent]

    def test_reads_what_is_no_text_nor_bytes_as_garbage(self, broker: AzureServiceBus, peer: Peer) -> None:
        """A body of another kind is kept as it is shown."""
        client = azure.ServiceBusClient.from_connection_string(peer.url)
        with client.get_topic_sender("orders", keep_alive=0) as sender:
            sender.send_messages(AmqpAnnotatedMessage(value_body={"a": [1]}))

        ((garbage,),) = map(drain, broker.feeds("mailing", ["orders"]))

        assert isinstance(garbage, Garbage)
        assert b"a" in garbage.payload


class TestRefusals:
    """What is wrong with one event, with one topic, and with everything."""

    def test_refuses_what_is_too_large_before_it_is_sent(self, broker: AzureServiceBus, peer: Peer) -> None:
        """So it costs nobody the connection."""
        broker.publish([envelope("orders")], deadline=DEADLINE)
        before = peer.connections
        sent = [envelope("orders", key="a"), envelope("orders", key="b", payload=b"x" * 2**20), envelope("orders")]

        receipts = broker.publish(sent, deadline=DEADLINE)

        assert statuses(receipts) == ["accepted", "refused", "accepted"]
        assert "batch" in receipts[1].reason
        assert peer.connections == before

    def test_finds_the_one_that_a_batch_is_rejected_for(self, broker: AzureServiceBus, peer: Peer) -> None:
        """A batch is stored as a whole or not at all, so each is sent by itself, and the order of keys is kept."""
        sent = [envelope("orders", key=key) for key in "abcb"]
        peer.rejects = [b"com.microsoft:argument-error", None, b"com.microsoft:argument-error"]

        receipts = broker.publish(sent, deadline=DEADLINE)

        assert statuses(receipts) == ["accepted", "refused", "accepted", "unknown"]
        assert drain(broker.feeds("mailing", ["orders"])[0]) == [sent[0], sent[2]]

    def test_names_the_topic_that_is_to_be_created(self, broker: AzureServiceBus) -> None:
        """Only what goes there is refused."""
        receipts = broker.publish([envelope("nowhere", key="a"), envelope("orders", key="a")], deadline=DEADLINE)

        assert statuses(receipts) == ["refused", "accepted"]
        assert "topic nowhere: create it" in receipts[0].reason

    def test_names_the_subscription_that_is_to_be_created(self, broker: AzureServiceBus) -> None:
        """The operator creates them, and may do so while it is tried again."""
        with pytest.raises(BrokerDown, match="no subscription shipping of the topic orders: create it"):
            broker.feeds("shipping", ["orders"])

    def test_does_not_blame_events_for_a_right_that_is_missing(self, broker: AzureServiceBus, peer: Peer) -> None:
        """They wait, while other topics go on; if there are no others, the broker is down."""
        peer.store.create("secret", "mailing")
        peer.forbidden.add("secret")

        receipts = broker.publish([envelope("secret"), envelope("orders")], deadline=DEADLINE)

        assert statuses(receipts) == ["unknown", "accepted"]
        with pytest.raises(BrokerDown, match=r"topic secret.*'Send' is required"):
            broker.publish([envelope("secret")], deadline=DEADLINE)

    def test_is_down_while_the_service_is_busy(self, broker: AzureServiceBus, peer: Peer) -> None:
        """It says nothing about the event, which is accepted later."""
        peer.rejects = [b"com.microsoft:server-busy"]
        with pytest.raises(BrokerDown):
            broker.publish([envelope("orders")], deadline=DEADLINE)

        assert list(broker.publish([envelope("orders")], deadline=DEADLINE)) == [ACCEPTED]

    def test_is_down_when_its_key_is_not_taken_any_more(self, broker: AzureServiceBus, peer: Peer) -> None:
        """Its ping says so too: else events would be held to be bad."""
        stranger = AzureServiceBus(connection_string(peer.port, "expired"))

        for call in (
            lambda: stranger.publish([envelope("orders")], deadline=DEADLINE),
            lambda: stranger.ping(deadline=1),
        ):
            with pytest.raises(BrokerDown):
                call()


class TestNetwork:
    """Connections that end, hang, or cannot be made."""

    def test_keeps_its_connection(self, broker: AzureServiceBus, peer: Peer) -> None:
        """Not one for each message, nor for each batch."""
        broker.publish([envelope("orders")], deadline=DEADLINE)
        before = peer.connections

        for _ in range(5):
            broker.publish([envelope("orders")], deadline=DEADLINE)

        assert peer.connections == before

    def test_opens_nothing_before_it_is_used(self, peer: Peer) -> None:
        """Constructing it makes no connection."""
        before = peer.connections

        AzureServiceBus(peer.url)

        assert peer.connections == before

    def test_connects_anew_after_a_long_silence(
        self, broker: AzureServiceBus, peer: Peer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Service Bus ends connections on which nothing was said for minutes; that is not waited for."""
        broker.publish([envelope("orders")], deadline=DEADLINE)
        before = peer.connections
        monkeypatch.setattr("simplecqrs.brokers.azure_links.IDLE", 0)

        receipts = broker.publish([envelope("orders")], deadline=DEADLINE)

        assert list(receipts) == [ACCEPTED]
        assert peer.connections > before

    def test_connects_again_when_the_connection_has_ended(self, broker: AzureServiceBus, peer: Peer) -> None:
        """One call may fail by it, with nothing known of its events; the next one works."""
        broker.publish([envelope("orders")], deadline=DEADLINE)
        peer.drop()
        with pytest.raises(BrokerDown):
            broker.publish([envelope("orders")], deadline=DEADLINE)

        assert list(broker.publish([envelope("orders")], deadline=DEADLINE)) == [ACCEPTED]

    def test_is_down_while_connections_are_refused(self, broker: AzureServiceBus, peer: Peer) -> None:
        """It says so at once, each time."""
        broker.publish([envelope("orders")], deadline=DEADLINE)
        peer.refuses = True
        peer.drop()
        for _ in range(3):
            with pytest.raises(BrokerDown, match=r"127\.0\.0\.1"):
                broker.publish([envelope("orders")], deadline=DEADLINE)
        peer.refuses = False

        assert list(broker.publish([envelope("orders")], deadline=DEADLINE)) == [ACCEPTED]

    def test_is_unknown_when_no_answer_comes(self, broker: AzureServiceBus, peer: Peer) -> None:
        """A lost answer is a broker that is down, within the deadline; what was not sent is not known either."""
        peer.rejects = [b""]
        began = time.monotonic()

        with pytest.raises(BrokerDown):
            broker.publish([envelope("orders")], deadline=0.3)

        assert 0.25 < time.monotonic() - began < 3

    def test_keeps_the_deadline_when_the_server_hangs(self, stopping: Child) -> None:
        """On an open connection and on a new one; and all goes on when it goes on."""
        broker = AzureServiceBus(stopping.url)
        broker.publish([envelope("orders")], deadline=DEADLINE)
        stopping.pause()
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(BrokerDown):
                broker.publish([envelope("orders")], deadline=0.4)
            assert time.monotonic() - began < 3
        stopping.resume()

        assert list(broker.publish([envelope("orders")], deadline=DEADLINE)) == [ACCEPTED]
        broker.close()

    def test_says_that_nobody_answers_a_ping(self, stopping: Child) -> None:
        """A stopped server takes connections, but that is no answer."""
        broker = AzureServiceBus(stopping.url)
        stopping.pause()

        with pytest.raises(BrokerDown, match="no connection within"):
            broker.ping(deadline=0.3)
        stopping.resume()
        broker.ping(deadline=DEADLINE)

    def test_keeps_parent_and_child_apart_after_a_fork(self, broker: AzureServiceBus, peer: Peer) -> None:
        """Both publish at the same time with one object, each on connections of its own."""
        broker.publish([envelope("orders")], deadline=DEADLINE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks while there are threads
            child = os.fork()
        if child == 0:
            os._exit(_published(broker, 20) != 20)

        assert _published(broker, 20) == 20
        assert os.waitpid(child, 0)[1] == 0
        assert len(drain(broker.feeds("mailing", ["orders"])[0])) == 41


@pytest.fixture
def stopping() -> Iterator[Child]:
    with service_bus_process() as child:
        child.tell("create", "orders", "mailing")
        yield child


def _published(broker: AzureServiceBus, times: int) -> int:
    """Publish as often and return how many were accepted; raise nothing, as a forked child must not."""
    try:
        return sum(broker.publish([envelope("orders")], deadline=DEADLINE) == [ACCEPTED] for _ in range(times))
    except BrokerDown:
        return -1


class TestSecrets:
    """A key stands in a connection string, and nowhere else."""

    def test_shows_no_key(self, broker: AzureServiceBus, peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
        """Neither in its repr, nor in an error, nor in a log line, at whatever level."""
        stranger = AzureServiceBus(connection_string(peer.port, "0p3n/s3same+=="))

        with caplog.at_level(logging.DEBUG), pytest.raises(BrokerDown) as caught:
            stranger.publish([envelope("orders")], deadline=DEADLINE)

        chain = [caught.value, caught.value.__cause__, caught.value.__context__]
        assert "s3same" not in f"{stranger!r} {chain} {caplog.text}"
        assert f"127.0.0.1:{peer.port}" in repr(stranger)

    @pytest.mark.parametrize(
        "url", ["Endpoint=sb://x;SharedAccessKey=s3same", "s3same", "sb://name.servicebus.windows.net"]
    )
    def test_shows_no_key_of_a_url_that_cannot_be_read(self, url: str) -> None:
        """The error tells the cure only."""
        with pytest.raises(NotConfigured, match="give a connection string") as caught:
            AzureServiceBus(url)

        assert "s3same" not in str(caught.value)
        assert caught.value.__cause__ is None


class TestImport:
    """The client library is optional."""

    def test_imports_the_library_only_when_it_is_used(self) -> None:
        """Importing the adapter imports none."""
        program = "import sys, simplecqrs.brokers.azure; sys.exit('azure.servicebus' in sys.modules)"

        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

    def test_names_the_extra_when_the_library_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Constructing the adapter fails, and says what to install."""
        monkeypatch.setitem(sys.modules, "azure.servicebus", None)

        with pytest.raises(MissingExtra, match=r"simplecqrs\[azure\]"):
            AzureServiceBus("Endpoint=sb://x;SharedAccessKeyName=a;SharedAccessKey=b")
