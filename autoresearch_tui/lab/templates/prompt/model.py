"""Fixed: a model that reads the prompt, over the Messages API. Nobody changes this file.

The referee uses it where PROMPT_MODEL names a model. A run has neither a network nor the key.
"""

import http.client
import json
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

AT_ONCE = 16  # requests
ANSWER_TOKENS = 64
RETRIED = (408, 409, 425, 429, 500, 502, 503, 504, 529)
REFUSED, ASK_AGAIN = 1, 75  # exit codes: there is no score; there is none now, and perhaps later


class Unanswered(Exception):
    """The model's server did not answer, and why. `code` is the exit code."""

    def __init__(self, why: str, code: int = REFUSED) -> None:
        super().__init__(why)
        self.code = code


class Model:
    """A model that answers with the prompt as its system text, one request a message."""

    def __init__(self, prompt: str, labels: tuple[str, ...], seconds: float) -> None:
        self.name = os.environ["PROMPT_MODEL"]
        base = os.environ.get("PROMPT_BASE_URL") or os.environ.get("ANTHROPIC_BASE_URL") or "https://api.anthropic.com"
        self.url = base.rstrip("/") + "/v1/messages"
        self.key = os.environ.get("ANTHROPIC_API_KEY", "")
        suffix = f"Answer with one of these words and nothing else: {', '.join(labels)}."
        self.system = f"{prompt.strip()}\n\n{suffix}".strip()
        self.labels = labels
        self.deadline = time.monotonic() + seconds
        self.tokens = Counter()
        self.lock = threading.Lock()

    def classify(self, messages: Sequence[str]) -> list[str]:
        """The answer to each message; empty if it has none of the labels, or several."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            asked = [pool.submit(self._answer, message) for message in messages]
            try:
                return [each.result() for each in asked]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, message: str) -> str:
        pause = 0.2
        while True:
            problem, wait = "", 0.0
            try:
                return self._ask(message)
            except urllib.error.HTTPError as error:
                problem = f"HTTP {error.code}"
                if error.code not in RETRIED:
                    raise Unanswered(f"the server of {self.name} refuses: {problem}{_said(error)}") from None
                wait = _seconds(error.headers.get("retry-after", ""))
            except (OSError, http.client.HTTPException) as error:
                problem = str(getattr(error, "reason", "") or error) or type(error).__name__
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                raise Unanswered(f"the server of {self.name} did not answer as the Messages API does") from None
            pause = max(wait, pause)
            if time.monotonic() + pause > self.deadline:
                raise Unanswered(f"the server of {self.name} does not answer in time: {problem}", ASK_AGAIN)
            time.sleep(pause)
            pause = min(2 * pause, 5.0)

    def _ask(self, message: str) -> str:
        body = {
            "model": self.name,
            "max_tokens": ANSWER_TOKENS,
            "system": self.system,
            "messages": [{"role": "user", "content": message}],
        }
        headers = {"content-type": "application/json", "anthropic-version": "2023-06-01", "x-api-key": self.key}
        request = urllib.request.Request(self.url, json.dumps(body).encode(), headers)
        left = self.deadline - time.monotonic()
        with urllib.request.urlopen(request, timeout=max(left, 0.1)) as response:
            answer = json.loads(response.read(1 << 20))
        text = "".join(block["text"] for block in answer["content"] if block["type"] == "text")
        with self.lock:
            self.tokens.update({key: int(answer["usage"][f"{key}_tokens"]) for key in ("input", "output")})
        found = {word for word in re.findall(r"[a-z]+", text.lower()) if word in self.labels}
        return found.pop() if len(found) == 1 else ""


def _said(error: urllib.error.HTTPError) -> str:
    """The server's own words, in one line; never the key."""
    try:
        message = json.loads(error.read(4096))["error"]["message"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return f" ({' '.join(str(message).split())[:200]})"


def _seconds(text: str) -> float:
    return min(float(text), 30.0) if re.fullmatch(r"\d+(\.\d+)?", text) else 0.0
