"""The screen. It learns everything from files and asks for everything by commands; it owns no fact.

Textual reads these when it is first imported, so they are set here, before any module of the cockpit imports it:
panes are drawn a few times a second, so the frame rate makes no more frames: it bounds how fast a key is answered.
"""

import os

os.environ.setdefault("TEXTUAL_FPS", "120")
os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
os.environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")
