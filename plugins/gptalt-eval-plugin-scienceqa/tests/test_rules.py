from gptalt_eval.testing import check_plugin


def test_it_keeps_the_rules_for_plugins():
    assert check_plugin("scienceqa") == []
