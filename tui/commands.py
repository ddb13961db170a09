"""The command palette: what can be done now, from the same declarations as the keys and the help."""

from collections.abc import Iterator
from functools import partial

from textual.binding import ActiveBinding, Binding
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.screen import Screen
from textual.types import IgnoreReturnCallbackType

from mlx_mixer.safe_text import safe_line


def commands_of(screen: Screen[object]) -> Iterator[tuple[ActiveBinding, str]]:
    """Yield each binding with an id that belongs here, once, with the key to show.

    Its `enabled` says whether it can be used now.
    """
    seen: set[str] = set()
    for active in screen.active_bindings.values():
        identity = active.binding.id
        if identity and identity not in seen:
            seen.add(identity)
            yield active, key_text(screen, active.binding)


def key_text(screen: Screen[object], binding: Binding) -> str:
    """Return a key as the footer shows it."""
    return screen.app.get_key_display(binding)


class ContextCommands(Provider):
    """Offers the commands of the screen below the palette, and after them those that have no key."""

    async def discover(self) -> Hits:
        for label, about, run in self._commands():
            yield DiscoveryHit(label, run, help=about)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(safe_line(query))
        for label, about, run in self._commands():
            score = max(matcher.match(label), 0.6 * matcher.match(about))
            if score > 0:
                yield Hit(score, matcher.highlight(label), run, help=about)

    def _commands(self) -> Iterator[tuple[str, str, IgnoreReturnCallbackType]]:
        # Leaving and help come last: everybody knows their keys.
        for active, key in sorted(commands_of(self.screen), key=lambda command: _area(command[0]) == "app"):
            if active.enabled:
                label = f"{_area(active)}: {active.binding.description.lower()}  ({key})"
                yield label, active.binding.tooltip, partial(self._run, active)
        for title, about, run, _ in self.app.get_system_commands(self.screen):
            yield title, about, run

    async def _run(self, active: ActiveBinding) -> None:
        await self.app.run_action(active.binding.action, active.node)


def _area(active: ActiveBinding) -> str:
    return (active.binding.id or "").partition(".")[0]
