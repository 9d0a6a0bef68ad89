"""Apps, jobs and calendars of a gateway as YAML, and back: documents → plan → apply, all through the API."""
