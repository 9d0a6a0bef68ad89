"""One-shot migration from an XXL-JOB database."""
