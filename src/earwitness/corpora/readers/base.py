"""What every reader gives (`corpora.imported`), under the name that readers use."""

from __future__ import annotations

from earwitness.corpora.imported import Imported, Reader

__all__ = ["Imported", "Reader"]
