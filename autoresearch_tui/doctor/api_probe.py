"""One short call of the Messages API with the user's credentials; prints a JSON object.

It has its own process because the API's package takes a second to import, and a name server that does not answer can
block a thread for a minute.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

CALL_SECONDS = 3.0


async def call() -> dict[str, object]:
    """The server's `models`, or `error`; `fatal` if trying again cannot help."""
    import anthropic

    from autoresearch_tui.researchers.base import ResearcherError
    from autoresearch_tui.researchers.claude import client as claude_client
    from autoresearch_tui.researchers.claude import errors

    host, redact = claude_client.host(os.environ), claude_client.redactor(os.environ)
    try:
        async with asyncio.timeout(CALL_SECONDS), claude_client.connect(os.environ, CALL_SECONDS) as client:
            page = await client.models.list(limit=1000)
        return {"host": host, "models": [str(model.id) for model in page.data or ()], "package": anthropic.__version__}
    except TimeoutError:
        return {"host": host, "error": f"{host} did not answer within {CALL_SECONDS:g} s", "fatal": False}
    except ResearcherError as error:
        return {"host": host, "error": str(error), "fatal": error.fatal}
    except Exception as error:
        translated = errors.translate(error, "", host, redact)
        return {"host": host, "error": str(translated), "fatal": translated.fatal}


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(asyncio.run(call())) + "\n")
