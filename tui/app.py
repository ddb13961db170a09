"""The application: it owns the engine and the library, tells the screens what happened, and does what they ask for."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

from textual import events, on
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.timer import Timer

from mlx_mixer.errors import MixerError
from mlx_mixer.paths import Paths
from mlx_mixer.safe_text import safe_text
from mlx_mixer.training.follow import check_run
from tui import crash, messages
from tui.adapting import Adapting
from tui.asking import Asking
from tui.commands import ContextCommands, commands_of
from tui.draft import load_draft
from tui.engine import Engine
from tui.events import EmbedderReady, EngineEvent, LibraryEvent, SearchAdapted
from tui.external import ExternalEditor
from tui.following import EmbedderFollower
from tui.keeping import Keeper, write_text
from tui.keymap import Keys, bind, key_name
from tui.librarian import Librarian
from tui.models_on_disk import list_models
from tui.preferences import Preferences, load_preferences
from tui.reducer import apply_event, needs_bundled_model
from tui.screens.chat import ChatScreen
from tui.screens.help import EDITING_KEYS, HelpScreen
from tui.screens.models import Choice, ModelPicker
from tui.screens.path_dialog import PathDialog, check_new_file, check_readable
from tui.screens.prompt import PromptScreen
from tui.screens.search import SearchScreen
from tui.screens.training import TrainingScreen
from tui.screens.write import WriteScreen
from tui.session import Session
from tui.terminal import terminal_problem
from tui.themes import THEMES
from tui.widgets.plain import notice, short_path

DRAFT_SECONDS = 1.0
QUIT_AGAIN_SECONDS = 2.0
STOP_SECONDS = 0.5
"""How long quitting waits for a thread that is at work; loading a model cannot be interrupted."""

MODES: tuple[messages.Mode, ...] = ("write", "search", "chat")

_SIGNALS = {signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGINT: 130}
# Between two looks whether the terminal is still there.
_LOOK_SECONDS = 1.0


class MixerApp(App[int]):
    """Write and search."""

    TITLE = "mlx-mixer"
    CSS_PATH = "mixer.tcss"
    COMMANDS = frozenset({ContextCommands})  # type: ignore[assignment]  # it is only read
    COMMAND_PALETTE_BINDING = "ctrl+p"
    CLOSE_TIMEOUT = 0.5

    BINDINGS: ClassVar[list[BindingType]] = [
        # The bar at the top shows the keys of the screens, so the footer need not.
        bind("view.write", "mode('write')", "Write", "Go to the text.", show=False),
        bind("view.search", "mode('search')", "Search", "Go to your documents.", show=False),
        # First, because a text area would select a line with it.
        bind("view.chat", "mode('chat')", "Chat", "Go to questions and answers.", show=False, priority=True),
        bind("view.other", "other_mode", "Other screen", "Change the screen.", show=False),
        bind("model.choose", "models", "Choose", "Choose the model that writes.", show=False),
        bind("text.save", "save", "Save", "Save the text to a file.", show=False),
        Binding("ctrl+p", "command_palette", "Commands", priority=True, tooltip="Everything that can be done here."),
        bind("app.help", "help", "Help", "The keys of this screen."),
        bind("app.quit", "quit", "Quit", "Leave. The text is kept.", show=False, priority=True),
        Binding("ctrl+c", "copy_or_quit", show=False, system=True),
    ]

    def __init__(
        self,
        *,
        engine: Engine,
        librarian: Librarian,
        paths: Paths,
        model: Path | None = None,
        keys: Keys | None = None,
    ) -> None:
        super().__init__()
        self._engine = engine
        self._librarian = librarian
        self._paths = paths
        self._keeper = Keeper(paths)
        preferences = load_preferences(paths.state)
        keys = keys or Keys()
        self.session = Session(model_path=model or preferences.model, settings=preferences.settings, keys=keys)
        self.set_keymap(dict(keys.chosen))
        self.write_screen = WriteScreen(self.session, load_draft(paths.data))
        self.search_screen = SearchScreen(self.session)
        self.chat_screen = ChatScreen(self.session)
        self._asking = Asking(self.session, engine, librarian)
        self._follower = EmbedderFollower(self.session)
        self._adapting = Adapting(self._reporter(messages.LibraryReport))
        self._query = ""
        self._draft_timer: Timer | None = None
        self._interrupted_at = float("-inf")
        self.failed_with: BaseException | None = None
        self.is_text_kept = False
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = preferences.theme if preferences.theme in self.available_themes else Preferences.theme
        self.add_mode("write", lambda: self.write_screen)
        self.add_mode("search", lambda: self.search_screen)
        self.add_mode("chat", lambda: self.chat_screen)

    # Starting and ending

    def on_mount(self) -> None:
        if not self.is_headless:
            self._handle_signals()
        self.switch_mode("write")
        self.call_after_refresh(self._start_work)

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number, code in _SIGNALS.items():
            loop.add_signal_handler(number, self._end, code)
        self.set_interval(_LOOK_SECONDS, self._end_without_terminal)

    def _end_without_terminal(self) -> None:
        # Whoever started the application may be told that the terminal has gone, and keep it to itself.
        if terminal_problem(os.environ, sys.__stdin__, sys.__stdout__):
            self._end(_SIGNALS[signal.SIGHUP])

    def _start_work(self) -> None:
        """Begin what takes time, now that there is something to see."""
        self._keeper.files.start()
        self._engine.start(self._reporter(messages.EngineReport))
        self._engine.load(self.session.model_path)
        self._librarian.start(self._reporter(messages.LibraryReport))

    def _reporter(
        self, message: Callable[[Any], messages.EngineReport | messages.LibraryReport]
    ) -> Callable[[Any], None]:
        def report(event: EngineEvent | LibraryEvent) -> None:
            if self.is_running:
                # The loop may close between the question and the post; nobody is left to tell then.
                with contextlib.suppress(RuntimeError):
                    self.post_message(message(event))

        return report

    async def action_quit(self) -> None:
        self._end(0)

    def _end(self, code: int) -> None:
        self.keep_draft()
        self.keep_preferences()
        self._engine.cancel()
        self._librarian.stop_indexing()
        self._adapting.stop()
        self.exit(return_code=code)

    def stop_work(self, timeout_seconds: float = STOP_SECONDS) -> bool:
        """End all threads; return whether none is left at work."""
        deadline = time.monotonic() + timeout_seconds
        stops = (self._engine.stop, self._librarian.stop, self._keeper.files.stop)
        # Every one is stopped, whether or not an earlier one ended in time.
        ended = [stop(max(0.0, deadline - time.monotonic())) for stop in stops]
        return all(ended)

    def keep_draft(self) -> bool:
        """Write the text to disk before leaving; return whether that was possible."""
        return self._keeper.keep_draft(self.write_screen.text)

    def keep_preferences(self) -> None:
        """Remember theme, model and settings."""
        self._keeper.keep_preferences(Preferences(self.theme, self.session.model_path, self.session.settings))

    # A failure shows one line, after the terminal is restored; the log gets places in the code and no text.

    def _handle_exception(self, error: Exception) -> None:
        self.failed_with = error
        crash.write_report(error, self._paths.log)
        with contextlib.suppress(Exception):  # whatever failed may have taken the text along
            self.is_text_kept = self.keep_draft()
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        self._close_messages_no_wait()

    def panic(self, *_: object) -> None:
        self._return_code = 1
        self._close_messages_no_wait()

    # Events of engine and library

    @on(messages.EngineReport)
    @on(messages.LibraryReport)
    def _show_event(self, message: messages.EngineReport | messages.LibraryReport) -> None:
        event = message.event
        apply_event(self.session, event)
        if needs_bundled_model(self.session, event):
            self._engine.load(None)
        if (name := self._follower.next_after(event)) is not None:
            self._engine.load_embedder(name)
        if isinstance(event, EmbedderReady) and (embedder := self._engine.embedder) is not None:
            self._librarian.attach(embedder)
        if isinstance(event, SearchAdapted):
            notice(self, event.summary)
            self._librarian.look_again()
        self._asking.take(event)
        for screen in (self.write_screen, self.search_screen, self.chat_screen):
            if screen.is_mounted:
                screen.show_event(event)

    async def on_event(self, event: events.Event) -> None:
        """Clean what is pasted before any widget sees it, Textual's own command palette included."""
        if isinstance(event, events.Paste):
            event.text = safe_text(event.text)
        await super().on_event(event)

    # What the screens ask for

    @on(messages.WritingRequested)
    def _write(self, message: messages.WritingRequested) -> None:
        self._engine.write(message.run, message.prompt, message.settings)

    @on(messages.WritingStopRequested)
    def _stop_writing(self) -> None:
        self._engine.cancel()

    @on(messages.SearchRequested)
    def _search(self, message: messages.SearchRequested) -> None:
        self._query = message.query
        self._librarian.search(message.serial, message.query)

    @on(messages.SimilarRequested)
    def _find_similar(self, message: messages.SimilarRequested) -> None:
        self._librarian.find_similar(message.serial, message.chunk_id, message.place)

    @on(messages.PassageRequested)
    def _open_passage(self, message: messages.PassageRequested) -> None:
        self._librarian.open_passage(message.chunk_id, self._query)

    @on(messages.ChatMessage)
    def _chat(self, message: messages.ChatMessage) -> None:
        if isinstance(message, messages.PromptWanted):
            self.push_screen(PromptScreen(message.prepared))
        else:
            self._asking.do(message)

    @on(messages.IndexingStopRequested)
    def _stop_indexing(self) -> None:
        self._librarian.stop_indexing()
        self._adapting.stop()

    @on(messages.FolderWanted)
    def _ask_for_folder(self) -> None:
        hint = "Text, Markdown and source code in it become searchable."
        self.push_screen(PathDialog("Add a file or folder", hint, check_readable), self._add_folder)

    def _add_folder(self, path: Path | None) -> None:
        if path is not None:
            self._librarian.add(path)

    @on(messages.ModeRequested)
    def _change_mode(self, message: messages.ModeRequested) -> None:
        self.action_mode(message.mode)

    @on(messages.DraftChanged)
    def _draft_changed(self) -> None:
        if self._draft_timer is not None:
            self._draft_timer.stop()
        self._draft_timer = self.set_timer(DRAFT_SECONDS, lambda: self._keeper.keep_draft_soon(self.write_screen.text))

    @on(messages.OpenRequested)
    def _open(self, message: messages.OpenRequested) -> None:
        self._with_editor(lambda editor: editor.open(Path(message.path), message.line))

    @on(messages.EditRequested)
    def _edit(self, message: messages.EditRequested) -> None:
        def edit(editor: ExternalEditor) -> None:
            self.write_screen.replace_text(editor.edit(message.text, message.line, folder=self._paths.state))

        self._with_editor(edit)

    def _with_editor(self, use: Callable[[ExternalEditor], None]) -> None:
        try:
            use(ExternalEditor(self, os.environ))
        except MixerError as error:
            notice(self, str(error), problem=True)

    @on(messages.ModelsListed)
    def _pick_model(self, message: messages.ModelsListed) -> None:
        self.push_screen(ModelPicker(message.models, self.session.model_path), self._load_model)

    def _load_model(self, choice: Choice | None) -> None:
        if choice is not None:
            self.session.model_path = choice.path
            self._engine.load(choice.path)

    def _save_text(self, path: Path | None) -> None:
        if path is None:
            return
        problem = write_text(path, self.write_screen.text)
        notice(self, problem or f"Saved to {short_path(path)}.", problem=problem is not None)

    # Commands

    def action_mode(self, mode: messages.Mode) -> None:
        self.switch_mode(mode)
        if mode == "search":
            self._librarian.look_again()  # another process may have added documents

    def action_other_mode(self) -> None:
        here = MODES.index(self.current_mode) if self.current_mode in MODES else -1
        self.action_mode(MODES[(here + 1) % len(MODES)])

    def action_models(self) -> None:
        listing = self._keeper.files.submit(lambda: tuple(list_models(self._paths.models)))
        listing.add_done_callback(lambda done: self.post_message(messages.ModelsListed(done.result())))

    def action_save(self) -> None:
        hint = "A new file; one that exists is left alone."
        self.push_screen(PathDialog("Save the text as", hint, check_new_file), self._save_text)

    def action_adapt(self) -> None:
        """Adapt the embedder to the library, in another process."""
        if self._adapting.is_running:
            notice(self, "Search is being adapted already.")
            return
        notice(self, "Adapting search to your files takes some minutes; everything works meanwhile.")
        self._adapting.start()

    def action_follow_run(self) -> None:
        hint = "What --out names, of a run that goes on in another terminal or has ended."
        self.push_screen(PathDialog("Follow a training run", hint, check_run, folders_only=True), self._follow)

    def _follow(self, folder: Path | None) -> None:
        if folder is not None:
            self.push_screen(TrainingScreen(folder))

    def action_help(self) -> None:
        keys = [(key, active.binding.tooltip) for active, key in commands_of(self.screen)]
        extra = EDITING_KEYS if self.current_mode == "write" else ()
        self.push_screen(HelpScreen(self.current_mode.capitalize(), [*keys, *extra]))

    def copy_to_clipboard(self, text: str) -> None:
        """Copy, also in Apple's Terminal, which ignores the escape sequence for it."""
        super().copy_to_clipboard(text)
        if sys.platform == "darwin" and "SSH_CONNECTION" not in os.environ:
            with contextlib.suppress(OSError):
                subprocess.run(["pbcopy"], input=text.encode(), check=False)

    def action_copy_or_quit(self) -> None:
        now = time.monotonic()
        if now - self._interrupted_at < QUIT_AGAIN_SECONDS:
            self._end(0)
            return
        self._interrupted_at = now
        notice(self, "Press Ctrl+C again to quit.")

    def get_key_display(self, binding: Binding) -> str:
        """Name a key as everywhere else, shorter: "^R"."""
        return key_name(binding.key).replace("Ctrl+", "^")

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:  # noqa: ARG002  # as inherited
        yield SystemCommand(
            "search: adapt to my files",
            "Learn what your documents mean, and keep it if it finds more",
            self.action_adapt,
        )
        yield SystemCommand("view: follow a training run", "Its loss, speed and time left", self.action_follow_run)
        yield SystemCommand("view: theme", "Change the colours: ink is dark, paper is light", self.action_change_theme)
