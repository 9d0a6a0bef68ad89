"""One module a stage, each moving a run one step."""
