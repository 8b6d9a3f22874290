"""One answer's events, and what is told of them."""

from __future__ import annotations

from tests.tiny_models import SENTENCE, ByteLevelVocabulary
from wsserver.core.engine import (
    Delta,
    EngineJob,
    Failed,
    Finished,
    FinishReason,
    Output,
    Prefilled,
    Sampling,
)
from wsserver.engines.exllama.answer import Answer
from wsserver.engines.exllama.results import End, Event, Scored, Stage
from wsserver.engines.exllama.vocabulary import Vocabulary

WORDS = ByteLevelVocabulary(SENTENCE)
VOCABULARY = Vocabulary(WORDS.ids, {}, range(5), {"type": "ByteLevel"})
VIOLIN = WORDS.of_word("🎻")[1:]


def tokens(text: str) -> tuple[int, ...]:
    """Words of the sentence as tokens."""
    return tuple(token for word in text.split() for token in WORDS.of_word(word))


def said(text: str, end: End | None = None, **fields: object) -> Event:
    """A step that brought these words."""
    return Event("a", Stage.TOKENS, tokens=tokens(text), end=end, **fields)  # type: ignore[arg-type]  # by name


def answer(own_stops: tuple[str, ...] = (), **sampling: object) -> Answer:
    """An answer to a prompt of ten tokens."""
    job = EngineJob(job_id="a", raw="x", sampling=Sampling(**sampling))  # type: ignore[arg-type]  # by name
    return Answer(job, 10, VOCABULARY, own_stops)


def text(outputs: list[Output]) -> str:
    """What they show."""
    return "".join(output.text for output in outputs if isinstance(output, Delta))


def test_answer_from_its_prompt_to_its_end() -> None:
    """Chunks, the whole prompt before the first token, pieces, the end with the usage."""
    one = answer()
    assert one.take(Event("a", Stage.STARTED), 0) == []
    assert one.take(Event("a", Stage.PREFILL, done=8), 4) == [Prefilled("a", 8, 10, 4)]
    assert one.take(said("the quick"), 4) == [
        Prefilled("a", 10, 10, 4),
        Delta("a", " the quick", 2),
    ]
    assert one.take(said("fox", End.LIMIT), 4) == [
        Delta("a", " fox", 1),
        Finished("a", FinishReason.LENGTH, 10, 4),
    ]
    assert one.is_over
    assert one.take(said("fox"), 4) == []


def test_prompt_out_of_the_cache_is_told_all_the_same() -> None:
    """Without a chunk of its own the prompt is still reported before the first piece."""
    assert isinstance(answer().take(said("the"), 9)[0], Prefilled)


def test_model_ends_its_turn() -> None:
    """An end without a token has no piece of its own."""
    one = answer()
    one.take(said("the"), 0)
    assert one.take(said("", End.MODEL), 0) == [Finished("a", FinishReason.STOP, 10, 0)]


def test_stop_string_ends_before_it_shows() -> None:
    """Its beginning is held back, and what comes in the same step after it is left out."""
    one = answer(stop=("quick brown",))
    assert text(one.take(said("the quick"), 0)) == " the "
    outputs = one.take(said("brown fox"), 0)
    assert text(outputs) == ""
    assert outputs[-1] == Finished("a", FinishReason.STOP_STRING, 10, 0)


def test_held_text_shows_in_the_end() -> None:
    """A stop string that never came is text, at a limit and at a cancel."""
    one = answer(stop=("quick brown",))
    one.take(said("the quick"), 0)
    assert text(one.cancel()) == "quick"
    two = answer(stop=("quick brown",))
    assert text(two.take(said("the quick", End.LIMIT), 0)) == " the quick"


def test_plain_script_ends_like_the_models_own_turn() -> None:
    """Where the user's next turn would begin, the model has stopped."""
    outputs = answer(own_stops=("brown",)).take(said("the brown"), 0)
    assert text(outputs) == " the "
    assert outputs[-1] == Finished("a", FinishReason.STOP, 10, 0)


def test_half_a_character_shows_only_where_the_model_ended() -> None:
    """Cut off, it is left out: an answer that goes on can say it whole."""
    half = tuple(VIOLIN[:2])
    assert text(answer().take(Event("a", Stage.TOKENS, tokens=half, end=End.LIMIT), 0)) == ""
    assert text(answer().take(Event("a", Stage.TOKENS, tokens=half, end=End.MODEL), 0)) == "\ufffd"
    whole = Event("a", Stage.TOKENS, tokens=tuple(VIOLIN), end=End.LIMIT)
    assert text(answer().take(whole, 0)) == "🎻"


def test_banned_string_does_not_slip_out_at_the_limit() -> None:
    """The libraries look at the limit first; what they would let out is cut off here."""
    outputs = answer(banned_strings=("BROWN fox",)).take(said("quick brown fox", End.LIMIT), 0)
    assert text(outputs) == " quick "


def test_log_probabilities_name_their_tokens() -> None:
    """As many alternatives as were asked for, in their own words."""
    the, fox = tokens("the fox")
    scores = (Scored(-0.1, ((the, -0.1), (fox, -2.5))),)
    outputs = answer(logprobs=1).take(said("the", scores=scores), 0)
    delta = outputs[1]
    assert isinstance(delta, Delta)
    assert delta.logprobs is not None
    assert delta.logprobs[0].token == " the"
    assert delta.logprobs[0].top == ((" the", -0.1),)
    silent = answer().take(said("the", scores=scores), 0)[1]
    assert isinstance(silent, Delta)
    assert silent.logprobs is None


def test_fault_ends_one_answer() -> None:
    """It fails, may be tried again, and says nothing of the library."""
    outputs = answer().take(Event("a", Stage.ERROR, error=RuntimeError("/secret")), 0)
    assert outputs == [Failed("a", "generation_failed", "the engine failed at this answer", True)]
