"""The command palette: what can be done now, from the same declarations as the keys and the help."""

from collections.abc import Iterator
from functools import partial

from textual.binding import ActiveBinding, Binding
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.screen import Screen

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
    """Offers the commands of the screen below the palette."""

    async def discover(self) -> Hits:
        for active, key in _enabled(self.screen):
            label, about = _texts(active.binding, key)
            yield DiscoveryHit(label, partial(self._run, active), help=about)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(safe_line(query))
        for active, key in _enabled(self.screen):
            label, about = _texts(active.binding, key)
            score = max(matcher.match(label), 0.6 * matcher.match(about))
            if score > 0:
                yield Hit(score, matcher.highlight(label), partial(self._run, active), help=about)

    async def _run(self, active: ActiveBinding) -> None:
        await self.app.run_action(active.binding.action, active.node)


def _enabled(screen: Screen[object]) -> Iterator[tuple[ActiveBinding, str]]:
    return ((active, key) for active, key in commands_of(screen) if active.enabled)


def _texts(binding: Binding, key: str) -> tuple[str, str]:
    area = (binding.id or "").partition(".")[0]
    return f"{area}: {binding.description.lower()}  ({key})", binding.tooltip
