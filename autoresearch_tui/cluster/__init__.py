"""Runs on the nodes of a Ray cluster. Ray is imported in processes apart, never in the engine's or the screen's."""
