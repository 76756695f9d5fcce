"""By which broker the shop's events travel."""

import os
from typing import Any

from django.core.exceptions import ImproperlyConfigured

REDIS = os.environ.get("SHOP_REDIS_URL", "redis://127.0.0.1:6379/0")
#: By the value of SHOP_BROKER: the adapter, and where its server is unless SHOP_BROKER_URL says so.
BROKERS = {
    "redis": ("simplecqrs.brokers.redis.RedisStreams", REDIS),
    # Queues begin with their consumers: start these first.
    "rabbitmq": ("simplecqrs.brokers.rabbitmq.RabbitMQ", "amqp://guest:guest@127.0.0.1:5672/"),
    "kafka": ("simplecqrs.brokers.kafka.Kafka", "127.0.0.1:9092"),
    # What nobody listens to is lost: start the consumers first.
    "redis-pubsub": ("simplecqrs.brokers.redis_pubsub.RedisPubSub", REDIS),
    # The topic "orders" and its subscriptions "mailing" and "reports" are to be created there.
    "azure": (
        "simplecqrs.brokers.azure.AzureServiceBus",
        "Endpoint=sb://localhost;SharedAccessKeyName=shop;SharedAccessKey=of-the-emulator;UseDevelopmentEmulator=true",
    ),
}


def broker_settings(name: str) -> dict[str, Any]:
    """Return BROKERS and ROUTES of DJANGO_CQRS; the database needs none."""
    if name == "database":
        return {}
    if name not in BROKERS:
        raise ImproperlyConfigured(f"SHOP_BROKER is {name!r}; it can be database, {', '.join(BROKERS)}")
    backend, place = BROKERS[name]
    options = {"servers" if name == "kafka" else "url": os.environ.get("SHOP_BROKER_URL", place)}
    return {"BROKERS": {name: {"BACKEND": backend, "OPTIONS": options}}, "ROUTES": {"orders": [name]}}
