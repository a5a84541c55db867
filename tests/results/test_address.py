"""What a reader chooses on the report is in its address."""

from playwright.sync_api import Page


def open_report(open_tab, tmp_path, address=""):
    from gptalt_eval.results.page import make_policy, read_file

    script = read_file("gptalt_eval.results", "address.js")
    file = tmp_path / "page.html"
    policy = make_policy("", script)
    file.write_text(
        f'<!doctype html><html lang="en"><head><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>page</title></head><body><script>{script}</script></body></html>",
        encoding="utf-8",
    )
    return open_tab(file, address=address)


def test_what_is_chosen_is_in_the_address(open_tab, tmp_path):
    tab: Page = open_report(open_tab, tmp_path)
    text = "a&b=c#d 中文 ?%"
    tab.evaluate("text => { address.set('q', text); address.set('sort', 'mean'); }", text)
    assert tab.evaluate("address.get('q')") == text
    tab.reload()
    assert tab.evaluate("address.get('q')") == text, "a link shows the same"
    tab.evaluate("address.set('q', '')")
    assert tab.evaluate("[location.hash, address.get('q')]") == ["#sort=mean", ""]


def test_a_step_can_be_taken_back(open_tab, tmp_path):
    tab: Page = open_report(open_tab, tmp_path, "item=piqa%2F3")
    tab.evaluate("window.seen = []; address.onChange(() => seen.push(address.get('item')))")
    tab.evaluate("address.set('item', 'piqa/4', { isStep: true })")
    tab.go_back()
    tab.wait_for_function("seen.includes('piqa/3')")
