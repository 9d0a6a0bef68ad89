"""The scheduler itself."""
