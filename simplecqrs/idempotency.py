"""Commands once: of two sends under one idempotency key the second gets the answer of the first."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol
from weakref import WeakKeyDictionary

from attrs import field, frozen

from simplecqrs.answers import Answers
from simplecqrs.errors import IdempotencyKeyInUse, IdempotencyKeyReused, InvalidMessage, NotConfigured
from simplecqrs.fingerprints import fingerprint
from simplecqrs.messages import LONGEST, Command, Message
from simplecqrs.pipeline import Call

if TYPE_CHECKING:
    from simplecqrs.codec.port import Codec
    from simplecqrs.vocabulary import Vocabulary

__all__ = ["LONGEST_KEY", "Claim", "Concurrent", "IdempotencyStore", "Kept", "Layer", "is_first", "once"]

#: The longest idempotency key, in characters.
LONGEST_KEY: Final = 255
#: What becomes of a command while another one of its idempotency key is at work.
Concurrent = Literal["wait", "raise"]
#: Puts something round a handler.
Layer = Callable[[Call], Call]


@frozen
class Claim:
    """
    What is written down of a command before it runs.

    Args:
        digest: the SHA-256 of its idempotency key, in hexadecimal.
        name: what the command is called.
        fingerprint: of its name and its fields, see ``fingerprint``.
    """

    digest: str
    name: str
    fingerprint: str


@frozen
class Kept:
    """What is kept of the command that had an idempotency key first; no answer yet: it is at work in this thread."""

    name: str
    fingerprint: str
    answer: bytes | None = field(default=None, repr=False)


class IdempotencyStore(Protocol):
    """
    Keeps claims and answers.  Both are written in the transaction of their command, which is open: they are committed
    with what it did, or never were.  Threads share a store.
    """

    def claim(self, command: Message, claim: Claim, /, *, wait: bool) -> Kept | None:
        """
        Write a claim down, or return what is kept under its key.

        Until the end of the transaction nobody else can claim the key.

        Args:
            wait: for another transaction that claims it at this moment, as long as the store's own limit says.

        Raises:
            IdempotencyKeyInUse: if that has not ended then.
        """
        ...

    def keep(self, command: Message, claim: Claim, answer: bytes, /) -> None:
        """Keep the answer of a command that has claimed its key in this transaction."""
        ...


def once(
    store: IdempotencyStore | None, vocabulary: Vocabulary, command: Message, key: str, concurrent: Concurrent
) -> Layer:
    """
    Return what goes round the handler of a command, inside of its transaction.

    Args:
        store: where claims and answers are kept.  None: nowhere, so that no command can have a key.
        vocabulary: names and encodes commands.

    Raises:
        InvalidMessage: if it is no command, or if the key or the command's answer cannot be stored.
        NotConfigured: if there is no store.
    """
    if concurrent not in ("wait", "raise"):
        raise NotConfigured(f"send: concurrent={concurrent!r} must be 'wait' or 'raise'")
    kept_in, claim = _found(store), _claim(vocabulary, command, key)
    answers = _answers_of(type(command), vocabulary.default_codec)

    def layer(call: Call) -> Call:
        def run(message: Message) -> Any:
            kept = kept_in.claim(command, claim, wait=concurrent == "wait")
            if kept is not None:
                return answers.decode(_answer(kept, claim))
            answer = call(message)
            kept_in.keep(command, claim, answers.encode(answer))
            return answer

        return run

    return layer


def is_first(store: IdempotencyStore | None, vocabulary: Vocabulary, command: Message, key: str) -> bool:
    """
    Claim a key for a command that is only stored now, and tell whether nobody had it; a transaction is open.

    Raises:
        InvalidMessage: if the key cannot be stored.
        IdempotencyKeyReused: if it belongs to something else.
    """
    kept_in, claim = _found(store), _claim(vocabulary, command, key, purpose="deferred ")
    kept = kept_in.claim(command, claim, wait=True)
    if kept is None:
        kept_in.keep(command, claim, b"")
        return True
    _answer(kept, claim)
    return False


def _found(store: IdempotencyStore | None) -> IdempotencyStore:
    if store is None:
        raise NotConfigured(
            "a command has an idempotency key, but the mediator keeps none; give it a store and its transactions: "
            "Mediator(idempotency=store, transaction=store.transaction), see simplecqrs.memory_idempotency"
        )
    return store


def _claim(vocabulary: Vocabulary, command: Message, key: Any, *, purpose: str = "") -> Claim:
    kind = type(command)
    name, codec = purpose + vocabulary.name(kind), vocabulary.codec(kind)
    if not issubclass(kind, Command):
        raise InvalidMessage(f"{kind.__qualname__} is no command; only what changes something has an idempotency key")
    if not isinstance(key, str) or not 0 < len(key) <= LONGEST_KEY:
        given = f"one of {len(key)}" if isinstance(key, str) else repr(key)
        raise InvalidMessage(
            f"{kind.__qualname__}: an idempotency key is a string of 1 to {LONGEST_KEY} characters, not {given}"
        )
    digest = sha256(key.encode(errors="surrogatepass")).hexdigest()
    # The name is only told, so a long one may be cut; tables have room for those of messages.
    return Claim(digest, name[:LONGEST], fingerprint(command, name, codec))


_answers: WeakKeyDictionary[type[Message], tuple[Codec, Answers]] = WeakKeyDictionary()


def _answers_of(kind: type[Message], codec: Codec) -> Answers:
    """Return what stores the answers of a class; made once, since codecs keep what they know of classes."""
    known, answers = _answers.get(kind, (None, None))
    if answers is None or known is not codec:
        answers = Answers(kind, codec)
        _answers[kind] = codec, answers
    return answers


def _answer(kept: Kept, claim: Claim) -> bytes:
    if kept.fingerprint != claim.fingerprint:
        what = "with other content" if kept.name == claim.name else f"by {kept.name}"
        raise IdempotencyKeyReused(
            f"the idempotency key of this {claim.name} was used before {what}; another command needs a key of its own"
        )
    if kept.answer is None:
        raise IdempotencyKeyInUse(f"this {claim.name} was sent by its own handler, under its own idempotency key")
    return kept.answer
