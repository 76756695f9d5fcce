"""A project in two releases, which work on one backlog; ``RELEASE`` in the environment says which one a process is."""
