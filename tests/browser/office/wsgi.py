"""What gunicorn serves: the office, its tables made."""

from __future__ import annotations

from django.core.management import call_command
from django.core.wsgi import get_wsgi_application

__all__ = ["application"]

application = get_wsgi_application()
call_command("migrate", run_syncdb=True, verbosity=0)
