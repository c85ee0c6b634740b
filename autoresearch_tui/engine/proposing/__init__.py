"""From the state to a researcher's brief, and from its answer to an attempt that may wait for a run."""
