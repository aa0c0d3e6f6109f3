"""Where IBM's PyMM had its calls for transient memory, too."""

from ._transient import disable_transient_memory, enable_transient_memory

__all__ = ["disable_transient_memory", "enable_transient_memory"]
