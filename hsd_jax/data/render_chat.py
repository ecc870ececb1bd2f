"""Renders chat templates in a process of its own: a template comes with a model and may never end or eat all memory.

Run as a script: one JSON object on standard input, {"template", "variants"}, and {"rendered"} or {"error"} on standard
output. Jinja's sandbox gives the template no way to the machine. Extensions, filters and functions are those that
transformers gives its templates.
"""

import datetime
import json
import resource
import sys
from typing import Any

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

CPU_SECONDS, MEMORY_BYTES, LONGEST_RESULT = 5, 1 << 30, 1 << 20


class Generation(Extension):
    """`{% generation %}` marks what an assistant wrote; it changes no text."""

    tags = {"generation"}

    def parse(self, parser: Any) -> Any:
        """The statements between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def environment() -> jinja2.Environment:
    """A sandbox with what transformers' templates may use."""
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    made.filters["tojson"] = _to_json
    made.globals["raise_exception"] = _raise
    made.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return made


def _to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def main() -> None:
    """Reads the request, renders every variant, writes the answer."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    request = json.loads(sys.stdin.read())
    try:
        template = environment().from_string(request["template"])
        # encoded: half a surrogate pair is no text
        rendered = [template.render(**variant).encode().decode() for variant in request["variants"]]
        answer: dict[str, Any] = {"rendered": rendered}
        if max(map(len, rendered)) > LONGEST_RESULT:
            answer = {"error": f"renders more than {LONGEST_RESULT:,} characters around a short question"}
    except jinja2.TemplateSyntaxError as error:
        answer = {"error": f"has a syntax error in line {error.lineno}: {error.message}"}
    except MemoryError:
        answer = {"error": f"needs more than {MEMORY_BYTES >> 30} GiB to render"}
    except Exception as error:  # the template's own doing, whatever it is
        answer = {"error": f"cannot be rendered: {type(error).__name__}: {str(error)[:300]}"}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
