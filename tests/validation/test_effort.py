"""Templates that would not end, or would fill the memory: each is refused within a second, on every computer alike."""

import itertools
import resource
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from gptalt_eval.machine.bounds import limit_time
from gptalt_eval.validation.effort import UNITS, EffortError
from gptalt_eval.validation.sandbox import Sandbox

TWICE = "{% for a in range(60) %}"
GROWING = "{% set n = namespace(s='x', l=[1], t=(1,), d={}, i=3) %}" + TWICE
ENDLESS = {
    "nested loops": "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
    "a loop of nothing": "{% for a in range(99999) %}{% for b in range(99999) if false %}{% endfor %}{% endfor %}",
    "a recursive loop": "{% for a in q recursive %}{{ loop(q) }}{{ loop(q) }}{% endfor %}",
    "a macro that calls itself twice": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "a caller": "{% macro f(n) %}{{ caller() }}{% if n %}{% call f(n - 1) %}x{% endcall %}{% call f(n - 1) %}x{% endcall %}{% endif %}{% endmacro %}"
    "{% call f(60) %}x{% endcall %}",
    "a product": "{{ 'x' * 10 ** 9 }}",
    "a product from the left": "{{ 10 ** 9 * 'x' }}",
    "a list's product": "{{ [1] * 10 ** 9 }}",
    "a power": "{{ 9 ** (9 ** 9) }}",
    "a power of powers": GROWING + "{% set n.i = n.i ** 99 %}{% endfor %}",
    "squares": GROWING + "{% set n.i = n.i * n.i %}{% endfor %}{{ n.i }}",
    "a text doubled by +": GROWING + "{% set n.s = n.s + n.s %}{% endfor %}{{ n.s }}",
    "a text doubled by ~": GROWING + "{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}",
    "a text doubled by %": GROWING + "{% set n.s = '%s%s' % (n.s, n.s) %}{% endfor %}",
    "a text doubled by format": GROWING + "{% set n.s = '{0}{0}'.format(n.s) %}{% endfor %}",
    "a text doubled by a format's filter": GROWING + "{% set n.s = '%s%s' | format(n.s, n.s) %}{% endfor %}",
    "a text doubled by a block": GROWING + "{% set n.s %}{{ n.s }}{{ n.s }}{% endset %}{% endfor %}",
    "a text doubled by a macro": "{% macro f(s) %}{{ s }}{{ s }}{% endmacro %}" + GROWING + "{% set n.s = f(n.s) %}{% endfor %}",
    "a text doubled by join": GROWING + "{% set n.s = [n.s, n.s] | join %}{% endfor %}",
    "a text doubled by replace": GROWING + "{% set n.s = n.s.replace('x', 'xx') %}{% endfor %}",
    "a list doubled by +": GROWING + "{% set n.l = n.l + n.l %}{% endfor %}",
    "a list doubled by extend": GROWING + "{% set _ = n.l.extend(n.l) %}{% endfor %}",
    "lists in lists": GROWING + "{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l }}",
    "tuples in tuples": GROWING + "{% set n.t = (n.t, n.t) %}{% endfor %}{% set x = {n.t: 1} %}",
    "mappings in mappings": GROWING + "{% set n.d = {'a': n.d, 'b': n.d} %}{% endfor %}{{ n.d }}",
    "lists by append": GROWING + "{% set m = [] %}{% set _ = m.append(n.l) %}{% set _ = m.append(n.l) %}{% set n.l = m %}{% endfor %}{{ n.l }}",
    "lists that grow afterwards": "{% set a = [] %}{% set b = [] %}{% set c = [] %}{% for i in range(2000) %}{% set _ = c.append(b) %}{% endfor %}"
    "{% for i in range(2000) %}{% set _ = b.append(a) %}{% endfor %}{% for i in range(2000) %}{% set _ = a.append(1) %}{% endfor %}{{ c == [b, b] or c }}",
    "a filter's width": "{{ 'x' | center(10 ** 9) }}",
    "a method's width": "{{ 'x'.ljust(9999999999) }}",
    "zeros": "{{ '1'.zfill(9999999999) }}",
    "tabs": "{{ '\t'.expandtabs(9999999999) }}",
    "an indent": "{{ 'x' | indent(10 ** 9, first=true) }}",
    "many indents": "{{ ('x\n' * 50000) | indent(99999) }}",
    "a batch": "{{ [1] | batch(10 ** 9, 'x') | list }}",
    "slices": "{{ [1] | slice(10 ** 9) | list }}",
    "a format's width": "{{ '%9999999999d' % 1 }}",
    "a format's precision": "{{ '%.999999999f' % 1 }}",
    "a format's star": "{{ '%*d' % (9999999999, 1) }}",
    "a filter's format": "{{ '%9999999999d' | format(1) }}",
    "a field's width": "{{ '{:>9999999999}'.format(1) }}",
    "a field's nested width": "{{ '{:{w}}'.format(1, w=9999999999) }}",
    "a field's nested text": "{{ '{:{w}}'.format(1, w='>9999999999') }}",
    "a field's width in a mapping": "{{ '{x:{w}}'.format_map({'x': 1, 'w': 9999999999}) }}",
    "a replacement": "{% set s = 'x' * 99999 %}{{ s.replace('x', s) }}",
    "a replacement of nothing": "{% set s = 'x' * 99999 %}{{ s | replace('', s) }}",
    "a join": "{% set s = 'x' * 99999 %}{{ s.join(s) }}",
    "a filter's join": "{% set s = 'x' * 99999 %}{{ s | join(s) }}",
    "a join of what is made as it goes": "{% set s = 'x' * 99999 %}{{ range(99999) | map('string') | join(s) }}",
    "a translation": "{% set s = 'x' * 99999 %}{{ s.translate({120: s}) }}",
    "a wrap": "{% set s = 'x' * 99999 %}{{ s | wordwrap(1, wrapstring=s) }}",
    "a rounding": "{{ 5 | round(-999999999) }}",
    "bytes": "{{ (5).to_bytes(9999999999, 'big') }}",
    "words": "{{ lipsum(n=99999999) }}",
    "a pattern": "{{ ('a' * 40) | regex_replace('(a+)+$b', '') }}",
    "many slow patterns": "{% for a in range(999) %}{{ ('a' * 22) | regex_replace('(a+)+$b', '') }}{% endfor %}",
    "a pattern's text": "{% set s = 'x' * 50000 %}{{ s | regex_replace('', s) }}",
    "a pattern's group": "{{ ('x' * 50000) | regex_replace('(?=(.*))', '\\\\1') }}",
    "a comparison again and again": "{% set s = 'x' * 99999 %}{% set t = 'x' * 99999 %}{% for a in range(99999) %}{% if s == t %}{% endif %}{% endfor %}",
    "a search again and again": "{% set s = 'x' * 99999 %}{% for a in range(99999) %}{% if 'y' in s %}{% endif %}{% endfor %}",
    "a test again and again": "{% set s = range(99999) | list %}{% for a in range(99999) %}{% if s is eq s %}{% endif %}{% endfor %}",
    "a slice again and again": "{% set s = 'x' * 99999 %}{% for a in range(99999) %}{% set t = s[1:] %}{% endfor %}",
    "a method again and again": "{% set s = 'x' * 99999 %}{% for a in range(99999) %}{% set t = s.find('y') %}{% endfor %}",
    "long texts between loops": "{% for a in range(9999) %}" + "x" * 10000 + "{% endfor %}",
}  # fmt: skip
KEPT = {
    "{{ q | length * 2000000 }}": "2000000",
    "{{ '%d of 2000000' % 5000000 }}": "5000000 of 2000000",
    "{{ q[0] | default(7000000) }}{{ 3 if 3 is lt 7000000 }}": "a3",
    "{{ 2025 ** 2 }} {{ 'ab'.find('b', 0, 500000) }}": "4100625 1",
    "{{ '{:,} {:.3f}'.format(9000000, 0.5) }}": "9,000,000 0.500",
    "{{ dict(function=1, context=2).function }}": "1",
    "{{ range(50000) | sum }}": "1249975000",
    "{{ q | map('upper') | join('-') }}{{ '+'.join(q | map('upper')) }}": "AA",
    "{{ ('x' * 9999) | length }}": "9999",
    "{{ 'a1b22' | regex_replace('([a-z])([0-9]+)', '\\\\2\\\\1-') }}": "1a-22b-",
    "{% set l = [] %}{% for a in range(5000) %}{% set _ = l.append(a) %}{% endfor %}{{ l | length }}": "5000",
    "{{ ((1, 2) + (3,))[1:] ~ [1] }}{{ 3 in (1, 3) }}": "(2, 3)[1]True",
}  # fmt: skip


