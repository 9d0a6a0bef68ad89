"""Moves an XXL-JOB installation here, compares it with this scheduler, and back."""
