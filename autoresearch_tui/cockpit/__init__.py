"""The screen. It reads every fact from files and sends every request as a command; it owns no state of the session.

Textual reads these variables when it is first imported, so they are set here. The frame rate bounds how fast a key is
answered; panes themselves are drawn only a few times a second.
"""

import os

os.environ.setdefault("TEXTUAL_FPS", "120")
os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
os.environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")
