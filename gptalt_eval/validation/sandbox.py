"""Jinja for templates of task YAMLs: they see the row's values and nothing of this process."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.sandbox import SandboxedEnvironment

#: values whose methods compute and do nothing else; a picture's ``save`` would write a file
PLAIN = (
    str, bytes, int, float, complex, bool, list, tuple, dict, set, frozenset, type(None), datetime.date,
    datetime.time, datetime.timedelta, jinja2.Undefined, jinja2.runtime.LoopContext, jinja2.runtime.Context,
    jinja2.runtime.Macro, jinja2.runtime.TemplateReference, jinja2.utils.Namespace, jinja2.utils.Cycler,
    jinja2.utils.Joiner,
)  # fmt: skip


class Sandbox(SandboxedEnvironment):
    """lm-eval's Jinja environment without access to this process.

    Args:
        own: lm-eval's environment, whose settings, filters and tests are taken over; None: the settings that
            its releases have, without its filters.
    """

    def __init__(self, own: jinja2.Environment | None = None) -> None:
        if own is None:
            own = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
        super().__init__(
            undefined=own.undefined,
            keep_trailing_newline=own.keep_trailing_newline,
            trim_blocks=own.trim_blocks,
            lstrip_blocks=own.lstrip_blocks,
            autoescape=own.autoescape,
        )
        self.filters.update(own.filters)
        self.tests.update(own.tests)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may read this attribute: of other objects than plain values, no methods."""
        if not super().is_safe_attribute(obj, attr, value):
            return False
        return isinstance(obj, (*PLAIN, Mapping)) or not callable(value)

    def unsafe_undefined(self, obj: Any, attribute: str) -> jinja2.Undefined:
        """Refuse at once: what is merely undefined, a filter could turn into something else."""
        raise SecurityError(f"it reads {attribute!r} of a {type(obj).__name__}")
