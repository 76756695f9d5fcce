"""What the shop does, from a request to its last effect."""

import tempfile
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

from django.core import mail
from django.core.management import CommandError, call_command
from django.test import TestCase

from django_cqrs import bus
from django_cqrs.testing import published, run_all
from orders.errors import AlreadySettled, OutOfStock
from orders.handlers import recent_orders
from orders.messages import CancelOrder, OrderPlaced, PayOrder, PlaceOrder, RecentOrders
from orders.models import Order, Product
from reports.models import Day, OrderHistory, StateCount
from stock.models import Item

TEA = {"email": "ada@example.org", "product": "tea", "quantity": 2}


class ShopTestCase(TestCase):
    """A shop that sells tea, and has ten of it."""

    @classmethod
    def setUpTestData(cls) -> None:
        """Fill the shelf."""
        Product.objects.create(sku="tea", name="Tea", price=Decimal("4.90"))
        Item.objects.create(sku="tea", available=10)


class CommandTests(ShopTestCase):
    """What the commands do, and what they say."""

    def test_an_order_reserves_its_items_and_says_so(self) -> None:
        """Order, stock and event belong to one transaction."""
        order = bus.send(PlaceOrder("ada@example.org", "tea", 3))

        self.assertEqual(Order.objects.get(pk=order).total, Decimal("14.70"))
        self.assertEqual(Item.objects.get(pk="tea").available, 7)
        self.assertEqual([event.order_id for event in published(OrderPlaced)], [order])

    def test_nothing_happens_when_the_stock_refuses(self) -> None:
        """What an event handler in the process raises fails the command, and takes back what it wrote."""
        with self.assertRaises(OutOfStock):
            bus.send(PlaceOrder("ada@example.org", "tea", 11))

        self.assertFalse(Order.objects.exists())
        self.assertEqual(published(), [])

    def test_what_was_cancelled_can_be_ordered_again(self) -> None:
        """The stock hears of a cancelled order."""
        bus.send(CancelOrder(bus.send(PlaceOrder("ada@example.org", "tea", 10))))

        self.assertEqual(Item.objects.get(pk="tea").available, 10)

    def test_an_order_is_settled_once(self) -> None:
        """What is paid can be neither paid nor cancelled."""
        order = bus.send(PlaceOrder("ada@example.org", "tea", 1))
        bus.send(PayOrder(order))

        for command in (PayOrder(order), CancelOrder(order)):
            with self.assertRaises(AlreadySettled):
                bus.send(command)

    def test_a_handler_is_a_function_that_can_be_called(self) -> None:
        """Neither a bus nor a mock is needed."""
        order = bus.send(PlaceOrder("ada@example.org", "tea", 1))

        self.assertEqual([line.id for line in recent_orders(RecentOrders())], [order])


class StoryTests(ShopTestCase):
    """What follows from events, later and elsewhere."""

    def test_reports_and_mails_follow(self) -> None:
        """Each order is counted, and each step is mailed about, once."""
        paid, cancelled, placed = (bus.send(PlaceOrder("ada@example.org", "tea", 1)) for _ in range(3))
        bus.send(PayOrder(paid))
        bus.send(CancelOrder(cancelled))
        self.assertFalse(Day.objects.exists())

        run_all()

        day = Day.objects.get()
        self.assertEqual((day.orders, day.paid, day.turnover), (3, 1, Decimal("4.90")))
        states = dict(StateCount.objects.values_list("state", "orders"))
        self.assertEqual(states, {"placed": 1, "paid": 1, "cancelled": 1})
        self.assertEqual(OrderHistory.objects.get(pk=placed).state, "placed")
        self.assertEqual(len({message.extra_headers["Message-ID"] for message in mail.outbox}), 5)


