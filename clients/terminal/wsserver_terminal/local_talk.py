"""A conversation that only this program keeps: it is over when the program is.

For servers that keep none, and for those who want none kept.
"""

from __future__ import annotations

from wsserver_client import Client, ClientError, StreamResult
from wsserver_terminal.commands import CommandError
from wsserver_terminal.conversation import Conversation, Ending
from wsserver_terminal.talk import Aftermath, Attempt, Manner


class LocalTalk:
    """See `wsserver_terminal.talk.Talk`."""

    model: str | None = None

    def __init__(self, client: Client, conversation: Conversation) -> None:
        self._client = client
        self._conversation = conversation
        self._manner = Manner()

    async def ask(self, question: str, manner: Manner) -> Attempt:
        self._conversation.ask(question)
        self._manner = manner
        return self._send()

    async def retry(self, manner: Manner) -> Attempt:
        question = self._conversation.take_back()
        if question is None:
            raise CommandError("nothing was asked yet")
        return await self.ask(question, manner)

    def ended(self, attempt: Attempt, result: StreamResult) -> str:
        self._note_answer(attempt)
        if result.usage is not None:
            self._conversation.note_usage(result.usage.prompt_tokens)
        if result.finish_reason == "stopped":
            self._conversation.turns[-1].ending = Ending.STOPPED
        count = self._conversation.left_out
        return f"(the model no longer sees the oldest {count} questions)" if count else ""

    async def failed(self, attempt: Attempt, error: ClientError) -> Aftermath:
        stream, conversation = attempt.stream, self._conversation
        too_long = getattr(error, "code", None) == "context_length_exceeded"
        if too_long and not stream.text and conversation.drop_oldest():
            return Aftermath(again=self._send())
        self._note_answer(attempt)
        conversation.turns[-1].ending = Ending.FAILED
        if not stream.text:
            conversation.take_back()
        return Aftermath()

    def clear(self) -> None:
        self._conversation.clear()

    async def set_system(self, text: str) -> None:
        self._conversation.system = text or None

    def fit(self, context_length: int) -> None:
        self._conversation.context_length = context_length

    async def markdown(self) -> str:
        return self._conversation.markdown()

    def _send(self) -> Attempt:
        manner = self._manner
        return Attempt(
            self._client.stream(
                messages=self._conversation.messages(), model=manner.model, **manner.options
            )
        )

    def _note_answer(self, attempt: Attempt) -> None:
        turn = self._conversation.turns[-1]
        turn.answer, turn.model = attempt.stream.text or None, attempt.stream.model
