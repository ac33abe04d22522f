"""Lambda as the local stack has it: workers, the web adapter, queues and schedules."""
