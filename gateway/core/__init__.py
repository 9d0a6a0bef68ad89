"""Pure decisions: no I/O, no clock reading."""
