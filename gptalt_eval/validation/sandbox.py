"""Jinja for templates of task YAMLs: they see the row's values and nothing of this process, and end soon."""

from __future__ import annotations

import ast
import datetime
import re
import time
from collections.abc import Callable, Iterable, Mapping
from types import CodeType
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame, operators
from jinja2.exceptions import SecurityError
from jinja2.sandbox import SandboxedEnvironment

from gptalt_eval.machine.bounds import limit_time
from gptalt_eval.validation.effort import (
    FREE,
    TESTS,
    Effort,
    EffortError,
    make_list,
    refuse_fields,
)

#: values whose methods compute and do nothing else; a picture's ``save`` would write a file
PLAIN = (
    str, bytes, int, float, complex, bool, list, tuple, dict, set, frozenset, type(None), datetime.date,
    datetime.time, datetime.timedelta, jinja2.Undefined, jinja2.runtime.LoopContext, jinja2.runtime.Context,
    jinja2.runtime.Macro, jinja2.runtime.TemplateReference, jinja2.utils.Namespace, jinja2.utils.Cycler,
    jinja2.utils.Joiner, Mapping,
)  # fmt: skip


class WeighingGenerator(CodeGenerator):
    """Writes the Python of a template so that values are weighed where Python makes or compares them."""

    def weigh(self, node: nodes.Node, frame: Frame) -> None:
        if isinstance(node, nodes.Const):
            self.visit(node, frame)
            return
        self.write("environment.effort.weigh(")
        self.visit(node, frame)
        self.write(")")

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        """What is written out: texts are counted when they are joined, other values before that."""
        super()._output_child_pre(node, frame, finalize)
        self.write("w if (w := ")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        self.write(").__class__ is str else environment.effort.weigh(w)")
        super()._output_child_post(node, frame, finalize)

    def visit_List(self, node: nodes.List, frame: Frame) -> None:
        self.write("environment.effort.weigh(")
        super().visit_List(node, frame)
        self.write(")")

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:
        if node.ctx != "load":
            super().visit_Tuple(node, frame)
            return
        self.write("environment.effort.weigh(")
        super().visit_Tuple(node, frame)
        self.write(")")

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:
        self.write("environment.effort.weigh(")
        super().visit_Dict(node, frame)
        self.write(")")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.join_parts(context, (")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:
        self.write("(")
        self.weigh(node.expr, frame)
        for operand in node.ops:
            self.visit(operand, frame)
        self.write(")")

    def visit_Operand(self, node: nodes.Operand, frame: Frame) -> None:
        self.write(f" {operators[node.op]} ")
        self.weigh(node.expr, frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:
        if not isinstance(node.arg, nodes.Slice):
            super().visit_Getitem(node, frame)
            return
        self.weigh(node.node, frame)
        self.write("[")
        self.visit(node.arg, frame)
        self.write("]")


class CountTurns(ast.NodeTransformer):
    """Counts every turn of every loop of a template's Python."""

    def visit_For(self, node: ast.For) -> ast.For:
        self.generic_visit(node)
        turn = ast.parse("environment.effort.take()").body[0]
        for each in ast.walk(turn):
            ast.copy_location(each, node)
        node.body.insert(0, turn)
        return node


class BoundedTemplate(jinja2.Template):
    environment: Sandbox

    def render(self, *args: Any, **named: Any) -> str:
        """The rendered template.

        Raises:
            EffortError: it takes too much.
        """
        self.environment.effort.begin((args, named))
        try:
            return super().render(*args, **named)
        except RecursionError as error:
            raise EffortError("its macros or loops call themselves without end") from error


class Sandbox(SandboxedEnvironment):
    """lm-eval's Jinja environment without access to this process, and without templates that do not end.

    Args:
        own: lm-eval's environment, whose settings, filters and tests are taken over; None: the settings that
            its releases have, without its filters.
    """

    code_generator_class = WeighingGenerator
    intercepted_binops = frozenset(("*", "**", "%", "+"))

    def __init__(self, own: jinja2.Environment | None = None) -> None:
        if own is None:
            own = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
        self.effort = Effort()
        super().__init__(
            undefined=own.undefined,
            keep_trailing_newline=own.keep_trailing_newline,
            trim_blocks=own.trim_blocks,
            lstrip_blocks=own.lstrip_blocks,
            autoescape=own.autoescape,
        )
        self.filters.update(own.filters)
        self.tests.update(own.tests)
        self.filters["regex_replace"] = self.replace_pattern
        for name, function in self.filters.items():
            self.filters[name] = function if name in FREE else self.effort.guard(name, function)
        for name in TESTS & self.tests.keys():
            test: Any = self.tests[name]
            self.tests[name] = self.effort.guard(name, test)

    # ------------------------------------------------------------------ access

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may read this attribute: of other objects than plain values, no methods."""
        if type(obj) is str:  # nearly all are, and Jinja's own checks of other types take long
            return not attr.startswith("_")
        if not super().is_safe_attribute(obj, attr, value):
            return False
        return isinstance(obj, PLAIN) or not callable(value)

    def unsafe_undefined(self, obj: Any, attribute: str) -> jinja2.Undefined:
        """Refuse at once: what is merely undefined, a filter could turn into something else."""
        raise SecurityError(f"it reads {attribute!r} of a {type(obj).__name__}")

    # ------------------------------------------------------------------ effort

    def _compile(self, source: str, filename: str) -> CodeType:
        """Jinja's hook between the template's Python and its byte code."""
        return compile(CountTurns().visit(ast.parse(source)), filename, "exec")

    def call(self, context: Any, function: Any, /, *arguments: Any, **named: Any) -> Any:
        if arguments and getattr(function, "__name__", "") == "join":
            arguments = tuple(make_list(each) for each in arguments)
        self.effort.weigh_call(function, arguments, named)
        return super().call(context, function, *arguments, **named)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        self.effort.weigh_operation(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        made = super().wrap_str_format(value)
        if made is None:
            return None

        def fill(*args: Any, **named: Any) -> str:
            inner = [each for value in args if isinstance(value, Mapping) for each in value.values()]
            refuse_fields(value.__self__, [*args, *named.values(), *inner])
            return str(made(*args, **named))

        return fill

    def join_parts(self, context: Any, parts: tuple[Any, ...]) -> str:
        """What ``~`` makes."""
        self.effort.weigh(parts)
        join = jinja2.runtime.markup_join if context.eval_ctx.autoescape else jinja2.runtime.str_join
        return join(parts)

    def concat(self, parts: Iterable[str]) -> str:
        """The texts that a template, macro or block wrote, joined."""
        texts = list(parts)
        self.effort.take(len(texts) + (sum(map(len, texts)) >> 2))
        return "".join(texts)

    def replace_pattern(self, string: Any, pattern: Any, repl: Any, count: int = 0) -> str:
        """lm-eval's filter ``regex_replace``."""

        def expand(match: re.Match[str]) -> str:
            text = match.expand(repl)
            self.effort.take(1 + (len(text) >> 2))
            return text

        began = time.process_time()
        try:
            with limit_time(max(self.effort.seconds, 0.001)):
                return re.sub(pattern, expand if isinstance(repl, str) else repl, string, count=count)
        except TimeoutError as error:
            raise EffortError(f"its regular expression {pattern!r:.80} does not end") from error
        finally:
            self.effort.seconds -= time.process_time() - began


Sandbox.template_class = BoundedTemplate
