"""The chat page as a person uses it: what can be seen and pressed, by its test ids."""

from __future__ import annotations

from playwright.async_api import ConsoleMessage, Locator, Page, expect

ANSWER_SECONDS = 20


class ChatPage:
    """One open page, and all that its console said."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        page.on("request", lambda request: self.requested.append(request.url))
        self.requested: list[str] = []

    @property
    def composer(self) -> Locator:
        """Where questions are written."""
        return self.page.get_by_test_id("composer")

    @property
    def send(self) -> Locator:
        """The button that sends; absent while an answer runs."""
        return self.page.get_by_test_id("send")

    @property
    def stop(self) -> Locator:
        """The button that stops; there only while an answer runs."""
        return self.page.get_by_test_id("stop")

    @property
    def status(self) -> Locator:
        """How the connection stands."""
        return self.page.get_by_test_id("status")

    @property
    def answers(self) -> Locator:
        """All answers, oldest first."""
        return self.page.locator("[data-testid=message][data-role=assistant]")

    @property
    def questions(self) -> Locator:
        """All questions, oldest first."""
        return self.page.locator("[data-testid=message][data-role=user]")

    async def open(self, url: str) -> None:
        """Load the page and wait for its connection."""
        await self.page.goto(url)
        await self.is_connected()

    async def is_connected(self) -> None:
        """Wait until it is."""
        await expect(self.status).to_have_attribute(
            "data-state", "connected", timeout=ANSWER_SECONDS * 1000
        )

    async def another_tab(self) -> ChatPage:
        """The same page once more in the same browser, for the same person."""
        tab = ChatPage(await self.page.context.new_page())
        await tab.open(self.page.url)
        return tab

    async def open_chat(self, title: str) -> None:
        """Choose a chat in the list, which stays open."""
        if not await self.page.get_by_test_id("sidebar").is_visible():
            await self.page.get_by_test_id("toggle-sidebar").click()
        await self.page.get_by_test_id("chat").filter(has_text=title).click()

    async def set(self, name: str, value: str) -> None:
        """Write a setting."""
        await self.page.get_by_test_id("open-settings").click()
        await self.page.get_by_test_id(f"setting-{name}").fill(value)
        await self.page.keyboard.press("Escape")

    async def ask(self, text: str) -> None:
        """Write a question and press Enter."""
        await self.composer.fill(text)
        await self.composer.press("Enter")

    async def ends(self, state: str = "complete") -> str:
        """Wait until the last answer ended in ``state``; returns its text."""
        last = self.answers.last
        await expect(last).to_have_attribute("data-state", state, timeout=ANSWER_SECONDS * 1000)
        return await self.text(last)

    async def text(self, answer: Locator) -> str:
        """The text of an answer without the page's own words around it."""
        return "".join(await answer.locator(".markdown").all_inner_texts())

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")
