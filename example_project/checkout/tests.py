"""What a checkout does, to its end and back."""

import tempfile
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.core import mail
from django.test import TestCase, override_settings

from checkout import bank
from checkout.handlers import Checkout, checkout
from checkout.models import Invoice, Parcel
from django_cqrs import bus
from django_cqrs.testing import run_all
from orders.messages import CancelOrder, CheckOut, PlaceOrder
from orders.models import Order, Product
from simplecqrs.saga import Record
from stock.models import Item


class CheckoutTests(TestCase):
    """A shop that sells tea, and a bank with empty books."""

    @classmethod
    def setUpTestData(cls) -> None:
        """Fill the shelf."""
        Product.objects.create(sku="tea", name="Tea", price=Decimal("4.90"))
        Item.objects.create(sku="tea", available=100)

    def setUp(self) -> None:
        """Open the books."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        books = override_settings(BANK_FOLDER=folder.name)
        books.enable()
        self.addCleanup(books.disable)

    def order(self, quantity: int) -> int:
        """Order so much tea."""
        return bus.send(PlaceOrder("ada@example.org", "tea", quantity))

    def checked_out(self, order: int, **story: Any) -> Record:
        """Check an order out, and let everything follow."""
        saga_id = bus.send(CheckOut(order))
        run_all(**story)
        record = bus.sagas.load(saga_id)
        assert record is not None
        return record

    def test_an_order_is_charged_shipped_and_thanked_for(self) -> None:
        """Each once."""
        order = self.order(2)

        record = self.checked_out(order)

        self.assertEqual(record.status, "COMPLETED")
        self.assertEqual(Order.objects.get(pk=order).state, "paid")
        self.assertEqual(Parcel.objects.get(pk=order).state, "shipped")
        self.assertEqual(bank.booked(), [f"checkout:{record.id}:charge:act"])
        self.assertIn(f"Thank you for order {order}", [message.subject for message in mail.outbox])

    def test_who_has_no_card_for_so_much_gets_an_invoice(self) -> None:
        """The fallback of the step."""
        order = self.order(8)

        record = self.checked_out(order)

        self.assertEqual((record.status, bank.booked()), ("COMPLETED", []))
        self.assertFalse(Invoice.objects.get(pk=order).is_void)

    def test_what_does_not_fit_into_the_van_is_undone(self) -> None:
        """The place in the van, and the invoice; the order is as it was."""
        order = self.order(9)

        record = self.checked_out(order)

        self.assertEqual((record.status, Order.objects.get(pk=order).state), ("COMPENSATED", "placed"))
        self.assertEqual(Parcel.objects.get(pk=order).state, "released")
        self.assertTrue(Invoice.objects.get(pk=order).is_void)

    def test_who_cancels_meanwhile_gets_the_money_back(self) -> None:
        """The pivot finds it out, and the bank refuses a charge that comes later."""
        order = self.order(1)
        saga_id = bus.send(CheckOut(order))
        bus.send(CancelOrder(order))

        run_all()

        record = bus.sagas.load(saga_id)
        assert record is not None
        self.assertEqual((record.status, bank.booked()), ("COMPENSATED", []))
        with self.assertRaises(bank.CardRefused):
            bank.charge(f"checkout:{saga_id}:charge:act", Decimal(1))

    def test_one_order_has_one_checkout(self) -> None:
        """Whoever asks twice gets the same saga."""
        order = self.order(1)

        self.assertEqual(bus.send(CheckOut(order)), bus.send(CheckOut(order)))

    def test_the_api_says_what_has_begun(self) -> None:
        """202, and the saga's id; 409 when the order is settled."""
        path = f"/api/orders/{self.order(1)}/checkout"

        answer = self.client.post(path)
        run_all()

        self.assertEqual((answer.status_code, set(answer.json())), (202, {"saga"}))
        self.assertEqual(self.client.post(path).status_code, 409)

    def test_the_admin_shows_it_with_its_picture(self) -> None:
        """Inline, as SVG."""
        record = self.checked_out(self.order(1))
        self.client.force_login(User.objects.create_superuser("root"))

        page = self.client.get(f"/admin/django_cqrs/saga/{record.id}/change/").content.decode()

        self.assertIn("<svg", page)
        self.assertIn("COMPLETED", page)

    def test_its_state_can_be_stored(self) -> None:
        """Both ways."""
        state = Checkout(7, "ada@example.org", Decimal("4.90"))

        self.assertEqual(bus.sagas.codec.decode(Checkout, bus.sagas.codec.encode(state)), state)
        self.assertEqual(checkout.state, Checkout)
