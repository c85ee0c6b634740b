"""The screen. It learns everything from files and asks for everything by commands; it owns no fact.

Textual reads these when it is first imported, so they are set here, before any module of the cockpit imports it:
panes are drawn by ticks of a few a second, so the frame rate only bounds how fast a key is answered.
"""

import os

os.environ.setdefault("TEXTUAL_FPS", "60")
os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
os.environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")
