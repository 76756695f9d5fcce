"""The acceptance rows of pictures: 87 and 88.  That Mermaid understands them is in tests/browser."""

from __future__ import annotations

from simplecqrs import Registry
from simplecqrs.mermaid import chain_classes, chain_sequence, saga_classes, saga_flow, saga_sequence
from tests.simplecqrs.pictured import Pay, checkout, payment


def test_row_87_sagas_are_drawn_with_their_real_names_and_every_failure() -> None:
    """As sequence, as flowchart and as classes; fallbacks, events, breakers and types included."""
    saga = checkout(Registry())
    sequence, classes = saga_sequence(saga), saga_classes(saga)

    for name in ("checkout", *saga.by_name):
        assert f'["{name}"]' in classes
        assert f" as {name}" in sequence
        assert f"else {name} fails" in sequence or name == "checkout"
    assert " as charge (fallback)\n" in sequence
    assert 'class c2["Checkout"]\n    <<state>> c2\n    c2 : order_id#58; int\n' in classes
    assert "fallback#58; charge_later" in classes
    assert '["Paid"]\n    <<event>>' in classes
    assert "else" not in saga_sequence(saga, failing=())
    assert saga_flow(saga, failing=["ship"]).count('"fails"') == 2  # of ship, and the one that leads to the fallback


def test_row_88_chains_are_drawn_with_their_real_names_and_types() -> None:
    """As sequence and as classes; the default, fallbacks, message, answer and dependencies included."""
    sequence, classes = chain_sequence(payment, Pay), chain_classes(payment, Pay)

    for name in ("by_voucher", "ByCard", "by_paper", "by_bank"):
        assert f" as {name}\n" in sequence
        assert f'["{name}"]' in classes
    assert sequence.count("says NOT_MINE") == 4
    assert "option ConnectionError" in sequence
    assert "the chain answers by its default#44; NOT_MINE" in sequence
    assert 'class c11["Receipt"]' in classes or '["Receipt"]\n    <<answer>>' in classes
    assert '["Pay"]\n    <<command>>' in classes
    assert "handle(Pay) Receipt #124; NotMine" in classes
    assert "NoneType" not in classes
    assert '["Bank"]\n    <<dependency>>' in classes
