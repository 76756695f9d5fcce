"""A Service Bus of a test's own: an AMQP 1.0 peer that the real client library talks to."""
