"""Labels that must not be seen."""

from __future__ import annotations

#: Stands in for a class index that training must not see. Float targets are hidden by nan.
HIDDEN = -1
