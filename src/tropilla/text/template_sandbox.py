"""The Jinja environment in which chat templates run: immutable, sandboxed, metered.

Jinja's sandbox keeps a template from reaching Python's internals but bounds only `range()`. Here every
loop turn, call, filter, operator, literal and printed value passes a meter, which the compiled template
finds because its syntax tree is rewritten: nothing else can interrupt nested loops in plain code.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import wraps
from typing import Any

from jinja2 import nodes, pass_context
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.lexer import Token, TokenStream
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from tropilla.text import template_limits as limits
from tropilla.text.template_growth import BOUNDS, ITERATING, bound_iteration, bound_method
from tropilla.text.template_limits import Meter, TemplateLimitError

# Any, here and below: a template's values have whatever type the template gives them.
Filter = Callable[..., Any]

# What released templates use. Filters left out can make much from little, or mean nothing in a prompt.
FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "groupby",
    "indent", "int", "items", "join", "last", "length", "list", "lower", "map", "max", "min", "reject",
    "rejectattr", "replace", "reverse", "round", "safe", "select", "selectattr", "sort", "string", "title",
    "trim", "truncate", "unique", "upper", "urlencode", "wordcount",
)  # fmt: skip
_TEXT_METHODS = (
    "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha", "isascii",
    "isdecimal", "isdigit", "islower", "isnumeric", "isspace", "istitle", "isupper", "join", "lower",
    "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rpartition",
    "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title", "upper",
)  # fmt: skip
_METHODS: Mapping[type, tuple[str, ...]] = {
    str: _TEXT_METHODS,
    dict: ("get", "items", "keys", "values", "copy"),
    list: ("count", "index", "copy"),
    tuple: ("count", "index", "grouper", "list"),  # the last two are what groupby gives
    int: (),
    float: ("is_integer",),
}


class ChatEnvironment(ImmutableSandboxedEnvironment):
    """Compile and run chat templates with what their authors expect and within limits.

    `metered` gives the meter to the renders of the calling thread.
    """

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # constants would be folded while compiling, where no meter runs
            extensions=[GenerationTag, loopcontrols],
            finalize=_finalize,
        )
        self._running = threading.local()
        self.filters = {name: self._metered_filter(name, self.filters[name]) for name in FILTERS}
        self.filters["tojson"] = self._metered_filter("tojson", to_json)
        self.globals = {
            "range": self.globals["range"],
            "dict": plain_dict,
            "namespace": PlainNamespace,
            "cycler": self.globals["cycler"],
            "joiner": self.globals["joiner"],
            "raise_exception": raise_exception,
            "strftime_now": strftime_now,
        }

    @property
    def meter(self) -> Meter:
        """Return the meter of the render that runs in this thread."""
        meter: Meter = self._running.meter
        return meter

    def run_metered(self, meter: Meter) -> None:
        """Charge whatever this thread renders from now on to the meter."""
        self._running.meter = meter

    # What the rewritten syntax tree calls.

    def tick(self, chars: int) -> str:
        """Charge one turn of a loop or one call of a macro whose own text has this many characters."""
        return self.meter.tick(chars)

    def ticked(self, value: object) -> object:
        """Charge a comparison or the condition of a loop; returns the value."""
        self.meter.tick()
        return value

    def checked(self, value: object) -> object:
        """Return a value once its size is known to be bounded."""
        return self.meter.checked(value)

    def concatenated(self, *values: object) -> str:
        """Do the work of the ~ operator."""
        return self.meter.checked("".join(self.meter.checked(str(value)) for value in values))

    # What Jinja's sandbox calls.

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _instrument(tree)
        return tree

    def _tokenize(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> TokenStream:
        stream = super()._tokenize(source, name, filename, state)
        return TokenStream(_at_most_tokens(stream), stream.name, stream.filename)

    def wrap_str_format(self, value: Any) -> None:
        """Leave str.format out: the sandbox's own version of it pads without limit."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Return whether a template may read an attribute: of plain data, only harmless methods."""
        for plain, names in _METHODS.items():
            if isinstance(obj, plain):
                return attr in names
        return super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Apply an operator whose result could be larger than its operands."""
        if operator == "*":
            self.meter.allow(limits.product_chars(left, right))
        elif operator == "**":
            limits.check_power(left, right)
        elif operator == "%" and isinstance(left, str):
            limits.check_format(left)
            self.meter.allow(len(left) + left.count("%") * self.meter.measure(right).chars)
        return self.meter.checked(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805  (Jinja's names, free of the keywords a template may use)
        """Call what a template calls; methods of texts that can grow are bounded beforehand."""
        meter = __self.meter
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if isinstance(owner, str):
            args = bound_method(meter, name, owner, args)
        meter.tick()
        return meter.checked(super().call(__context, __obj, *args, **kwargs))

    def _metered_filter(self, name: str, function: Filter) -> Filter:
        n_passed = 1 if hasattr(function, "jinja_pass_arg") else 0
        bound = BOUNDS.get(name)

        @wraps(function)  # carries over jinja_pass_arg, Jinja's mark for what comes first
        def metered(*args: Any, **kwargs: Any) -> Any:
            meter = self.meter
            passed, given = args[:n_passed], args[n_passed:]
            meter.tick()
            if bound is not None:
                given, kwargs = bound(meter, *given, **kwargs), {}
            elif name in ITERATING:
                given = (bound_iteration(meter, given[0]), *given[1:])
            return meter.checked(function(*passed, *given, **kwargs))

        return metered


class PlainNamespace(Namespace):
    """Jinja's namespace, without names that start with an underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # so that namespace(self=...) works
        self, *given = args
        for name in dict(*given, **kwargs):
            _refuse_underscore(name)
        Namespace.__init__(self, *given, **kwargs)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_underscore(name)
        super().__setitem__(name, value)

    def __repr__(self) -> str:
        return "<Namespace>"  # Jinja's prints its values, and theirs: a bomb when they are namespaces


