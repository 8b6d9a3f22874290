"""Asking, stopping, asking again: what everyone does with the page first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenPage
from tests.conftest import StartServer
from tests.support.server import ServerProcess, running_server

QUIET = ("--set", "log.format=json", "--set", "server.drain_seconds=1")
COUNTING = "synthetic:?tps=200"


async def test_the_page_loads_with_nothing_to_complain_about(
    start_server: StartServer, open_page: OpenPage
) -> None:
    """Nothing on the console, and nothing asked of any other host."""
    server = start_server("--model", COUNTING)
    page = await open_page(server.url)
    await expect(page.composer).to_be_focused()
    await expect(page.page.get_by_test_id("suggestion")).to_have_count(4)
    assert page.complaints == []
    assert [url for url in page.requested if not url.startswith(server.url)] == []


@pytest.fixture
def demo_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """What a newcomer has: a server that was started without naming a model."""
    with running_server(tmp_path / "server", QUIET) as server:
        yield server


async def test_the_demo_model_answers(demo_server: ServerProcess, open_page: OpenPage) -> None:
    """The first thing a newcomer sees: an example question, and a sentence as its answer."""
    page = await open_page(demo_server.url)
    await expect(page.page.get_by_test_id("model-picker")).not_to_have_text("No model")
    await page.page.get_by_text("What is a violin?").click()
    answer = await page.ends()
    assert "instrument" in answer
    await expect(page.page.get_by_test_id("figures")).to_contain_text("tokens")
    await expect(page.questions).to_have_count(1)
    assert page.complaints == []


async def test_the_answer_is_shown_as_it_comes(
    start_server: StartServer, open_page: OpenPage
) -> None:
    """Text stands there while the answer still runs, and more of it a moment later."""
    server = start_server("--model", "synthetic:?tps=40")
    page = await open_page(server.url)
    await page.ask("count")
    await expect(page.answers.last).to_have_attribute("data-state", "running")
    await expect(page.answers.last).to_contain_text("1 2 3")
    await expect(page.answers.last).to_contain_text("18 19 20")
    await expect(page.stop).to_be_visible()
    await expect(page.send).to_have_count(0)


async def test_stop_ends_the_answer_and_the_next_question_is_answered(
    start_server: StartServer, open_page: OpenPage
) -> None:
    """With one slot, so that an answer that went on unseen would keep the next one waiting."""
    server = start_server("--model", "synthetic:?tps=50&slots=1")
    page = await open_page(server.url)
    await page.ask("count")
    await expect(page.answers.last).to_contain_text("1 2 3")
    await page.stop.click()
    stopped = await page.ends("stopped")
    assert stopped.split() == [str(number) for number in range(1, len(stopped.split()) + 1)]
    await page.ask("again")
    await expect(page.answers.last).to_contain_text("1 2 3")
    await page.page.keyboard.press("Escape")
    await page.ends("stopped")
    await expect(page.answers).to_have_count(2)
    assert page.complaints == []


async def test_a_cut_answer_says_so(start_server: StartServer, open_page: OpenPage) -> None:
    """An answer that the length limit ended is marked; the settings are kept over a reload."""
    server = start_server("--model", COUNTING)
    page = await open_page(server.url)
    await page.set("maxTokens", "7")
    await page.ask("count")
    assert (await page.ends("length")).split() == list("1234567")
    await page.page.reload()
    await page.is_connected()
    assert (await page.ends("length")).split() == list("1234567")
    await page.page.get_by_test_id("open-settings").click()
    await expect(page.page.get_by_test_id("setting-maxTokens")).to_have_value("7")


async def test_a_refused_setting_is_shown_beside_its_field(
    start_server: StartServer, open_page: OpenPage
) -> None:
    """What the server says about a field stands at that field, until it is changed."""
    server = start_server("--model", COUNTING)
    page = await open_page(server.url)
    await page.set("temperature", "3")
    await page.ask("count")
    error = page.page.get_by_test_id("error-temperature")
    await expect(error).to_contain_text("0 to 2")
    await expect(page.answers.last).to_have_attribute("data-state", "error")
    await page.page.get_by_test_id("setting-temperature").fill("")
    await expect(error).to_have_count(0)
    await page.page.get_by_test_id("setting-maxTokens").fill("3")
    await page.page.keyboard.press("Escape")
    await page.page.get_by_test_id("try-again").click()
    assert await page.ends("length") == "1 2 3"


async def test_a_question_can_be_edited_and_an_answer_made_again(
    start_server: StartServer, open_page: OpenPage
) -> None:
    """Both replace what was there instead of adding turns."""
    server = start_server("--model", COUNTING)
    page = await open_page(server.url)
    await page.ask("first")
    await expect(page.answers.last).to_contain_text("1 2")
    await page.stop.click()
    await page.ends("stopped")
    await page.page.get_by_test_id("retry").click()
    await expect(page.answers.last).to_contain_text("1 2")
    await page.stop.click()
    await page.ends("stopped")
    await expect(page.answers).to_have_count(1)
    await page.composer.press("ArrowUp")
    await page.page.get_by_test_id("edit-box").fill("second")
    await page.page.get_by_test_id("edit-box").press("Enter")
    await expect(page.questions).to_have_count(1)
    await expect(page.questions).to_contain_text("second")
    await page.stop.click()
    await page.ends("stopped")


async def test_people_wait_in_line_and_see_where(
    start_server: StartServer, open_page: OpenPage
) -> None:
    """Two ask while the only slot is taken; the last one moves up when one ahead gives up."""
    server = start_server("--model", "synthetic:?tps=20&slots=1")
    pages = [await open_page(server.url) for _ in range(3)]
    for number, page in enumerate(pages):
        await page.ask("count")
        waiting = "running" if number == 0 else "queued"
        await expect(page.answers.last).to_have_attribute("data-state", waiting)
    await expect(pages[2].page.get_by_test_id("progress")).to_have_text("2nd in line")
    await pages[1].stop.click()
    await pages[1].ends("stopped")
    await expect(pages[2].page.get_by_test_id("progress")).to_have_text("Next in line")
    await pages[0].stop.click()
    await expect(pages[2].answers.last).to_contain_text("1 2 3")


async def test_the_model_picker_chooses_who_answers(
    start_server: StartServer, open_page: OpenPage
) -> None:
    """By keyboard alone; the choice is kept over a reload."""
    server = start_server("--model", f"one={COUNTING}", "--model", f"two={COUNTING}")
    page = await open_page(server.url)
    picker = page.page.get_by_test_id("model-picker")
    await picker.press("ArrowDown")
    options = page.page.get_by_test_id("model-option")
    await expect(options).to_have_count(2)
    await expect(options.first).to_have_attribute("data-status", "ready")
    await picker.press("ArrowDown")
    await picker.press("Enter")
    await expect(options).to_have_count(0)
    await expect(picker).to_be_focused()
    await page.page.reload()
    await page.is_connected()
    await picker.click()
    await expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    await page.page.keyboard.press("Escape")
    await page.ask("count")
    await expect(page.answers.last).to_contain_text("1 2")  # an answer without text has no figures
    await page.stop.click()
    await page.ends("stopped")
    await expect(page.page.get_by_test_id("figures")).to_contain_text("two")


async def test_a_phone_shows_all_of_it(start_server: StartServer, open_page: OpenPage) -> None:
    """Nothing sticks out of a narrow screen, and the conversation can be had by touch."""
    server = start_server("--model", COUNTING)
    viewport = {"width": 360, "height": 640}
    page = await open_page(server.url, viewport=viewport, has_touch=True, is_mobile=True)
    await page.composer.fill("word " * 60)
    await page.send.tap()
    await expect(page.answers.last).to_contain_text("1 2 3")
    await page.stop.tap()
    await page.ends("stopped")
    await page.page.get_by_test_id("toggle-sidebar").tap()
    await expect(page.page.get_by_test_id("chat")).to_have_count(1)
    await page.page.get_by_label("Close the list of chats").tap()
    width = await page.page.evaluate("document.documentElement.scrollWidth")
    assert width <= viewport["width"]
    for name in ("composer", "send", "model-picker", "open-settings"):
        box = await page.page.get_by_test_id(name).bounding_box()
        assert box is not None
        assert box["x"] >= 0 and box["x"] + box["width"] <= viewport["width"], name


async def test_a_reader_who_scrolled_up_stays_there(
    start_server: StartServer, open_page: OpenPage
) -> None:
    """The page follows the text only for who stands at its end, and offers the way back."""
    server = start_server("--model", "synthetic:?tps=100")
    page = await open_page(server.url, viewport={"width": 320, "height": 360})
    await page.ask("count")
    await expect(page.answers.last).to_contain_text(" 200 ")
    scroll = page.page.locator(".scroll")
    at_end = "element => element.scrollHeight - element.scrollTop - element.clientHeight < 48"
    assert await scroll.evaluate(at_end)
    await scroll.hover()
    await page.page.mouse.wheel(0, -200)
    await expect(page.page.get_by_test_id("jump")).to_be_visible()
    top = await scroll.evaluate("element => element.scrollTop")
    shown = await page.text(page.answers.last)
    await expect(page.answers.last).to_contain_text(f" {len(shown.split()) + 90} ")
    assert await scroll.evaluate("element => element.scrollTop") == top
    await page.page.get_by_test_id("jump").click()
    assert await scroll.evaluate(at_end)
    await expect(page.page.get_by_test_id("jump")).to_have_count(0)


async def test_both_themes_can_be_chosen(start_server: StartServer, open_page: OpenPage) -> None:
    """The system's theme first, then the person's, from the first paint after a reload."""
    server = start_server("--model", COUNTING)
    page = await open_page(server.url, color_scheme="dark")
    background = "getComputedStyle(document.documentElement).backgroundColor"
    dark = await page.page.evaluate(background)
    await page.page.get_by_test_id("theme").click()
    light = await page.page.evaluate(background)
    assert re.findall(r"\d+", dark) < ["30"] and light == "rgb(255, 255, 255)"
    await page.page.reload(wait_until="commit")
    await expect(page.composer).to_be_visible()
    assert await page.page.evaluate(background) == light
