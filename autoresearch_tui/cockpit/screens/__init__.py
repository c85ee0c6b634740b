"""Whole screens and modal ones."""
