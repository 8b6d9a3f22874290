"""Every sampling option of the wire, as each library gets it."""

from __future__ import annotations

from typing import Any

import pytest

from wsserver.core.engine import Sampling
from wsserver.engines.contract import JobRefused
from wsserver.engines.exllama.sampling import choose_samplers, logit_bias
from wsserver.engines.exllama.settings import SamplingDefaults
from wsserver.engines.exllamav2.sampling import settings_fields
from wsserver.engines.exllamav3.sampling import sampler_arguments

NEUTRAL = SamplingDefaults()


def v2(sampling: Sampling, defaults: SamplingDefaults = NEUTRAL) -> dict[str, Any]:
    """Fields for exllamav2."""
    return settings_fields(choose_samplers(sampling, defaults))


def v3(sampling: Sampling, defaults: SamplingDefaults = NEUTRAL) -> dict[str, Any]:
    """Arguments for exllamav3."""
    return sampler_arguments(choose_samplers(sampling, defaults), {})


def test_nothing_asked_is_neutral() -> None:
    """None of the libraries' own defaults holds, only ours."""
    fields = v2(Sampling())
    assert fields["temperature"] == 0.7
    assert fields["token_repetition_penalty"] == 1.0
    assert (fields["top_k"], fields["top_p"], fields["min_p"], fields["typical"]) == (0, 1, 0, 0)
    arguments = v3(Sampling())
    assert arguments["temperature"] == 0.7
    assert (arguments["rep_p"], arguments["top_k"], arguments["top_p"]) == (1.0, 0, 1.0)


@pytest.mark.parametrize(
    ("option", "value", "of_v2", "of_v3"),
    [
        ("temperature", 1.5, "temperature", "temperature"),
        ("top_p", 0.9, "top_p", "top_p"),
        ("top_k", 40, "top_k", "top_k"),
        ("min_p", 0.05, "min_p", "min_p"),
        ("typical_p", 0.8, "typical", None),
        ("repetition_penalty", 1.1, "token_repetition_penalty", "rep_p"),
        ("presence_penalty", -0.5, "token_presence_penalty", "pres_p"),
        ("frequency_penalty", 0.5, "token_frequency_penalty", "freq_p"),
    ],
)
def test_option_reaches_its_field(option: str, value: Any, of_v2: str, of_v3: str | None) -> None:
    """Each option has one field in each library, or the engine says that it lacks it."""
    sampling = Sampling(**{option: value})
    assert v2(sampling)[of_v2] == value
    if of_v3 is not None:
        assert v3(sampling)[of_v3] == value


@pytest.mark.parametrize(
    "sampling",
    [Sampling(temperature=0), Sampling(top_k=1), Sampling(top_p=0), Sampling(min_p=1)],
)
def test_ends_of_the_scales_are_greedy(sampling: Sampling) -> None:
    """What leaves one token is one token: the libraries read some of these as "off"."""
    assert v2(sampling)["top_k"] == 1
    assert v2(sampling)["temperature"] == 1.0
    assert v3(sampling)["temperature"] == 0.0


def test_typical_of_zero_is_not_off() -> None:
    """v2 reads 0 as off; here 1 is off and 0 the narrowest."""
    assert 0 < v2(Sampling(typical_p=0))["typical"] < 1e-3
    assert v2(Sampling(typical_p=1))["typical"] == 0


def test_defaults_of_the_model_hold_where_a_request_is_silent() -> None:
    """Recommended or configured values fill in, and a request overrules them."""
    defaults = SamplingDefaults(temperature=0.0, top_k=20)
    assert v2(Sampling(), defaults)["top_k"] == 1
    asked = v2(Sampling(temperature=1.0), defaults)
    assert (asked["temperature"], asked["top_k"]) == (1.0, 20)


def test_bias_names_tokens_of_the_model() -> None:
    """Ids within the vocabulary; anything else is refused by name."""
    assert logit_bias({"3": -100.0, "0": 2.0}, 4) == {3: -100.0, 0: 2.0}
    assert logit_bias(None, 4) == {}
    for bad in ("4", "-1", "x", "³"):
        with pytest.raises(JobRefused, match="logitBias"):
            logit_bias({bad: 1.0}, 4)
