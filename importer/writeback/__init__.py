"""The way back: apps and jobs of a gateway into an xxl-job database of 2.3 to 3.4, and a list of what has no place there."""
