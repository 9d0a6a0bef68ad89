"""What an import would do: pure, from what was read and what the target holds."""