class ApiTests(ShopTestCase):
    """The JSON API."""

    def post(self, path: str, data: Any = None) -> Any:
        """Post JSON to the API."""
        return self.client.post(f"/api/orders/{path}", data, content_type="application/json")

    def test_an_order_is_created(self) -> None:
        """201, and the order's id."""
        answer = self.post("", TEA)

        self.assertEqual((answer.status_code, answer.json()), (201, {"id": Order.objects.get().pk}))
        (line,) = self.client.get("/api/orders/").json()["orders"]
        self.assertEqual((line["product"], line["total"], line["state"]), ("Tea", "9.80", "placed"))

    def test_everything_that_is_wrong_is_named(self) -> None:
        """400, with each field."""
        answer = self.post("", {"email": "ada", "product": 7, "quantity": 0})

        self.assertEqual(answer.status_code, 400)
        self.assertEqual(set(answer.json()["fields"]), {"email", "product", "quantity"})

    def test_a_product_that_does_not_exist_is_a_wrong_field(self) -> None:
        """400 again, though only the database could tell."""
        answer = self.post("", {**TEA, "product": "tae"})

        self.assertEqual((answer.status_code, set(answer.json()["fields"])), (400, {"product"}))

    def test_what_is_no_json_is_refused(self) -> None:
        """400 for a body that cannot be read, and for one that is no object."""
        for body in ("{", "[]", ""):
            self.assertEqual(self.post("", body).status_code, 400, body)

    def test_an_unknown_order_is_not_found(self) -> None:
        """404 for both."""
        self.assertEqual([self.post(f"77/{verb}").status_code for verb in ("pay", "cancel")], [404, 404])

    def test_what_cannot_be_done_now_is_a_conflict(self) -> None:
        """409 for what is out of stock, and for what was paid before."""
        order = self.post("", TEA).json()["id"]
        answers = [self.post(f"{order}/pay"), self.post(f"{order}/pay"), self.post("", {**TEA, "quantity": 9})]

        self.assertEqual([answer.status_code for answer in answers], [200, 409, 409])
        self.assertIn("paid already", answers[1].json()["error"])


class PageTests(ShopTestCase):
    """The page for people."""

    def test_an_order_can_be_placed_and_paid(self) -> None:
        """The form and the button do what the API does."""
        self.client.post("/orders/", TEA)
        self.client.post(f"/orders/{Order.objects.get().pk}/pay")
        run_all()

        page = self.client.get("/").content.decode()
        self.assertEqual(Order.objects.get().state, "paid")
        self.assertInHTML("<td>ada@example.org</td>", page)
        self.assertInHTML('<tr><td>paid</td><td class="number">1</td></tr>', page)

    def test_the_page_says_what_is_wrong(self) -> None:
        """A wrong field, and a stock that is empty."""
        wrong = self.client.post("/orders/", {**TEA, "email": "ada"})
        empty = self.client.post("/orders/", {**TEA, "quantity": 11})

        self.assertContains(wrong, "Enter a valid email address", status_code=400)
        self.assertContains(empty, "fewer than 11 of tea are left", status_code=409)


class ImportTests(ShopTestCase):
    """``manage.py import_orders``."""

    def run_import(self, text: str) -> tuple[str, str, CommandError | None]:
        """Import a file of this text; return what was said, and the error at the end."""
        out, err = StringIO(), StringIO()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "orders.csv"
            file.write_text("email,product,quantity\n" + text)
            try:
                call_command("import_orders", file, stdout=out, stderr=err)
            except CommandError as error:
                return out.getvalue(), err.getvalue(), error
        return out.getvalue(), err.getvalue(), None

    def test_each_line_becomes_an_order(self) -> None:
        """No line refused: no error."""
        out, err, error = self.run_import("ada@example.org,tea,1\nbob@example.org,tea,2\n")

        self.assertEqual((Order.objects.count(), err, error), (2, "", None))
        self.assertIn("2 orders placed, 0 lines refused", out)

    def test_bad_lines_are_named_and_counted(self) -> None:
        """The good ones are imported all the same."""
        out, err, error = self.run_import("ada,tea,x\nbob@example.org,tea,2\nbob@example.org,tea,99\nbob,tea\n")

        self.assertEqual(Order.objects.count(), 1)
        self.assertIn("line 2: quantity: int expected, not str; email:", err)
        self.assertIn("line 4: fewer than 99 of tea are left", err)
        self.assertIn("1 orders placed, 3 lines refused", out)
        self.assertEqual(getattr(error, "returncode", 0), 1)

    def test_a_file_that_is_not_there_is_told(self) -> None:
        """No traceback."""
        with self.assertRaisesMessage(CommandError, "cannot be read"):
            call_command("import_orders", "/nowhere.csv")
