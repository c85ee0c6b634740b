"""What others wrote, in whatever form: logs and tables become lines and numbers here."""
