"""Adapters to brokers, one module each; a module imports its client library when it is used."""
