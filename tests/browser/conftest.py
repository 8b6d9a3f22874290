"""A real Chromium for each test. Servers come from the fixtures that all tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Browser, async_playwright, expect

from tests.browser.chat_page import ChatPage

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Without these a fresh Chromium asks its maker's hosts many things at every start.
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# As an answer may take: a page of a busy machine is slow, and no less right.
expect.set_options(timeout=20_000)

OpenPage = Callable[..., Awaitable[ChatPage]]


def find_chromium() -> str | None:
    """The browser to test with: $WSSERVER_TEST_BROWSER, else the first on the path."""
    named = os.environ.get("WSSERVER_TEST_BROWSER")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser with no history; the test is skipped where there is none."""
    executable = find_chromium()
    if executable is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=QUIET)
        yield browser
        await browser.close()


@pytest.fixture
async def open_page(browser: Browser) -> AsyncIterator[OpenPage]:
    """Opens the chat page, each time as another person; options are a browser context's."""

    async def open_page(url: str, **options: Any) -> ChatPage:
        context = await browser.new_context(**{"reduced_motion": "reduce", **options})
        page = ChatPage(await context.new_page())
        await page.open(url)
        return page

    yield open_page
