"""A small shop: what is ordered is reserved, mailed about and counted."""

import os

if os.environ.get("SHOP_BACKEND") == "postgresql":  # where Celery works, each process needs the app to ring for it
    from shop.celery import app as celery_app  # noqa: F401 - as Celery's documentation says
