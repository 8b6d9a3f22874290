"""Batches: every prompt answered once, stopped as a whole, refused as a whole."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Connect, StartServer
from tests.support.wire import Wire


async def test_a_batch_from_start_to_summary(wire: Wire) -> None:
    """Start, one item a prompt with its index, a summary that counts them."""
    prompts = ["a", "a b", "a b c"]
    await wire.send(type="batch", prompts=prompts, requestId="b", options={"maxTokens": 4})
    start = await wire.until("batch_start")
    assert start["total"] == 3
    end = await wire.until("batch_complete")
    items = wire.of_type("batch_item")
    assert sorted(item["index"] for item in items) == [0, 1, 2]
    for item in items:
        assert item["result"]["text"] == "1 2 3 4 "
        assert item["result"]["usage"]["promptTokens"] == item["index"] + 1
        assert "error" not in item
    assert {frame["batchId"] for frame in (start, end, *items)} == {start["batchId"]}
    assert {frame["requestId"] for frame in (start, end, *items)} == {"b"}
    summary = end["summary"]
    assert {k: summary[k] for k in ("total", "successful", "failed", "cancelled")} == {
        "total": 3,
        "successful": 3,
        "failed": 0,
        "cancelled": 0,
    }
    assert summary["averageLatency"] >= 0


async def test_failures_are_items(wire: Wire) -> None:
    """An item that fails has its error and code; the others and the summary come all the same."""
    await wire.ask_until("load_model", source="synthetic:?tps=0&ctx=4", id="short")
    await wire.send(type="batch", prompts=["1 2 3 4 5", "1"], model="short")
    end = await wire.until("batch_complete")
    items = {item["index"]: item for item in wire.of_type("batch_item")}
    assert items[0]["code"] == "context_length_exceeded"
    assert items[0]["error"]
    assert "result" not in items[0]
    assert items[1]["result"]["finishReason"] == "length"
    assert (end["summary"]["successful"], end["summary"]["failed"]) == (1, 1)


@pytest.mark.parametrize("by_id", [True, False])
async def test_a_batch_is_stopped(wire: Wire, by_id: bool) -> None:
    """A stopped batch ends in `batch_complete`, its items as cancelled; what is done stays."""
    request_id = wire.new_id()
    start = await wire.ask(
        "batch", prompts=["a"] * 3, requestId=request_id, options={"maxTokens": 100_000}
    )
    if by_id:
        await wire.send(type="stop_batch", batchId=start["batchId"], requestId="stop")
    else:
        await wire.send(type="stop_batch", requestId=request_id)
    end = await wire.until("batch_complete", requestId=request_id)
    assert end["summary"]["cancelled"] == 3
    assert {item["code"] for item in wire.of_type("batch_item")} == {"cancelled"}
    assert await wire.settle() == []


async def test_stopping_what_is_not_there_is_an_error(connect: Connect) -> None:
    """Unknown, ended and foreign batches: `batch_not_found`."""
    one, two = await connect(), await connect()
    assert (await one.ask("stop_batch", batchId="none"))["code"] == "batch_not_found"
    assert (await one.ask("stop_batch", requestId="none"))["code"] == "batch_not_found"
    start = await one.ask("batch", prompts=["a"], options={"maxTokens": 30})
    assert (await two.ask("stop_batch", batchId=start["batchId"]))["code"] == "batch_not_found"
    end = await one.until("batch_complete")
    assert end["summary"]["successful"] == 1
    assert (await one.ask("stop_batch", batchId=start["batchId"]))["code"] == "batch_not_found"
    await one.send(type="stop_batch")
    assert (await one.until("error"))["code"] == "invalid_parameters"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "prompts"),
        ({"prompts": []}, "prompts"),
        ({"prompts": "x"}, "prompts"),
        ({"prompts": ["x", ""]}, "prompts[1]"),
        ({"prompts": ["x", 5]}, "prompts[1]"),
        ({"prompts": ["x"], "options": {"maxTokens": 0}}, "options.maxTokens"),
    ],
)
async def test_a_bad_field_refuses_the_whole_batch(wire: Wire, fields: Any, named: str) -> None:
    """`batch_error` names the field."""
    error = await wire.ask("batch", **fields)
    assert (error["type"], error["code"]) == ("batch_error", "invalid_parameters")
    assert named in [detail["field"] for detail in error["details"]]


async def test_too_large_a_batch_is_refused(wire: Wire) -> None:
    """Twenty prompts are a batch, one more is too many, in words of its own."""
    end = await wire.ask_until("batch", prompts=["x"] * 20, options={"maxTokens": 1})
    assert end["summary"]["successful"] == 20
    error = await wire.ask("batch", prompts=["x"] * 21)
    assert error["type"] == "batch_error"
    assert error["code"] == "batch_too_large"
    assert [detail["field"] for detail in error["details"]] == ["prompts"]


async def test_items_wait_for_free_places(start_server: StartServer, connect: Connect) -> None:
    """With two places a batch of six is answered all the same, two at a time."""
    small = start_server("--set", "limits.max_concurrent_streams=2")
    wire = await connect(to=small)
    await wire.send(type="batch", prompts=["x"] * 6, options={"maxTokens": 20})
    await wire.until("batch_start")
    error = await wire.ask("stream", prompt="one more")
    assert (error["type"], error["code"]) == ("stream_error", "too_many_streams")
    end = await wire.until("batch_complete")
    assert end["summary"]["successful"] == 6
    assert len(wire.of_type("batch_item")) == 6
