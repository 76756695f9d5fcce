"""Customers get a mail about each step; later, so that a slow mail server keeps nobody waiting."""

from django.core.mail import EmailMessage

from orders.messages import OrderCancelled, OrderPaid, OrderPlaced
from simplecqrs import current, handles

SUBJECTS = {
    OrderPlaced: "We have your order {}",
    OrderPaid: "Thank you for paying order {}",
    OrderCancelled: "Your order {} is cancelled",
}


@handles(OrderPlaced, OrderPaid, OrderCancelled, consumer="mailing")
def send_mail(event: OrderPlaced | OrderPaid | OrderCancelled) -> None:
    """
    Send the mail of an event.

    A mail cannot be taken back by a rollback: if the process dies before its commit, it is sent again.  Therefore it
    bears the event's id, by which whoever receives it knows the second one.
    """
    message_id = current().id
    EmailMessage(
        subject=SUBJECTS[type(event)].format(event.order_id),
        body=f"Dear customer,\n\nthis is about your order {event.order_id}.\n",
        to=[event.email],
        headers={"Message-ID": f"<{message_id}@shop.example>"},
    ).send()
