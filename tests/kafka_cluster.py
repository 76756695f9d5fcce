"""A Kafka cluster of a test's own: librdkafka's mock, in a process that can be told to fail."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

__all__ = ["APIS", "ERRORS", "KafkaCluster", "kafka_cluster"]

#: Requests that can be made to fail, by their numbers in Kafka's protocol.
APIS: Final = {
    "Produce": 0,
    "Fetch": 1,
    "ListOffsets": 2,
    "Metadata": 3,
    "OffsetCommit": 8,
    "OffsetFetch": 9,
    "FindCoordinator": 10,
    "InitProducerId": 22,
}
#: What a broker may answer, and the breaking of the connection in its place.
ERRORS: Final = {
    "_TRANSPORT": -195,
    "OFFSET_OUT_OF_RANGE": 1,
    "UNKNOWN_TOPIC_OR_PART": 3,
    "LEADER_NOT_AVAILABLE": 5,
    "NOT_LEADER_FOR_PARTITION": 6,
    "REQUEST_TIMED_OUT": 7,
    "MSG_SIZE_TOO_LARGE": 10,
    "COORDINATOR_LOAD_IN_PROGRESS": 14,
    "COORDINATOR_NOT_AVAILABLE": 15,
    "NOT_COORDINATOR": 16,
    "NOT_ENOUGH_REPLICAS": 19,
    "UNKNOWN_MEMBER_ID": 25,
    "TOPIC_AUTHORIZATION_FAILED": 29,
    "GROUP_AUTHORIZATION_FAILED": 30,
    "INVALID_RECORD": 87,
}


class KafkaCluster:
    """
    Command a cluster.  Its data is in memory; a partition keeps 5 MiB or 100,000 messages, whichever is less.

    Broker ids begin with 1.  A topic that nobody created is made when somebody writes to it, with 4 partitions.
    """

    def __init__(self, process: subprocess.Popen[str], servers: str) -> None:
        self.process = process
        self.servers = servers

    def create(self, topic: str, partitions: int = 1) -> None:
        """Create a topic."""
        self._tell("create", topic, partitions)

    def down(self, *brokers: int) -> None:
        """Close the connections and the port of brokers; of all, if none is named."""
        self._tell("down", *brokers)

    def up(self, *brokers: int) -> None:
        """Let brokers be connected to again."""
        self._tell("up", *brokers)

    def fail(self, api: str, *codes: str) -> None:
        """Answer the next requests of this kind by these errors, one each; names as in ``APIS`` and ``ERRORS``."""
        self._tell("fail", APIS[api], *(ERRORS[code] for code in codes))

    def fail_no_more(self, api: str) -> None:
        """Forget errors that were not used."""
        self._tell("fail_no_more", APIS[api])

    def fail_topic(self, topic: str, code: str) -> None:
        """Answer whoever asks for a topic by an error."""
        self._tell("fail_topic", topic, ERRORS[code])

    def rtt(self, milliseconds: int, *brokers: int) -> None:
        """Delay every answer of brokers; of all, if none is named."""
        self._tell("rtt", milliseconds, *brokers)

    def lead(self, topic: str, partition: int, broker: int) -> None:
        """Make a broker the leader of a partition."""
        self._tell("lead", topic, partition, broker)

    def coordinate(self, group: str, broker: int) -> None:
        """Make a broker the coordinator of a consumer group."""
        self._tell("coordinate", group, broker)

    def pause(self) -> None:
        """Stop the process in its tracks: connections stay open, and nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)  # returns when it has stopped

    def resume(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop it as long as the context lasts."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def _tell(self, *command: object) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(command), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline().strip()
        if answer != "done":
            raise RuntimeError(f"{command}: {answer or 'the cluster has ended'}")


@contextmanager
def kafka_cluster(brokers: int = 3, *, largest: int = 100_000_000) -> Iterator[KafkaCluster]:
    """
    Run a cluster as long as the context lasts; it ends with this process, however that ends.

    Args:
        largest: bytes of a request; on a larger one brokers close the connection.
    """
    command = [sys.executable, __file__, str(brokers), str(largest)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            servers = process.stdout.readline().strip()
            if not servers:
                raise RuntimeError("the mock cluster of Kafka's client library does not start")
            yield KafkaCluster(process, servers)
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


class _Mock:
    """The mock cluster inside of this process, by the C functions that the Python library does not show."""

    def __init__(self, brokers: int, largest: int) -> None:
        self._library = library = ctypes.CDLL(str(_find_library()))
        for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
            getattr(library, name).restype = ctypes.c_void_p
        library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        conf = ctypes.c_void_p(library.rd_kafka_conf_new())
        why = ctypes.create_string_buffer(512)
        settings = {"log_level": 0, "fetch.max.bytes": largest - 512, "receive.message.max.bytes": largest}
        for name, value in settings.items():
            library.rd_kafka_conf_set(conf, name.encode(), str(value).encode(), why, ctypes.c_size_t(len(why)))
        producer = library.rd_kafka_new(0, conf, why, ctypes.c_size_t(len(why)))
        if not producer:
            raise RuntimeError(why.value.decode())
        self._cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(ctypes.c_void_p(producer), brokers))
        self._brokers = range(1, brokers + 1)
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)

    @property
    def servers(self) -> str:
        answer: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return answer.decode()

    def create(self, topic: str, partitions: int) -> None:
        self._call("topic_create", topic.encode(), partitions, len(self._brokers))

    def down(self, *brokers: int) -> None:
        for broker in brokers or self._brokers:
            self._call("broker_set_down", broker)

    def up(self, *brokers: int) -> None:
        for broker in brokers or self._brokers:
            self._call("broker_set_up", broker)

    def fail(self, api: int, *codes: int) -> None:
        array = (ctypes.c_int * len(codes))(*codes)
        self._call("push_request_errors_array", ctypes.c_int16(api), ctypes.c_size_t(len(codes)), array)

    def fail_no_more(self, api: int) -> None:
        self._call("clear_request_errors", ctypes.c_int16(api))

    def fail_topic(self, topic: str, code: int) -> None:
        self._call("topic_set_error", topic.encode(), code)

    def rtt(self, milliseconds: int, *brokers: int) -> None:
        for broker in brokers or self._brokers:
            self._call("broker_set_rtt", broker, milliseconds)

    def lead(self, topic: str, partition: int, broker: int) -> None:
        self._call("partition_set_leader", topic.encode(), partition, broker)

    def coordinate(self, group: str, broker: int) -> None:
        self._call("coordinator_set", b"group", group.encode(), broker)

    def _call(self, name: str, *arguments: Any) -> None:
        function = getattr(self._library, f"rd_kafka_mock_{name}")
        if name in _NOTHING:
            function.restype = None
        if code := function(self._cluster, *arguments):
            raise RuntimeError(f"{name}: error {code}")


#: Functions that return nothing.
_NOTHING: Final = {"push_request_errors_array", "clear_request_errors", "topic_set_error"}


def _find_library() -> Path:
    """Return the C library that came in the wheel of the Python library; its file's name has a hash."""
    spec = find_spec("confluent_kafka")
    if spec is None or spec.origin is None:
        raise RuntimeError("confluent-kafka is not installed")
    folder = Path(spec.origin).parents[1] / "confluent_kafka.libs"
    return next(folder.glob("librdkafka-*.so*"))


def _serve(brokers: int, largest: int) -> None:
    mock = _Mock(brokers, largest)
    print(mock.servers, flush=True)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            getattr(mock, name)(*arguments)
            print("done", flush=True)
        except Exception as error:  # noqa: BLE001 - whatever it was, the test is to hear of it
            print(f"{type(error).__name__}: {error}", flush=True)


if __name__ == "__main__":
    _serve(*map(int, sys.argv[1:]))
