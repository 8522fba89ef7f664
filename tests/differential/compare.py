"""Says the same script to two brokers at once, and tells where their answers differ."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.differential.conversation import Conversation, Script

BROKEN_OFF = "broken off"


def transcript(script: Script, port: int, run: str) -> list[tuple[str, object]]:
    """Return what one broker answered; a script that breaks off says so in its last entry."""
    conversation = Conversation(port, run)
    try:
        script(conversation)
    except Exception as failure:  # noqa: BLE001 - a broker may break off where the other goes on: that is a difference
        conversation.transcript.append((BROKEN_OFF, f"{type(failure).__name__}: {failure}"))
    finally:
        conversation.close()
    return conversation.transcript


def differences(script: Script, first: int, second: int, run: str) -> list[str]:
    """Return one text for each answer that differs; empty if the brokers agree."""
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(transcript, script, port, run) for port in (first, second)]
        mine, theirs = (one.result() for one in asked)
    found = [
        f"{label}\n        {answer}\n        {other}" if label == other_label else f"{label} / {other_label}"
        for (label, answer), (other_label, other) in zip(mine, theirs, strict=False)
        if (label, answer) != (other_label, other)
    ]
    if mine[-1] == theirs[-1] and mine[-1][0] == BROKEN_OFF:
        found.append(f"both broke off: {mine[-1][1]}")  # such a script compares nothing
    if len(mine) != len(theirs):
        found.append(f"{len(mine)} answers, {len(theirs)} of the other broker")
    return found