@pytest.fixture
def sandbox():
    """The sandbox with lm-eval's filters, in little memory: what is made before it is counted fails as well."""
    from gptalt_eval.running.lmeval.seams import find_environment

    env = find_environment()

    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else None
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (512 << 20), limits[1]))
    yield Sandbox(env)
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_template_without_end_is_refused(kind, sandbox):
    began = time.process_time()
    with pytest.raises(EffortError):
        sandbox.from_string(ENDLESS[kind]).render(q=["a"])
    assert time.process_time() - began < (3 if "pattern" in kind else 2)


@pytest.mark.parametrize("text", KEPT)
def test_numbers_and_lists_of_every_day_are_not_refused(text, sandbox):
    assert sandbox.from_string(text).render(q=["a"]) == KEPT[text]


def test_what_is_left_is_counted_anew_for_each_rendering(sandbox):
    template = sandbox.from_string("{% for a in range(n) %}x{% endfor %}")
    for _ in range(5):
        assert len(template.render(n=99_999)) == 99_999
    with pytest.raises(EffortError, match=f"more than {UNITS:,} steps"):
        sandbox.from_string("{% for a in range(9) %}{% for b in range(n) %}x{% endfor %}{% endfor %}").render(
            n=99_999
        )
    assert len(template.render(n=9)) == 9


