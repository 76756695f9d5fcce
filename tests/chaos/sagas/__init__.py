"""Sagas under fire: every shape of them, a bank outside of the database, and workers that die."""
