"""Reads an xxl-job database: which shape it has, and what stands in it."""
