"""Making and changing judges: addresses, keys, names."""

import pytest

from pipeline.judging import judge_items, setup

pytestmark = pytest.mark.django_db


def test_a_key_is_not_kept_in_the_clear(judge):
    assert "sk-secret" not in judge.encrypted_key


@pytest.mark.parametrize("url", ["ftp://x/v1", "localhost:8000", "http://", "http://a b/v1", "http://x:99999/", ""])
def test_what_is_no_address_is_refused(project, url):
    with pytest.raises(setup.SetupError, match="address of an endpoint"):
        setup.create_endpoint_judge(project=project, name="x", base_url=url, model="m")


def test_an_address_loses_what_the_client_adds():
    assert setup.checked_url("http://vllm:8000/v1/chat/completions ") == "http://vllm:8000/v1"


def test_another_model_is_another_judge(judge, judged_item):
    setup.change_judge(judge=judge, model="careful-2")
    judged_item()
    judge_items(judge=judge)
    with pytest.raises(setup.SetupError, match="Another model is another judge"):
        setup.change_judge(judge=judge, model="careful-3")


def test_a_name_is_taken_once(judge, project):
    with pytest.raises(setup.SetupError, match="choose another name"):
        setup.create_endpoint_judge(project=project, name="careful", base_url="http://x/v1", model="m")
