"""What nodes say to each other: a listener of each node's own, and calls to those of the others."""
