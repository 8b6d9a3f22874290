"""The rooms page: several people and a model in one room, each in a browser of their own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, expect

from tests.browser.cable import Cable
from tests.browser.rooms_page import RoomsPage
from tests.conftest import StartServer
from wsserver_client import AnswerStarted, RoomEvents, connect

OpenRoom = Callable[..., Awaitable[RoomsPage]]

COUNTING = "synthetic:?tps=8&ttft_ms=0"

# Each test has several pages of a browser, which take their time on a busy machine.
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def enter(browser: Browser) -> OpenRoom:
    """Opens the rooms page, each time as another person."""

    async def enter(url: str, name: str = "", room: str = "lobby", **options: Any) -> RoomsPage:
        context = await browser.new_context(**{"reduced_motion": "reduce", **options})
        page = RoomsPage(await context.new_page())
        await page.open(url, room=room if name else "", name=name)
        return page

    return enter


def counted(text: str) -> int:
    """How far a synthetic answer counted, having checked that it left nothing out."""
    numbers = text.split()
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)], text
    return len(numbers)


async def answer_in(events: RoomEvents) -> AnswerStarted:
    """The next answer that begins in a room."""
    async for event in events:
        if isinstance(event, AnswerStarted):
            return event
    raise AssertionError("the room ended without an answer")


async def test_all_see_the_same(start_server: StartServer, enter: OpenRoom) -> None:
    """Two browsers and a Python client; one asks, a fourth comes midway, and all have one text."""
    server = start_server("--model", COUNTING)
    ada = await enter(server.url, "Ada")
    bob = await enter(server.url, "Bob")
    async with connect(server.ws_url, user_id="py") as client:
        room = await client.join_room("lobby", name="Py")
        events = room.events()
        await expect(ada.get("member")).to_have_count(3)
        await ada.say("hello")
        await expect(bob.entries.last).to_contain_text("hello")
        await ada.ask("count")
        started = await answer_in(events)
        await expect(bob.answers.last).to_contain_text("8 9 10")
        late = await enter(server.url, "Cyd")
        await expect(late.answers.last).to_contain_text("8 9 10")
        await expect(late.answers.last).to_have_attribute("data-state", "running")
        await ada.answers.last.get_by_test_id("stop").click()
        texts = [await page.ends("stopped") for page in (ada, bob, late)]
        texts.append((await started.stream.result()).text)
        texts.append((await room.history())[-1].text)
    assert len({text.strip() for text in texts}) == 1
    assert counted(texts[0]) >= 10
    for page in (bob, late):
        await expect(page.get("ending")).to_contain_text("Stopped by Ada")
        await expect(page.entries.filter(has_text="count").first).to_contain_text("Ada")
    await expect(ada.get("ending")).to_contain_text("Stopped by you")
    assert [page.complaints for page in (ada, bob, late)] == [[]] * 3
    assert [url for url in ada.requested if not url.startswith(server.url)] == []


async def test_nothing_is_lost_or_doubled_over_a_broken_wire(
    start_server: StartServer, enter: OpenRoom
) -> None:
    """Talk and an answer go on while one is away; what one says meanwhile arrives once."""
    server = start_server("--model", COUNTING)
    async with Cable(urlsplit(server.url).port or 0) as cable:
        ada = await enter(server.url, "Ada")
        bob = await enter(cable.url, "Bob")
        await ada.say("before")
        await ada.ask("count")
        await expect(bob.answers.last).to_contain_text("10 11 12")
        await cable.cut()
        await expect(bob.get("status")).to_have_attribute("data-state", "waiting")
        await ada.say("while Bob was away")
        await bob.say("said in the dark")
        await expect(bob.get("outgoing")).to_have_count(1)
        await expect(bob.get("status-bar")).to_be_visible()
        await cable.mend()
        await bob.is_connected()
        await expect(ada.entries.filter(has_text="said in the dark")).to_have_count(1)
        await expect(bob.entries.filter(has_text="while Bob was away")).to_have_count(1)
        await expect(bob.get("outgoing")).to_have_count(0)
        await ada.answers.last.get_by_test_id("stop").click()
        texts = [await page.ends("stopped") for page in (ada, bob)]
        assert texts[0].strip() == texts[1].strip()
        assert counted(texts[0]) >= 12
        for page in (ada, bob):
            await expect(page.entries).to_have_count(5)
    shown = [await page.entries.evaluate_all(SAID) for page in (ada, bob)]
    assert shown[0] == shown[1]


SAID = (
    "entries => entries.map(one => one.dataset.seq + (one.querySelector('.said')?.innerText ?? ''))"
)


async def test_a_moderator_stops_and_everybody_sees_who(
    start_server: StartServer, enter: OpenRoom
) -> None:
    """The owner makes Bob a moderator; he stops her answer, she reads his name; Cyd may not."""
    server = start_server("--model", COUNTING)
    ada = await enter(server.url, "Ada")
    bob = await enter(server.url, "Bob")
    cyd = await enter(server.url, "Cyd")
    await ada.choose("Bob", "Make a moderator")
    await expect(cyd.member("Bob")).to_contain_text("moderator")
    await ada.ask("count")
    await expect(cyd.answers.last).to_contain_text("1 2 3")
    await expect(cyd.get("stop")).to_have_count(0)
    await bob.get("stop").click()
    for page, who in ((ada, "Bob"), (cyd, "Bob"), (bob, "you")):
        await page.ends("stopped")
        await expect(page.get("ending")).to_contain_text(f"Stopped by {who}")
    await cyd.get("continue").click()
    await expect(ada.answers.last).to_contain_text("goes on")
    await expect(ada.answers).to_have_count(2)


async def test_questions_wait_in_line(start_server: StartServer, enter: OpenRoom) -> None:
    """Of two questions the second waits, for all to see, and can be withdrawn by its asker."""
    server = start_server("--model", COUNTING)
    ada = await enter(server.url, "Ada")
    bob = await enter(server.url, "Bob")
    await ada.ask("first")
    await expect(bob.answers.last).to_contain_text("1 2 3")
    await bob.ask("second")
    for page in (ada, bob):
        await expect(page.answers.last).to_have_attribute("data-state", "queued")
        await expect(page.answers.last.get_by_test_id("progress")).to_have_text("Next in line")
    await bob.answers.last.get_by_test_id("stop").click()
    await expect(ada.get("ending")).to_contain_text("Stopped by Bob")
    await ada.get("stop").click()
    await expect(bob.get("ending")).to_have_count(2)


async def test_presence_is_seen(start_server: StartServer, enter: OpenRoom) -> None:
    """Typing is shown while it lasts, and who comes and goes is told."""
    server = start_server("--model", COUNTING)
    ada = await enter(server.url, "Ada")
    bob = await enter(server.url, "Bob")
    await expect(ada.get("notice").last).to_have_text("Bob came in")
    await expect(ada.member("Bob")).to_have_attribute("data-state", "reading")
    # As long as it lasts: a sign fades when no further letter comes.
    typing = asyncio.create_task(bob.composer.press_sequentially("h" * 60, delay=100))
    await expect(ada.get("typists")).to_have_text("Bob is typing …")
    await expect(ada.member("Bob")).to_have_attribute("data-state", "typing")
    await typing
    await bob.say("hi")
    await expect(ada.get("typists")).to_have_text("")
    await bob.get("leave").click()
    await expect(ada.get("notice").last).to_have_text("Bob left")
    await expect(bob.get("enter")).to_be_visible()
    await expect(bob.get("open-room")).to_contain_text("1 person")


async def test_a_room_is_run(start_server: StartServer, enter: OpenRoom) -> None:
    """Settings, an invite by its link, a viewer; being sent out, a ban and settings are lifted."""
    server = start_server("--model", f"one={COUNTING}", "--model", f"two={COUNTING}")
    ada = await enter(server.url, "Ada")
    await ada.get("open-settings").click()
    await ada.get("setting-title").fill("The salon")
    await ada.get("setting-model").select_option("two")
    await ada.get("setting-maxTokens").fill("3")
    await ada.get("setting-access").select_option("invited")
    await ada.get("save-settings").click()
    await expect(ada.get("room-title")).to_have_text("The salon")
    bob = await enter(server.url)
    await bob.page.goto(f"{server.url}/apps/rooms?room=lobby&name=Bob")
    await expect(bob.get("refusal")).to_contain_text("invited")
    await ada.get("open-settings").click()
    await ada.get("setting-inviteRole").select_option("viewer")
    await ada.get("make-invite").click()
    await expect(ada.get("invite-link")).to_have_value(re.compile("#invite="))
    link = await ada.get("invite-link").input_value()
    await ada.page.keyboard.press("Escape")
    await bob.page.goto(link)
    await expect(bob.get("silent")).to_be_visible()
    assert "invite" not in bob.page.url
    await ada.choose("Bob", "Make a member")
    await bob.is_inside()
    await bob.ask("which model?")
    await expect(ada.answers.last).to_contain_text("two")
    await ada.choose("Bob", "Send out")
    await expect(bob.get("refusal")).to_contain_text("sent out")
    await bob.page.goto(link)
    await expect(ada.member("Bob")).to_have_count(1)
    await ada.choose("Bob", "Ban")
    await expect(bob.get("refusal")).to_contain_text("banned")
    await ada.get("open-settings").click()
    await ada.get("unban").click()
    await expect(ada.get("unban")).to_have_count(0)
    await expect(ada.get("setting-maxTokens")).to_have_value("3")
    await ada.get("setting-maxTokens").fill("")
    await ada.get("setting-model").select_option("")
    await ada.get("save-settings").click()
    await ada.get("open-settings").click()
    await expect(ada.get("setting-maxTokens")).to_have_value("")
    await expect(ada.get("setting-model")).to_have_value("")
    assert ada.complaints == []


async def test_the_beginning_is_read_on_scrolling_up(
    start_server: StartServer, enter: OpenRoom
) -> None:
    """A long log comes page by page, in order, and what one reads stays where it is."""
    server = start_server("--model", COUNTING)
    async with connect(server.ws_url, user_id="py") as client:
        room = await client.join_room("lobby", name="Py")
        for number in range(1, 151):
            await room.send(f"line {number}.")
        ada = await enter(server.url, "Ada", viewport={"width": 800, "height": 500})
        await expect(ada.entries.last).to_contain_text("line 150.")
        have = await ada.entries.count()
        assert have < 150
        while await ada.entries.count() < 150:
            have = await ada.entries.count()
            await ada.get("scroll").hover()
            await ada.page.mouse.wheel(0, -100_000)
            await expect(ada.entries).not_to_have_count(have)
        top = await ada.get("scroll").evaluate("element => element.scrollTop")
        assert top > 0
        await expect(ada.get("older")).to_have_count(0)
    said = await ada.entries.locator(".said").all_inner_texts()
    assert [text.strip() for text in said] == [f"line {number}." for number in range(1, 151)]


async def test_a_server_that_lost_the_room(start_server: StartServer, enter: OpenRoom) -> None:
    """After a restart all are in the room again under their names, and told that its log is new."""
    server = start_server("--model", COUNTING)
    ada = await enter(server.url, "Ada")
    bob = await enter(server.url, "Bob")
    await ada.say("before")
    await expect(bob.entries).to_have_count(1)
    server.stop()
    start_server("--model", COUNTING, "--port", str(urlsplit(server.url).port))
    for page in (ada, bob):
        await page.is_connected()
        await expect(page.get("notice").first).to_contain_text("replaced")
    await expect(ada.get("member")).to_have_count(2)
    await bob.say("after")
    for page in (ada, bob):
        await expect(page.entries).to_have_count(1)
        await expect(page.entries.last).to_contain_text("after")
        await expect(page.entries.last).to_contain_text("Bob")


async def test_a_phone_and_a_keyboard_are_enough(
    start_server: StartServer, enter: OpenRoom
) -> None:
    """Nothing sticks out of a narrow screen; entering, asking and stopping need no mouse."""
    server = start_server("--model", COUNTING)
    viewport = {"width": 360, "height": 640}
    page = await enter(server.url, viewport=viewport, has_touch=True, is_mobile=True)
    await page.get("name").fill("Ada")
    await page.get("room").fill("lobby")
    await page.get("room").press("Enter")
    await page.is_inside()
    await page.ask("word " * 60)
    await expect(page.answers.last).to_contain_text("1 2 3")
    await page.get("stop").press("Enter")
    await page.ends("stopped")
    await page.get("toggle-members").tap()
    await expect(page.get("member")).to_have_count(1)
    await page.page.get_by_label("Close the list of members").tap()
    width = await page.page.evaluate("document.documentElement.scrollWidth")
    assert width <= viewport["width"]
    for name in ("composer", "send", "open-settings", "leave"):
        box = await page.get(name).bounding_box()
        assert box is not None
        assert box["x"] >= 0 and box["x"] + box["width"] <= viewport["width"], name
    assert page.complaints == []
