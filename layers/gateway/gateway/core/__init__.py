"""What every story stands on: errors, settings, telemetry."""
