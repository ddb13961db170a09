"""Every error the product raises on purpose, in one tree.

    MixerError                  exit 1   something the user asked for could not be done
    ├── UsageError              exit 2   a wrong argument or setting
    │   └── ConfigError                  a model or application configuration that cannot be right
    ├── CheckpointError         exit 1   a model folder that is damaged or does not fit together
    ├── ConversionError         exit 1   a foreign checkpoint that cannot be converted
    ├── HubError                exit 1   the Hub, or the way to it, did not do what was asked
    ├── LibraryError            exit 1   the document library cannot do what was asked
    ├── ModelNotFoundError      exit 3   a model or file that is not there
    ├── UnsupportedModelError   exit 4   recognised, but not something this version runs
    └── ResourceError           exit 4   not enough memory or disk

A message is one line: what was received, what is allowed, what to do next. `exit_code` is what a command ends with.
"""


class MixerError(Exception):
    """Base of every deliberate error; its message is shown to the user as it is."""

    exit_code: int = 1


class UsageError(MixerError):
    """A wrong argument or setting."""

    exit_code = 2


class ConfigError(UsageError, ValueError):
    """A configuration that cannot be right."""


class CheckpointError(MixerError):
    """A model folder that is damaged or does not fit together."""


class ConversionError(MixerError):
    """A foreign checkpoint that cannot be converted."""


class HubError(MixerError):
    """The Hub, or the way to it, did not do what was asked."""


class LibraryError(MixerError):
    """The document library cannot do what was asked."""


class ModelNotFoundError(MixerError):
    """A model or file that is not there."""

    exit_code = 3


class UnsupportedModelError(MixerError):
    """A model that is recognised but not run by this version."""

    exit_code = 4


class ResourceError(MixerError):
    """Not enough memory or disk for what was asked."""

    exit_code = 4
