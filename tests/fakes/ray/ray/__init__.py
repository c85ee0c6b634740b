"""A stand-in for Ray: its nodes are names in STAND_IN_NODES (JSON), its actors objects of this process.

Put the folder above on PYTHONPATH of the processes that are to have it.
"""

import json
import os
from types import SimpleNamespace


class RayTaskError(Exception):
    """An actor's method raised `cause`."""

    def __init__(self, cause):
        super().__init__(str(cause))
        self.cause = cause


exceptions = SimpleNamespace(RayTaskError=RayTaskError)


def init(address, **_):
    if "STAND_IN_DOWN" in os.environ:
        raise ConnectionError(os.environ["STAND_IN_DOWN"])


def nodes():
    found = json.loads(os.environ.get("STAND_IN_NODES", "{}"))
    return [{"NodeName": name, "NodeID": name, "Alive": True, "Resources": has} for name, has in found.items()]


def remote(kind):
    return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda *words: _Actor(kind(*words))))


def get(answer, timeout):
    if isinstance(answer, Exception):
        raise answer
    return answer


class _Actor:
    def __init__(self, made):
        self._made = made

    def __getattr__(self, name):
        def call(*words):
            try:
                return getattr(self._made, name)(*words)
            except Exception as error:
                return RayTaskError(error)

        return SimpleNamespace(remote=call)
