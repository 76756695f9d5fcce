"""What all tests share: nothing that needs Django, since the core's tests run without it."""
