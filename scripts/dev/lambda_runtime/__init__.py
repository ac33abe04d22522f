"""The local stack's Lambda: workers, the web adapter, queues and schedules."""
