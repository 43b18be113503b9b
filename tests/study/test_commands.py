"""``synthoma study`` as a user types it."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable

import pytest

from synthoma.cohort import open_cohort
from synthoma.commands import main
from synthoma.study import open_key, open_study
from synthoma.study import parts as parts_module
from synthoma.study.server import serve

Said = tuple[int, str, str]


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run a command in this process; its exit code and what it printed."""

    def run(*words: object) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(["study", *(str(word) for word in words)])
        printed = capsys.readouterr()
        return int(left.value.code or 0), printed.out, printed.err

    return run


SMALL = ("--items", 6, "--readers", 2, "--training", 1, "--repeats", 0.34, "--seed", 3)


def test_create_status_export(typed, cohorts, tmp_path):
    out = tmp_path / "s.study"
    code, said, errors = typed("create", *cohorts, *SMALL, "--title", "FLAIR", "--out", out)
    assert (code, errors) == (0, "")
    assert said.splitlines() == [
        f"{out}: 6 items for each of 2 readers, 2 of them twice, 1 to practise on",
        f"The private links are in {out / 'links.txt'}. Next: synthoma study serve {out}",
    ]
    assert open_study(out).design.title == "FLAIR"
    assert open_key(open_study(out)).options.seed == 3
    code, said, _ = typed("status", out)
    assert (code, said) == (0, "reader 1      0 of 9  not begun\nreader 2      0 of 9  not begun\n")
    code, said, _ = typed("export", out, "--out", tmp_path / "answers.csv")
    assert (code, said) == (0, f"{tmp_path / 'answers.csv'}: 0 answers\n")
    code, _, errors = typed("export", out, "--exclude-below", 3, "--out", tmp_path / "x.cohort")
    assert (code, "none yet" in errors) == (2, True)


def test_from_answers_to_a_filtered_cohort(typed, app, visit, tmp_path):
    study = app[1]
    reader = visit(1)
    for place in range(len(reader.order)):
        reader.answer(place, realism=1 + place % 5)
    code, said, _ = typed("status", study.path)
    assert re.match(r"reader 1     12 of 12  last \d{4}-\d\d-\d\d \d\d:\d\d UTC  2 s an image\n", said)
    code, said, _ = typed("export", study.path, "--exclude-below", 3, "--out", tmp_path / "x.cohort")
    assert code == 0
    kept = len(open_cohort(tmp_path / "x.cohort"))
    assert said.startswith(f"{tmp_path / 'x.cohort'}: {kept} samples; of ")
    code, _, _ = typed("export", study.path, "--history", "--out", tmp_path / "all.csv")
    assert len(list(csv.reader((tmp_path / "all.csv").open()))) == 13


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--items", 1), "--items: expected greater than or equal to 2, found 1"),
        (("--split", "tset"), "--split: expected '', 'train', 'validation' or 'test'"),
        (("--channel", "t3"), "channel: expected one that both cohorts have, found 't3'"),
        (("--label", "tumor"), "Did you mean 'tumour'?"),
        (("--items", 500), "patients for 500 items"),
        (("--notice", "nowhere.txt"), "nowhere.txt: expected a text file in UTF-8"),
    ],
)
def test_what_cannot_be_created(typed, cohorts, tmp_path, words, message):
    code, _, errors = typed("create", *cohorts, *words, "--out", tmp_path / "s.study")
    assert code == 2
    assert message in errors
    assert len(errors.splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []


def test_a_notice_is_shown(typed, cohorts, tmp_path):
    (tmp_path / "notice.txt").write_text("Ask Prof. Example.\n")
    code, _, _ = typed("create", *cohorts, *SMALL, "--notice", tmp_path / "notice.txt", "--out", tmp_path / "s.study")
    assert code == 0
    assert open_study(tmp_path / "s.study").design.notice == "Ask Prof. Example."


@pytest.mark.parametrize("verb", ["create", "serve", "status", "export"])
def test_without_its_packages_it_says_how_to_get_them(typed, create, cohorts, tmp_path, monkeypatch, verb):
    study = create().path
    monkeypatch.setattr(parts_module, "find_spec", lambda _: None)
    words = {"create": (*cohorts, "--out", tmp_path / "x"), "export": (study, "--out", tmp_path / "x")}
    code, _, errors = typed(verb, *words.get(verb, (study,)))
    assert (code, errors.splitlines()[-1]) == (3, "pip install 'synthoma[study]'")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": "192.0.2.1"}, "a free address of this machine"),
        ({"url": "reading.example.org"}, "--url: expected https://NAME"),
        ({"url": "https://x.org/below"}, "--url: expected https://NAME"),
    ],
)
def test_where_it_cannot_be_served(create, settings, message):
    from synthoma.errors import InputError

    with pytest.raises(InputError, match=message):
        serve(create(), **({"host": "127.0.0.1", "port": 0} | settings))


def test_a_port_that_is_taken(create):
    import socket

    from synthoma.errors import InputError

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InputError, match="Choose another --port"):
        serve(create(), host="127.0.0.1", port=taken.getsockname()[1])


@pytest.mark.parametrize(
    ("settings", "told", "untold"),
    [
        ({"host": "127.0.0.1"}, "reverse proxy with TLS", "WARNING"),
        ({"host": "0.0.0.0"}, "WARNING: without TLS", "https://reading.example.org/enter"),  # noqa: S104
        ({"host": "127.0.0.1", "url": "https://reading.example.org"}, "https://reading.example.org/enter#", "reverse"),
    ],
)
def test_what_is_said_about_tls(create, monkeypatch, settings, told, untold):
    import uvicorn

    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: None)
    said: list[str] = []
    serve(create(), port=0, say=said.append, **settings)
    text = "\n".join(said)
    assert told in text
    assert untold not in text
    assert text.count("/enter#") == 3
