"""The rooms page as a person uses it: what can be seen and pressed, by its test ids."""

from __future__ import annotations

from urllib.parse import urlencode

from playwright.async_api import ConsoleMessage, Locator, Page, expect

ANSWER_SECONDS = 20


class RoomsPage:
    """One open page of one person, and all that its console said."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requested: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        page.on("request", lambda request: self.requested.append(request.url))

    def get(self, test_id: str) -> Locator:
        """What is called so for tests."""
        return self.page.get_by_test_id(test_id)

    @property
    def composer(self) -> Locator:
        """Where one writes."""
        return self.get("composer")

    @property
    def entries(self) -> Locator:
        """The log and the answers that are being made, in order."""
        return self.get("entry")

    @property
    def answers(self) -> Locator:
        """All answers, oldest first."""
        return self.page.locator("[data-testid=entry][data-role=assistant]")

    def member(self, name: str) -> Locator:
        """A person in the list of members."""
        return self.get("member").filter(has_text=name)

    async def open(self, url: str, *, room: str = "", name: str = "") -> None:
        """Load the page and wait for its connection, and for the room where one is named."""
        asked = {key: value for key, value in (("room", room), ("name", name)) if value}
        await self.page.goto(f"{url.rstrip('/')}/apps/rooms/?{urlencode(asked)}")
        await self.is_connected()
        if room and name:
            await self.is_inside()

    async def is_connected(self) -> None:
        """Wait until it is."""
        await expect(self.get("status")).to_have_attribute(
            "data-state", "connected", timeout=ANSWER_SECONDS * 1000
        )

    async def is_inside(self) -> None:
        """Wait until the room was entered."""
        await expect(self.composer).to_be_enabled(timeout=ANSWER_SECONDS * 1000)

    async def say(self, text: str) -> None:
        """Say something to everyone."""
        await self.get("mode-say").check(force=True)
        await self.composer.fill(text)
        await self.composer.press("Enter")

    async def ask(self, text: str) -> None:
        """Ask the model, whatever is chosen."""
        await self.composer.fill(text)
        await self.composer.press("Control+Enter")

    async def choose(self, name: str, action: str) -> None:
        """Do something about a member, by its menu."""
        await self.member(name).get_by_test_id("menu").click()
        await self.page.get_by_role("menuitem", name=action).click()

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
