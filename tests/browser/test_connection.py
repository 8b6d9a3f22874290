"""What the page does when the connection goes: wires break, servers restart, pages reload."""

from __future__ import annotations

from urllib.parse import urlsplit

from playwright.async_api import expect

from tests.browser.cable import Cable
from tests.browser.conftest import OpenPage
from tests.conftest import StartServer


def counted(text: str) -> int:
    """How far a synthetic answer counted, having checked that it left nothing out."""
    numbers = text.split()
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)], text
    return len(numbers)


async def test_an_answer_survives_a_broken_wire(
    start_server: StartServer, open_page: OpenPage
) -> None:
    """The wire breaks midway; the answer goes on where it was and has every piece once."""
    server = start_server("--model", "synthetic:?tps=60")
    async with Cable(urlsplit(server.url).port or 0) as cable:
        page = await open_page(cable.url)
        await page.set("maxTokens", "150")
        await page.ask("count")
        await expect(page.answers.last).to_contain_text("18 19 20")
        await cable.cut()
        await expect(page.status).to_have_attribute("data-state", "waiting")
        await cable.mend()
        assert counted(await page.ends("length")) == 150
        await page.is_connected()


async def test_an_answer_survives_a_reload(start_server: StartServer, open_page: OpenPage) -> None:
    """Refreshed midway, the page finds the conversation and follows the answer to its end."""
    server = start_server("--model", "synthetic:?tps=60")
    page = await open_page(server.url)
    await page.set("maxTokens", "150")
    await page.ask("count")
    await expect(page.answers.last).to_contain_text("18 19 20")
    await page.page.reload()
    await page.is_connected()
    await expect(page.questions).to_contain_text("count")
    assert counted(await page.ends("length")) == 150


async def test_the_page_comes_back_when_the_server_does(
    start_server: StartServer, open_page: OpenPage
) -> None:
    """A restart is told, the text stays, the broken answer is marked, and asking goes on."""
    server = start_server("--model", "synthetic:?tps=60")
    page = await open_page(server.url)
    await page.ask("count")
    await expect(page.answers.last).to_contain_text("18 19 20")
    server.stop()
    await expect(page.status).not_to_have_attribute("data-state", "connected")
    start_server("--model", "synthetic:?tps=60", "--port", str(urlsplit(server.url).port))
    await page.is_connected()
    last = page.answers.last
    await expect(last).not_to_have_attribute("data-state", "running")
    assert counted(await page.text(last)) >= 20
    await page.ask("again")
    await expect(page.answers).to_have_count(2)
    await expect(page.answers.last).to_contain_text("1 2 3")
    await page.stop.click()
    await page.ends("stopped")


async def test_a_question_asked_while_offline_waits(
    start_server: StartServer, open_page: OpenPage
) -> None:
    """It is sent when the connection is back; one that was stopped meanwhile is not."""
    server = start_server("--model", "synthetic:?tps=100")
    async with Cable(urlsplit(server.url).port or 0) as cable:
        page = await open_page(cable.url)
        await cable.cut()
        await expect(page.status).to_have_attribute("data-state", "waiting")
        await page.ask("never mind")
        await page.stop.click()
        await page.ends("stopped")
        await page.ask("count")
        await page.page.get_by_test_id("reconnect-now").click()
        await cable.mend()
        await page.is_connected()
        await expect(page.answers.last).to_contain_text("1 2 3")
        await expect(page.answers.first).to_have_attribute("data-state", "stopped")
        await page.stop.click()
        await page.ends("stopped")
