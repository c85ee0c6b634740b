"""Researchers: a brief in, a proposal out. They use neither git nor the screen."""
