"""The XXL-JOB world: executor dialects in and out, and nothing else."""
