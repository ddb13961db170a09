"""Models on the Hugging Face Hub: search, look before fetching, fetch with progress, stop and go on later."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from mlx_mixer.errors import MixerError
from mlx_mixer.transfer_meter import TransferMeter
from tui.models_on_disk import size_text
from tui.widgets.clean_input import CleanInput
from tui.widgets.plain import Plain, plain, plain_line

if TYPE_CHECKING:
    from convert.hub.process import HubTask

State = Literal["idle", "busy", "looked", "fetching"]

BAR_WIDTH = 14
"""So that a line about a download fits into the dialog."""

_KEYS: dict[State, str] = {
    "idle": "Enter search, or look at the one chosen   Esc back",
    "busy": "Esc stop",
    "looked": "Enter fetch it   Esc back",
    "fetching": "Esc stop, what has come is kept",
}
_HINT = "Nothing is sent but the words you search for. HF_TOKEN opens private and gated models."

_STOPPED = "Stopped. What has come is kept, and the next try goes on from there."


class HubDialog(ModalScreen[Path | None]):
    """Returns the folder of a model that was fetched, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "back", "Back", id="hub.back")]

    @dataclass
    class Progressed(Message):
        """A download has come further; posted from its thread."""

        progress: Mapping[str, Any]

    def __init__(self) -> None:
        super().__init__()
        self._state: State = "idle"
        self._hub_task: HubTask | None = None
        self._repos: list[str] = []
        self._offered = ""
        self._meter = TransferMeter(lambda count: size_text(int(count)), width=BAR_WIDTH, is_named=False)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Plain(plain("Models on the Hugging Face Hub", "bold"), classes="panel-title")
            yield CleanInput(placeholder="words of a name, or owner/name", compact=True)
            yield OptionList(compact=True)
            yield Plain(plain(_HINT, "$text-muted"), id="dialog-note")
            yield Plain(plain(_KEYS["idle"], "$text-muted"), classes="dialog-keys")

    def on_mount(self) -> None:
        self.query_one(OptionList).display = False
        self.query_one(CleanInput).focus()

    def on_unmount(self) -> None:
        self._stop()

    def action_back(self) -> None:
        """Stop what is going on; else go from an offer to the list, and from the list out."""
        if self._hub_task is not None:
            self._stop()
        elif self._state == "looked":
            self._enter("idle", plain(_HINT, "$text-muted"))
        else:
            self.dismiss(None)

    @on(Input.Changed)
    def _changed(self) -> None:
        if self._state == "looked":
            self._enter("idle", plain(_HINT, "$text-muted"))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        from convert.hub.reference import looks_like_reference

        query = event.value.strip()
        if self._state == "looked":
            self._fetch(self._offered)
        elif self._state == "idle" and looks_like_reference(query):
            self._look(query)
        elif self._state == "idle" and query:
            self._search(query)

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        repo = self._repos[event.option_index]
        if self._state == "looked" and repo == self._offered:
            self._fetch(repo)
        elif self._state in ("idle", "looked"):
            self._look(repo)

    @on(Progressed)
    def _progressed(self, message: Progressed) -> None:
        if self._state == "fetching":
            line = self._meter.line(message.progress)
            name = plain_line(message.progress["file"], "$text-muted")
            self._note(Content("\n").join([plain_line(line[:1].upper() + line[1:]), name]))

    @work(exclusive=True, exit_on_error=False)
    async def _search(self, query: str) -> None:
        from convert.hub.requests import SEARCH_SECONDS, search_task

        self._enter("busy", plain_line(f"Searching for {query} …", "$text-muted"))
        rows = await self._run(search_task(query), SEARCH_SECONDS)
        if rows is None:
            return
        self._repos = [row["repo"] for row in rows]
        results = self.query_one(OptionList)
        results.clear_options()
        results.add_options(Option(row_content(row)) for row in rows)
        results.display = bool(rows)
        self._enter("idle", plain(_HINT if rows else "Nothing was found.", "$text-muted"))
        if rows:
            results.highlighted = 0
            results.focus()

    @work(exclusive=True, exit_on_error=False)
    async def _look(self, repo: str) -> None:
        from convert.hub.outlook import Outlook
        from convert.hub.requests import LOOK_SECONDS, look_task

        self._enter("busy", plain_line(f"Looking at {repo} …", "$text-muted"))
        values = await self._run(look_task(repo), LOOK_SECONDS)
        if values is None:
            return
        outlook = Outlook.from_dict(values)
        if (obstacle := _obstacle(outlook)) is not None:
            self._enter("idle", plain(f"✗ {outlook.words} {obstacle}".strip(), "$text-error"))
            return
        self._offered = repo
        licence = f" Licence: {outlook.license}." if outlook.license else " No licence is named."
        self._enter("looked", plain(f"{outlook.words}{licence}"))

    @work(exclusive=True, exit_on_error=False)
    async def _fetch(self, repo: str) -> None:
        from convert.hub.requests import install_task

        self._enter("fetching", plain_line(f"Fetching {repo} …", "$text-muted"))
        done = await self._run(install_task(repo), None)
        if done is not None:
            self.dismiss(Path(done["path"]))

    async def _run(self, task: "HubTask", timeout_seconds: float | None) -> Any:  # what a task's result is
        """Run a task on a thread of its own; None after a failure, which is then shown, or a stop."""
        from convert.hub.process import TaskStoppedError

        self._hub_task = task
        try:
            return await asyncio.to_thread(task.wait, self._report, timeout_seconds=timeout_seconds)
        except MixerError as error:
            stopped = isinstance(error, TaskStoppedError)
            self._enter("idle", plain(_STOPPED, "$text-muted") if stopped else plain(f"✗ {error}", "$text-error"))
            return None
        finally:
            task.stop()
            self._hub_task = None

    def _report(self, progress: Mapping[str, Any]) -> None:
        self.post_message(self.Progressed(progress))

    def _stop(self) -> None:
        if self._hub_task is not None:
            self._hub_task.stop()

    def _enter(self, state: State, note: Content) -> None:
        if not self.is_mounted:
            return
        self._state = state
        self._note(note)
        self.query_one(".dialog-keys", Plain).show(plain(_KEYS[state], "$text-muted"))

    def _note(self, note: Content) -> None:
        self.query_one("#dialog-note", Plain).show(note)


def row_content(row: Mapping[str, Any]) -> Content:
    """Return one line about a repository that was found."""
    size = f"{row['parameters'] / 1e6:,.0f} M" if row["parameters"] else ""
    downloads = f"{row['downloads']:,} downloads" if row["downloads"] is not None else ""
    facts = [row["model_type"] or "", size, downloads, "gated" if row["is_gated"] else ""]
    about = " · ".join(fact for fact in facts if fact)
    return plain_line(row["repo"], "bold") + plain_line(f"  {about}", "$text-muted")


def _obstacle(outlook: Any) -> str | None:  # an Outlook, which is not imported before it is needed
    """Why a repository is not offered here; empty if its own words say so already, None if nothing is in the way."""
    if not outlook.works or not outlook.fits:
        return ""
    if outlook.kind == "transformer":
        return "This app writes with masked mixers; mlx-mixer models download fetches it for mlx-lm."
    return None
