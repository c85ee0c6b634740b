"""The loop without a screen: it appends events to a journal and knows nothing of Textual."""