def test_long_rows_may_take_more(sandbox):
    """Contexts of millions of characters are real; what a template makes of a short row is not."""
    text = "Read: {{ passage | trim }}{% for each in range(9) %}{{ passage }}{% endfor %}{% if passage == q %}!{% endif %}"
    passage = "word " * 600_000
    rendered = sandbox.from_string(text).render(passage=passage, q="a")
    assert len(rendered) == len("Read: ") + len(passage) * 10 - 1
    with pytest.raises(EffortError):
        sandbox.from_string("{% for each in range(99999) %}{{ passage }}{% endfor %}").render(passage=passage)


def test_the_limit_holds_outside_the_main_thread(sandbox):
    caught = []

    def render():
        try:
            sandbox.from_string(ENDLESS["nested loops"]).render(q=["a"])
        except EffortError as error:
            caught.append(error)

    thread = threading.Thread(target=render)
    thread.start()
    thread.join()
    assert len(caught) == 1


def exhaust_inner():
    with limit_time(0.1):
        pass
    for _ in itertools.count():
        pass


def test_limits_inside_each_other_end_in_time_and_leave_nothing():
    before = signal.getsignal(signal.SIGVTALRM)
    with pytest.raises(TimeoutError), limit_time(0.1), limit_time(5):
        for _ in itertools.count():
            pass
    with pytest.raises(TimeoutError, match=r"0\.3 s"), limit_time(0.3):
        exhaust_inner()
    assert signal.getsignal(signal.SIGVTALRM) is before and signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)
