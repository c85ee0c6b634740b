"""Runs on the nodes of a Ray cluster. Ray is imported only in separate processes, never in the engine or the screen."""
