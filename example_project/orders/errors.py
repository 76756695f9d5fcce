"""Why an order is refused."""


class OrderRefused(Exception):
    """Raised when the state of things does not allow a command."""


class OutOfStock(OrderRefused):
    """Raised when there is not enough left."""


class AlreadySettled(OrderRefused):
    """Raised when an order was paid or cancelled before."""