def _refuse_underscore(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace cannot hold {name!r}; its names must not start with an underscore")


class TemplateRefusalError(TemplateError):
    """Carry what a template says when it refuses its messages."""


class GenerationTag(Extension):
    """Accept `{% generation %}`, with which authors mark the assistant's text for training."""

    tags = {"generation"}  # noqa: RUF012  (Jinja declares it so)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return the tag's body, unchanged."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _at_most_tokens(stream: TokenStream) -> Iterator[Token]:
    for n_tokens, token in enumerate(stream):
        if n_tokens >= limits.MAX_TOKENS:
            raise TemplateLimitError(f"has more than {limits.MAX_TOKENS} tokens")
        yield token


def plain_dict(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    """Make a dict; the type itself would lend templates its methods, `dict.update` among them."""
    return dict(*args, **kwargs)


def raise_exception(message: str) -> None:
    """Let a template refuse its messages."""
    raise TemplateRefusalError(message)


def strftime_now(pattern: str) -> str:
    """Return today's date in a template's format."""
    limits.check_format(pattern)
    if len(pattern) > limits.MAX_DATE_FORMAT:
        raise TemplateLimitError("asks for a date in a format that is too long")
    return datetime.now().strftime(pattern)


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write JSON as template authors expect it: not escaped for HTML, unlike Jinja's own filter."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


@pass_context  # keeps Jinja from finalizing constants while it compiles
def _finalize(context: Context, value: object) -> object:
    environment = context.environment
    assert isinstance(environment, ChatEnvironment)
    return environment.checked(value if isinstance(value, str) else str(environment.checked(value)))


def _instrument(node: nodes.Node) -> nodes.Node:
    """Rewrite a syntax tree, from the leaves up, so that whatever it does passes the meter."""
    for name, value in node.iter_fields():
        if isinstance(value, nodes.Node):
            setattr(node, name, _instrument(value))
        elif isinstance(value, list):
            setattr(node, name, [_instrument(v) if isinstance(v, nodes.Node) else v for v in value])
    if isinstance(node, nodes.For) and node.test is not None:
        node.test = _call("ticked", node.test)
    if isinstance(node, nodes.For | nodes.Macro | nodes.Block | nodes.CallBlock):
        return _with_tick(node)
    if isinstance(node, nodes.Compare):
        node.expr = _call("ticked", node.expr)
    elif isinstance(node, nodes.Concat):
        return _call("concatenated", *node.nodes)
    elif isinstance(node, nodes.List | nodes.Dict) or (isinstance(node, nodes.Tuple) and node.ctx == "load"):
        constant = all(isinstance(child, nodes.Const) for child in node.iter_child_nodes())
        return node if constant else _call("checked", node)
    return node


def _with_tick(node: nodes.For | nodes.Macro | nodes.Block | nodes.CallBlock) -> nodes.Node:
    chars = sum(len(text.data) for statement in node.body for text in _texts_in(statement))
    node.body.insert(0, nodes.ExprStmt(_call("tick", nodes.Const(chars)), lineno=node.lineno))
    return node


def _texts_in(node: nodes.Node) -> Iterable[nodes.TemplateData]:
    return [node] if isinstance(node, nodes.TemplateData) else node.find_all(nodes.TemplateData)


def _call(method: str, *arguments: nodes.Node) -> nodes.Call:
    """Return a call of one of the environment's own methods."""
    return nodes.Call(nodes.EnvironmentAttribute(method), list(arguments), [], None, None)
