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
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, on
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.timer import Timer

from mlx_mixer.errors import MixerError
from mlx_mixer.paths import Paths, default_paths
from mlx_mixer.safe_text import safe_text
from tui import crash, messages
from tui.commands import ContextCommands, commands_of
from tui.draft import load_draft, save_draft
from tui.engine import Engine, MlxEngine
from tui.events import EmbedderReady, EngineEvent, LibraryEvent
from tui.external import ExternalEditor
from tui.jobs import JobThread
from tui.keymap import Keys, bind, key_name, load_keys
from tui.librarian import Librarian
from tui.models_on_disk import list_models
from tui.preferences import Preferences, load_preferences, save_preferences
from tui.reducer import apply_event, begins_meaning, needs_bundled_model
from tui.screens.help import EDITING_KEYS, HelpScreen
from tui.screens.models import Choice, ModelPicker
from tui.screens.path_dialog import PathDialog, check_new_file, check_readable
from tui.screens.search import SearchScreen
from tui.screens.write import WriteScreen
from tui.session import Session
from tui.terminal import leave_by_force, screen_to_itself, terminal_problem
from tui.themes import THEMES
from tui.widgets.plain import notice, short_path

if TYPE_CHECKING:
    from mlx_mixer.documents.library import Library

DRAFT_SECONDS = 1.0
QUIT_AGAIN_SECONDS = 2.0
STOP_SECONDS = 0.5
"""How long quitting waits for a thread that is at work; loading a model cannot be interrupted."""

_SIGNALS = {signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGINT: 130}


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
        self._files = JobThread("files")
        preferences = load_preferences(paths.state)
        keys = keys or Keys()
        self.session = Session(model_path=model or preferences.model, settings=preferences.settings, keys=keys)
        self.set_keymap(dict(keys.chosen))
        self.write_screen = WriteScreen(self.session, load_draft(paths.data))
        self.search_screen = SearchScreen(self.session)
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

    def _start_work(self) -> None:
        """Begin what takes time, now that there is something to see."""
        self._files.start()
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
        self.exit(return_code=code)

    def stop_work(self, timeout_seconds: float = STOP_SECONDS) -> bool:
        """End all threads; return whether none is left at work."""
        deadline = time.monotonic() + timeout_seconds
        stops = (self._engine.stop, self._librarian.stop, self._files.stop)
        # Every one is stopped, whether or not an earlier one ended in time.
        ended = [stop(max(0.0, deadline - time.monotonic())) for stop in stops]
        return all(ended)

    def keep_draft(self) -> bool:
        """Write the text to disk before leaving; return whether that was possible."""
        try:
            save_draft(self._paths.data, self.write_screen.text)
        except OSError as error:
            crash.write_report(error, self._paths.log)
            return False
        return True

    def _keep_draft_soon(self) -> None:
        # On another thread: a disk may take its time, and someone is typing.
        text = self.write_screen.text
        self._files.submit(lambda: save_draft(self._paths.data, text))

    def keep_preferences(self) -> None:
        """Remember theme, model and settings; a disk that refuses them is no reason to bother anyone."""
        remembered = Preferences(self.theme, self.session.model_path, self.session.settings)
        with contextlib.suppress(OSError):
            save_preferences(self._paths.state, remembered)

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
        if begins_meaning(event) and self.session.meaning == "waiting":
            self._engine.load_embedder()
        if isinstance(event, EmbedderReady) and (embedder := self._engine.embedder) is not None:
            self._librarian.attach(embedder)
        for screen in (self.write_screen, self.search_screen):
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

    @on(messages.PassageRequested)
    def _open_passage(self, message: messages.PassageRequested) -> None:
        self._librarian.open_passage(message.chunk_id, self._query)

    @on(messages.IndexingStopRequested)
    def _stop_indexing(self) -> None:
        self._librarian.stop_indexing()

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
        self._draft_timer = self.set_timer(DRAFT_SECONDS, self._keep_draft_soon)

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
        try:
            path.write_text(self.write_screen.text, encoding="utf-8")
        except OSError as error:
            notice(self, f"{path} could not be written: {error.strerror}", problem=True)
        else:
            notice(self, f"Saved to {short_path(path)}.")

    # Commands

    def action_mode(self, mode: messages.Mode) -> None:
        self.switch_mode(mode)

    def action_other_mode(self) -> None:
        self.switch_mode("search" if self.current_mode == "write" else "write")

    def action_models(self) -> None:
        listing = self._files.submit(lambda: tuple(list_models(self._paths.models)))
        listing.add_done_callback(lambda done: self.post_message(messages.ModelsListed(done.result())))

    def action_save(self) -> None:
        hint = "A new file; one that exists is left alone."
        self.push_screen(PathDialog("Save the text as", hint, check_new_file), self._save_text)

    def action_help(self) -> None:
        keys = [(key, active.binding.tooltip) for active, key in commands_of(self.screen)]
        is_write = self.current_mode == "write"
        self.push_screen(HelpScreen("Write" if is_write else "Search", [*keys, *(EDITING_KEYS if is_write else ())]))

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
        yield SystemCommand("view: theme", "Change the colours: ink is dark, paper is light", self.action_change_theme)


def run(*, model: Path | None = None, library: Path | None = None) -> int:
    """Run the application in this terminal and return its exit code.

    Args:
        model: Folder of the model to write with; the one used last, or the bundled one, if omitted.
        library: File of the document library; the user's own if omitted.

    Returns:
        0 after an ordinary quit, 1 after a failure, 2 where there is no terminal, 128 + the signal's number after a
        signal.

    Raises:
        ConfigError: If the user's own keys cannot be read.
    """
    if problem := terminal_problem(os.environ, sys.__stdin__, sys.__stdout__):
        sys.stderr.write(f"mlx-mixer: {problem}\n")
        return 2
    paths = default_paths()
    crash.trim_log(paths.log)
    librarian = Librarian(_opener(library))
    app = MixerApp(engine=MlxEngine(), librarian=librarian, paths=paths, model=model, keys=load_keys(paths.config))
    with screen_to_itself(paths.log):
        app.run()
        has_ended = app.stop_work()
    code = app.return_code or 0
    if app.failed_with is not None:
        name = type(app.failed_with).__name__
        kept = "your text is kept" if app.is_text_kept else "your last changes may be lost"
        sys.stderr.write(f"mlx-mixer: stopped by an unexpected {name}; {kept}, details are in {paths.log}\n")
    if not has_ended:
        # Ending the interpreter while MLX is at work aborts the process; nothing is left to do but leave.
        leave_by_force(code)
    return code


def _opener(path: Path | None) -> "Callable[[], Library]":
    def open_library() -> "Library":
        from mlx_mixer.documents.library import Library  # imports the SQLite helpers: only on the library's own thread

        return Library(path)

    return open_library
