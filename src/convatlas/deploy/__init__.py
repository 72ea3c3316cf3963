"""Running networks where they are needed."""
