"""Who runs the engine: a screen's thread, a process without one, and who goes on when either is gone."""
