"""What can go wrong below the agent.

    EngineError
    ├── ModelError          a model that cannot be loaded, with what to do
    │   └── UnsafeWeights   a pickle checkpoint: refused, safetensors only
    ├── CaptureError        a component that torch.export cannot capture
    ├── BuildError          an engine that cannot be built or differs from eager
    ├── TechniqueError      a recipe that does not fit the model or itself
    ├── ScriptError         a candidate's script that breaks its contract
    ├── WorkloadError       prompts, size or steps that make no sense
    ├── MetricsError        a network of the metrics pack that cannot be fetched or used
    └── PackageError        a package that must not be trusted or cannot be written
        ├── PackageChanged  it is not as it was made
        ├── SignatureRefused  nobody who is trusted signed it
        └── NoVariant       none of its engines runs on this machine

    UserWarning
    └── FallbackWarning     a package runs on another of its engines than the first

The text of each is one sentence for the user: what was wrong with which
input, and what to do.
"""

from __future__ import annotations


class EngineError(Exception):
    """Base of everything that `engines` raises on purpose."""


class ModelError(EngineError):
    """A model that cannot be loaded."""


class HubTokenWanted(ModelError):
    """A hub model that the user's token, or the lack of one, keeps shut."""

    wants = "hub_token"
    """What would help, by the name of the worker's command that takes it."""


class UnsafeWeights(ModelError):
    """Weights in a format that can run code when read."""


class CaptureError(EngineError):
    """A component that cannot be captured."""


class BuildError(EngineError):
    """An engine that cannot be built, or that differs from eager."""


class TechniqueError(EngineError):
    """A recipe that fits neither the model, the target nor itself."""


class ScriptError(EngineError):
    """A candidate's script that breaks its contract."""


class WorkloadError(EngineError):
    """A workload that makes no sense."""


class MetricsError(EngineError):
    """A network that judges pictures cannot be fetched or used."""


class PackageError(EngineError):
    """A package that cannot be written or must not be trusted."""


class PackageChanged(PackageError):
    """A package with other files than its maker gave it, or that no maker would make."""


class SignatureRefused(PackageError):
    """A package that is not signed by the one who was asked for."""


class NoVariant(PackageError):
    """A package whose engines do not run on this machine."""


class FallbackWarning(UserWarning):
    """A package runs on another of its engines than the first; the text says which and why."""
