"""The templates of pages, with the filters that they use."""

from __future__ import annotations

from pathlib import Path

import jinja2

from . import page_text
from .provenance import attempt_lines, log_of, moment


def page_template(path: Path) -> jinja2.Template:
    """The template of a page, with what all of ours use."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(path.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = {"percent": page_text.fixed, "number": page_text.number, "counted": page_text.counted}
    environment.filters |= {**text, "moment": moment, "log_of": log_of, "lines": attempt_lines}
    return environment.get_template(path.name)
