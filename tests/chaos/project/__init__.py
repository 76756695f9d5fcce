"""A small Django project that is killed, stopped and starved: counters, and the events of their changes."""
