"""Conversations that the server keeps: continued, in several tabs, over restarts."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from playwright.async_api import expect

from tests.browser.conftest import OpenPage
from tests.conftest import StartServer

COUNTING = ("--model", "synthetic:?tps=50")


async def test_a_stopped_answer_is_continued_without_a_seam(
    start_server: StartServer, open_page: OpenPage
) -> None:
    """Also after a reload: the same answer grows, and no number is missing or twice."""
    server = start_server(*COUNTING)
    page = await open_page(server.url)
    await page.ask("count")
    await expect(page.answers.last).to_contain_text("8 9 10")
    await page.stop.click()
    stopped = (await page.ends("stopped")).split()
    await page.set("maxTokens", "20")
    await page.page.get_by_test_id("continue").click()
    continued = (await page.ends("length")).split()
    assert continued == [str(number) for number in range(1, len(stopped) + 21)]
    await page.page.reload()
    await page.is_connected()
    await page.page.get_by_test_id("continue").click()
    await expect(page.answers.last).to_contain_text(f" {len(continued) + 20}")
    again = (await page.ends("length")).split()
    assert again == [str(number) for number in range(1, len(continued) + 21)]
    await expect(page.answers).to_have_count(1)


async def test_a_reload_amid_a_continued_answer_loses_nothing(
    start_server: StartServer, open_page: OpenPage
) -> None:
    """What was said before the stop stays before what is said now."""
    server = start_server(*COUNTING)
    page = await open_page(server.url)
    await page.ask("count")
    await expect(page.answers.last).to_contain_text("8 9 10")
    await page.stop.click()
    stopped = (await page.ends("stopped")).split()
    await page.set("maxTokens", "100")
    await page.page.get_by_test_id("continue").click()
    await expect(page.answers.last).to_contain_text(f" {len(stopped) + 10} ")
    await page.page.reload()
    text = (await page.ends("length")).split()
    assert text == [str(number) for number in range(1, len(stopped) + 101)]


async def test_two_tabs_show_the_same(start_server: StartServer, open_page: OpenPage) -> None:
    """A second tab follows the running answer, and what the first tab asks next."""
    server = start_server(*COUNTING)
    first = await open_page(server.url)
    await first.set("maxTokens", "100")
    await first.ask("count")
    await expect(first.answers.last).to_contain_text("8 9 10")
    second = await first.another_tab()
    await second.open_chat("count")
    await expect(second.answers.last).to_have_attribute("data-state", "running")
    assert await second.ends("length") == await first.ends("length")
    await first.ask("count again")
    await expect(second.questions).to_have_count(2)
    await second.stop.click()
    assert await second.ends("stopped") == await first.ends("stopped")


async def test_a_conversation_outlives_the_server(
    start_server: StartServer, open_page: OpenPage, tmp_path: Path
) -> None:
    """After kill -9 in the middle of an answer both are there, and the answer can be continued."""
    data = ("--data-dir", str(tmp_path / "data"))
    server = start_server(*COUNTING, *data)
    page = await open_page(server.url)
    await page.ask("count")
    await expect(page.answers.last).to_contain_text(" 70 ")
    server.kill()
    start_server(*COUNTING, *data, "--port", str(urlsplit(server.url).port))
    await page.is_connected()
    await page.page.reload()
    await page.is_connected()
    await expect(page.questions).to_contain_text("count")
    # The answer was written down at least once a second.
    kept = (await page.ends("error")).split()
    assert kept == [str(number) for number in range(1, len(kept) + 1)]
    assert len(kept) >= 15
    await page.set("maxTokens", "10")
    await page.page.get_by_test_id("continue").click()
    assert len((await page.ends("length")).split()) == len(kept) + 10


async def test_chats_are_found_and_deleted(start_server: StartServer, open_page: OpenPage) -> None:
    """The newest first; a deleted one is gone for the server, too."""
    server = start_server("--model", "synthetic:?tps=0")
    page = await open_page(server.url)
    await page.set("maxTokens", "3")
    for title in ("first", "second"):
        await page.page.get_by_test_id("new-chat").click()
        await page.ask(title)
        await page.ends("length")
    await page.page.get_by_test_id("toggle-sidebar").click()
    chats = page.page.get_by_test_id("chat")
    await expect(chats).to_have_text(["second", "first"])
    await page.open_chat("first")
    await expect(page.questions).to_contain_text("first")
    await page.page.get_by_label("Delete first").click()
    await page.page.get_by_label("Really delete first").click()
    await expect(chats).to_have_text(["second"])
    await expect(page.questions).to_have_count(0)
    await page.page.reload()
    await page.is_connected()
    await page.page.get_by_test_id("toggle-sidebar").click()
    await expect(chats).to_have_text(["second"])


async def test_chats_are_searched_and_renamed(
    start_server: StartServer, open_page: OpenPage
) -> None:
    """What is typed finds titles and messages; a new title is kept, Escape leaves the old one."""
    server = start_server("--model", "synthetic:?tps=0")
    page = await open_page(server.url)
    await page.set("maxTokens", "3")
    for title in ("What is a violin?", "What is a drum?"):
        await page.page.get_by_test_id("new-chat").click()
        await page.ask(title)
        await page.ends("length")
    await page.page.get_by_test_id("toggle-sidebar").click()
    chats = page.page.get_by_test_id("chat")
    field = page.page.get_by_test_id("chat-title")
    await page.page.get_by_label("Rename What is a drum?").click()
    await field.fill("Percussion")
    await field.press("Enter")
    await expect(chats).to_have_text(["Percussion", "What is a violin?"])
    await page.page.get_by_label("Rename What is a violin?").click()
    await field.fill("Strings")
    await field.press("Escape")
    await expect(chats).to_have_text(["Percussion", "What is a violin?"])
    search = page.page.get_by_test_id("search-chats")
    await search.fill("drum")
    await expect(chats).to_have_text(["Percussion"])
    await search.fill("violin")
    await expect(chats).to_have_text(["What is a violin?"])
    await search.fill("cello")
    await expect(chats).to_have_count(0)
    await expect(page.page.get_by_text("No chat has that.")).to_be_visible()
    await search.fill("")
    await page.page.reload()
    await page.is_connected()
    await page.page.get_by_test_id("toggle-sidebar").click()
    await expect(chats).to_have_text(["Percussion", "What is a violin?"])
