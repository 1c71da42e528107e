"""Settings: where they come from, which wins, and what is said about a wrong one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from llmspell.config import Project, Settings, load_settings, open_project
from llmspell.errors import ConfigError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory of its own, so that the machine's settings play no part."""
    directory = tmp_path / "home"
    directory.mkdir()
    return directory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    return directory


def environment(home: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), **more}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def settings(
    root: Path,
    environ: Mapping[str, str],
    *,
    config: Path | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    return load_settings(root, config=config, environ=environ, flags=flags)


# --- precedence


def test_without_any_source_every_setting_has_its_default(root: Path, home: Path) -> None:
    assert settings(root, environment(home)) == Settings()


def test_flags_win_over_the_environment_over_the_project_over_the_user(
    root: Path, home: Path
) -> None:
    write(
        home / ".config/llmspell/config.toml",
        '[server]\nport = 1\nhost = "127.0.0.2"\n[limits]\ndepth = 1\ncasts = 1\n',
    )
    write(root / "llmspell.toml", "[server]\nport = 2\n[limits]\ndepth = 2\ncasts = 2\n")
    environ = environment(home, LLMSPELL_SERVER__PORT="3", LLMSPELL_LIMITS__DEPTH="3")
    found = settings(root, environ, flags={"server": {"port": 4}})
    assert found.server.port == 4
    assert found.limits.depth == 3
    assert found.limits.casts == 2
    assert found.server.host == "127.0.0.2"


def test_a_section_set_in_two_places_is_merged_key_by_key(root: Path, home: Path) -> None:
    write(home / ".config/llmspell/config.toml", '[models.roles]\nfast = "scripted/a"\n')
    write(root / "llmspell.toml", '[models.roles]\nsmart = "scripted/b"\n')
    assert settings(root, environment(home)).models.roles == {
        "fast": "scripted/a",
        "smart": "scripted/b",
    }


def test_what_does_not_go_together_though_each_source_is_right_is_named(
    root: Path, home: Path
) -> None:
    write(root / "llmspell.toml", '[mcp]\ncontrol_tools = ["cast"]\n')
    with pytest.raises(ConfigError, match=r"setting 'mcp': .*spell_search"):
        settings(root, environment(home, LLMSPELL_MCP__CATALOGUE="search"))


def test_a_named_file_is_read_instead_of_the_projects_own(root: Path, home: Path) -> None:
    write(root / "llmspell.toml", "[server]\nport = 2\n")
    other = write(root / "other.toml", "[limits]\ndepth = 5\n")
    found = settings(root, environment(home), config=other)
    assert (found.server.port, found.limits.depth) == (7777, 5)


def test_a_named_file_that_does_not_exist_is_an_error(root: Path, home: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read"):
        settings(root, environment(home), config=root / "absent.toml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("scripted/echo", "scripted/echo"),
        ('"scripted/echo"', "scripted/echo"),
        ("", ""),
    ],
)
def test_a_bare_word_in_the_environment_is_a_string(
    root: Path, home: Path, text: str, value: str
) -> None:
    environ = environment(home, LLMSPELL_MODELS__DEFAULT=text)
    assert settings(root, environ).models.default == value


def test_a_list_in_the_environment_is_written_as_in_toml(root: Path, home: Path) -> None:
    environ = environment(home, LLMSPELL_PUBLISH='["hello", "notes"]')
    assert settings(root, environ).publish == ["hello", "notes"]


def test_variables_that_say_where_things_are_are_no_settings(root: Path, home: Path) -> None:
    environ = environment(
        home,
        LLMSPELL_PROJECT="x",
        LLMSPELL_STATE="x",
        LLMSPELL_CONFIG="x",
        LLMSPELL_FAILPOINT="",
        LLMSPELL_ALLOW_NETWORK="0",
    )
    assert settings(root, environ) == Settings()


# --- what is wrong


@pytest.mark.parametrize(
    ("text", "name", "suggestion"),
    [
        ("[sever]\nport = 1\n", "sever", "did you mean 'server'?"),
        ("[server]\nprot = 1\n", "server.prot", "did you mean 'port'?"),
        ("[limits]\nslice_second = 1\n", "limits.slice_second", "did you mean 'slice_seconds'?"),
        ('[providers.openai]\napi_kye = "x"\n', "providers.openai.api_kye", "did you mean 'api_k"),
        ("[server]\nzzz = 1\n", "server.zzz", "allowed: allowed_hosts, allowed_origins, auth"),
        ('[server.oauth]\nisuer = "x"\n', "server.oauth.isuer", "did you mean 'issuer'?"),
    ],
)
def test_an_unknown_key_is_refused_with_the_file_and_a_suggestion(
    root: Path, home: Path, text: str, name: str, suggestion: str
) -> None:
    file = write(root / "llmspell.toml", text)
    with pytest.raises(ConfigError) as caught:
        settings(root, environment(home))
    assert str(file) in caught.value.message
    assert repr(name) in caught.value.message
    assert suggestion in caught.value.hint


def test_an_unknown_variable_is_refused_as_an_unknown_key_is(root: Path, home: Path) -> None:
    with pytest.raises(ConfigError, match=r"environment: unknown setting 'server\.prot'") as caught:
        settings(root, environment(home, LLMSPELL_SERVER__PROT="1"))
    assert "did you mean 'port'?" in caught.value.hint


def test_a_variable_for_a_whole_section_beside_one_for_its_key_is_refused(
    root: Path, home: Path
) -> None:
    environ = environment(home, LLMSPELL_LIMITS="5", LLMSPELL_LIMITS__CASTS="5")
    with pytest.raises(ConfigError, match="'limits'"):
        settings(root, environ)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("[server]\nport = 70000\n", "server.port"),
        ('[server]\nauth = "sometimes"\n', "server.auth"),
        ("[limits]\ncast_seconds = 0\n", "limits.cast_seconds"),
        ('[limits]\ncasts = "many"\n', "limits.casts"),
        ("[limits]\nslice_seconds = inf\n", "limits.slice_seconds"),
        ("[limits]\nusd = inf\n", "limits.usd"),
        (f"[limits]\nheap_bytes = {10**30}\n", "limits.heap_bytes"),
        ("[models]\ntimeout_seconds = nan\n", "models.timeout_seconds"),
        ("server = 5\n", "server"),
        ('[providers.openai]\napi_base = "localhost:11434"\n', "providers.openai.api_base"),
        ('[providers.openai]\napi_base = "http://[::1"\n', "providers.openai.api_base"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_by_name(
    root: Path, home: Path, text: str, name: str
) -> None:
    write(root / "llmspell.toml", text)
    with pytest.raises(ConfigError, match=f"setting '{name}'"):
        settings(root, environment(home))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('[limits]\ncasts = "many"\n', "a whole number"),
        ("[limits]\ncasts = 1.5\n", "a whole number"),
        ('[server]\nallowed_hosts = "here"\n', "a list"),
        ("[models]\ndefault = 5\n", "a text"),
        ("server = 5\n", "a table"),
    ],
)
def test_a_value_of_another_kind_is_told_what_it_must_be(
    root: Path, home: Path, text: str, wanted: str
) -> None:
    write(root / "llmspell.toml", text)
    with pytest.raises(ConfigError, match=f"setting '[a-z_.]+' must be {wanted} {{code"):
        settings(root, environment(home))


def test_what_lasts_is_written_in_seconds_or_as_people_do(root: Path, home: Path) -> None:
    write(root / "llmspell.toml", '[limits]\ncast_seconds = "2h"\nheap_bytes = "32MiB"\n')
    found = settings(root, environment(home, LLMSPELL_MODELS__TIMEOUT_SECONDS="5m"))
    assert found.limits.cast_seconds == 7200
    assert found.limits.heap_bytes == 32 << 20
    assert found.models.timeout_seconds == 300


def test_a_mistyped_key_is_named_rather_than_the_one_it_leaves_missing(
    root: Path, home: Path
) -> None:
    write(root / "llmspell.toml", '[[schedules]]\nspel = "x"\n')
    with pytest.raises(ConfigError, match=r"unknown setting 'schedules\.0\.spel'") as caught:
        settings(root, environment(home))
    assert "did you mean 'spell'?" in caught.value.hint


def test_a_variable_of_several_lines_is_no_value_with_settings_behind_it(
    root: Path, home: Path
) -> None:
    with pytest.raises(ConfigError, match=r"setting 'server\.port'"):
        settings(root, environment(home, LLMSPELL_SERVER__PORT="1\nauth = 'none'"))


@pytest.mark.parametrize("text", ["[server\n", f"port = {'1' * 5000}\n", f"a = {'[' * 5000}\n"])
def test_a_file_that_is_not_toml_is_refused_with_its_name(
    root: Path, home: Path, text: str
) -> None:
    write(root / "llmspell.toml", text)
    with pytest.raises(ConfigError, match=r"llmspell\.toml: not valid TOML"):
        settings(root, environment(home))


@pytest.mark.parametrize("text", ["1" * 5000, "[" * 5000])
def test_a_variable_that_no_parser_takes_is_a_wrong_value(
    root: Path, home: Path, text: str
) -> None:
    with pytest.raises(ConfigError, match=r"setting 'server\.port'"):
        settings(root, environment(home, LLMSPELL_SERVER__PORT=text))


def test_a_byte_order_mark_is_no_part_of_a_file(root: Path, home: Path) -> None:
    (root / "llmspell.toml").write_bytes(b"\xef\xbb\xbf[server]\nport = 5\n")
    (root / "key.txt").write_bytes(b"\xef\xbb\xbfsk-canary-5f1c\r\n")
    found = project(root, home)
    assert found.settings.server.port == 5
    assert found.secret("${file:key.txt}") == "sk-canary-5f1c"


def test_a_file_that_is_not_utf8_is_refused_with_its_name(root: Path, home: Path) -> None:
    (root / "llmspell.toml").write_bytes(b'[models]\ndefault = "\xff"\n')
    with pytest.raises(ConfigError, match=r"llmspell\.toml: not UTF-8"):
        settings(root, environment(home))


def test_a_wrong_value_is_not_repeated_in_the_error(root: Path, home: Path) -> None:
    write(root / "llmspell.toml", '[providers.openai]\napi_key = ["canary-5f1c"]\n')
    with pytest.raises(ConfigError) as caught:
        settings(root, environment(home))
    assert "canary-5f1c" not in caught.value.report()


# --- secrets


def project(root: Path, home: Path, **more: str) -> Project:
    return open_project(root, environ=environment(home, **more))


def test_a_secret_is_what_the_environment_or_a_file_of_the_project_holds(
    root: Path, home: Path
) -> None:
    write(root / "key.txt", "from the file\n")
    opened = project(root, home, KEY="from the environment")
    assert opened.secret("${env:KEY}") == "from the environment"
    assert opened.secret("${file:key.txt}") == "from the file"
    assert opened.secret("${env:UNSET}") == ""
    assert opened.secret("") == ""


def test_a_secret_written_into_the_settings_is_refused_and_not_repeated(
    root: Path, home: Path
) -> None:
    with pytest.raises(ConfigError, match="a secret is written into the settings") as caught:
        project(root, home).secret("sk-canary-5f1c")
    assert "canary" not in caught.value.report()
    assert "${env:NAME}" in caught.value.hint


def test_a_secret_file_that_cannot_be_read_is_named(root: Path, home: Path) -> None:
    with pytest.raises(ConfigError, match=r"'absent\.txt' cannot be read"):
        project(root, home).secret("${file:absent.txt}")


@pytest.mark.parametrize("name", ["binary.txt", "~nobody-of-this-name/key"])
def test_a_secret_file_that_is_none_is_refused_without_its_bytes(
    root: Path, home: Path, name: str
) -> None:
    (root / "binary.txt").write_bytes(b"canary\xff")
    with pytest.raises(ConfigError, match=f"the secret file '{name}'") as caught:
        project(root, home).secret(f"${{file:{name}}}")
    assert "canary" not in caught.value.report()


def test_the_environment_does_not_show_where_a_project_is_printed(root: Path, home: Path) -> None:
    assert "canary" not in repr(project(root, home, KEY="canary"))


# --- finding the project


def test_the_project_named_by_the_caller_wins_over_the_variable(
    root: Path, home: Path, tmp_path: Path
) -> None:
    environ = environment(home, LLMSPELL_PROJECT=str(tmp_path))
    assert open_project(root, environ=environ).root == root
    assert open_project(environ=environ).root == tmp_path


def test_a_named_project_that_does_not_exist_is_an_error_that_says_how_to_make_it(
    home: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="does not exist") as caught:
        open_project(tmp_path / "absent", environ=environment(home))
    assert "llmspell init" in caught.value.hint
    with pytest.raises(ConfigError, match="does not exist"):
        open_project(environ=environment(home, LLMSPELL_PROJECT=str(tmp_path / "absent")))


def test_a_file_named_as_the_project_is_an_error_that_names_its_directory(
    root: Path, home: Path
) -> None:
    file = write(root / "llmspell.toml", "")
    with pytest.raises(ConfigError, match="is no directory") as caught:
        open_project(file, environ=environment(home))
    assert f"--project {root}" in caught.value.hint


def test_state_lies_in_the_project_unless_it_is_named(
    root: Path, home: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    assert project(root, home).state == root / ".llmspell"
    assert project(root, home, LLMSPELL_STATE=str(elsewhere)).state == elsewhere
    assert open_project(root, state=elsewhere, environ=environment(home)).state == elsewhere


def test_the_variable_that_names_a_settings_file_is_read(root: Path, home: Path) -> None:
    file = write(root / "other.toml", "[limits]\ndepth = 5\n")
    assert project(root, home, LLMSPELL_CONFIG=str(file)).settings.limits.depth == 5


def test_the_network_is_refused_by_zero(root: Path, home: Path) -> None:
    assert project(root, home).allow_network
    assert not project(root, home, LLMSPELL_ALLOW_NETWORK="0").allow_network


@pytest.mark.parametrize("text", ["false", "no", "off", "2"])
def test_a_word_that_may_mean_no_network_is_not_taken_for_yes(
    root: Path, home: Path, text: str
) -> None:
    with pytest.raises(ConfigError, match="LLMSPELL_ALLOW_NETWORK is 0 or 1"):
        project(root, home, LLMSPELL_ALLOW_NETWORK=text)


# --- runs and schedules


def test_how_long_runs_are_kept_is_written_as_people_do(root: Path, home: Path) -> None:
    write(root / "llmspell.toml", '[runs]\nkeep = "2w"\nkeep_bytes = "500MB"\nask = 90\n')
    runs = settings(root, environment(home, LLMSPELL_RUNS__KEEP_PLAIN="10m")).runs
    assert (runs.keep, runs.keep_bytes, runs.ask, runs.keep_plain) == (
        14 * 86_400.0,
        500_000_000,
        90.0,
        600.0,
    )


def test_the_defaults_of_runs_are_seconds_and_bytes() -> None:
    runs = Settings().runs
    assert (runs.keep, runs.keep_plain, runs.keep_bytes) == (30 * 86_400.0, 86_400.0, 10**9)
    assert (runs.ask, runs.idempotency, runs.history) == (86_400.0, 86_400.0, 10_000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[runs]\nkeep = "long"', "setting 'runs.keep': 'long' is no duration"),
        ('[runs]\nkeep_bytes = "1.5GB"', "setting 'runs.keep_bytes': '1.5GB' is no size"),
        ('[[schedules]]\nspell = "x"', "setting 'schedules.0': exactly one of cron and every"),
        (
            '[[schedules]]\nspell = "x"\ncron = "0 25 * * *"',
            "setting 'schedules.0': cron '0 25 \\* \\* \\*' is not valid: bad hour",
        ),
        ('[[schedules]]\nevery = "10m"', "setting 'schedules.0.spell'"),
        ('[[schedules]]\nspell = "x"\nevery = "1m"\nname = "a b"', "setting 'schedules.0.name'"),
        (
            '[[schedules]]\nspell = "x"\nevery = "1m"\nname = "n"\n'
            '[[schedules]]\nspell = "y"\nevery = "1m"\nname = "n"',
            "setting 'schedules': two schedules have the name 'n'",
        ),
    ],
)
def test_what_is_wrong_with_runs_and_schedules_is_named(
    root: Path, home: Path, text: str, message: str
) -> None:
    write(root / "llmspell.toml", text)
    with pytest.raises(ConfigError, match=message):
        settings(root, environment(home))


def test_an_unknown_key_of_a_schedule_is_refused_with_a_suggestion(root: Path, home: Path) -> None:
    write(root / "llmspell.toml", '[[schedules]]\nspell = "x"\nevry = "10m"\n')
    with pytest.raises(ConfigError, match=r"unknown setting 'schedules\.0\.evry'") as caught:
        settings(root, environment(home))
    assert "did you mean 'every'?" in caught.value.hint


def test_schedules_are_tables_of_their_own(root: Path, home: Path) -> None:
    write(
        root / "llmspell.toml",
        '[[schedules]]\nspell = "sweep"\nevery = "10m"\n\n'
        '[[schedules]]\nspell = "report"\ncron = "0 7 * * 1-5"\ntimezone = "Europe/Berlin"\n'
        'input = { days = 1 }\nmissed = "skip"\noverlap = "queue"\nprincipal = "robot"\n',
    )
    sweep, report = settings(root, environment(home)).schedules
    assert (sweep.spell, sweep.every, sweep.missed, sweep.principal) == ("sweep", 600.0, "once", "")
    assert (report.timezone, report.input, report.missed) == ("Europe/Berlin", {"days": 1}, "skip")


# --- who may call over HTTP


def test_the_issuer_of_tokens_is_set_by_a_section_or_by_variables(root: Path, home: Path) -> None:
    write(
        root / "llmspell.toml",
        '[server]\nauth = "oauth"\n[server.oauth]\nissuer = "https://i.example"\nleeway = "1m"\n',
    )
    environ = environment(home, LLMSPELL_SERVER__OAUTH__TENANT_CLAIM="org")
    server = settings(root, environ).server
    assert (server.auth, server.oauth.issuer) == ("oauth", "https://i.example")
    assert (server.oauth.leeway, server.oauth.tenant_claim) == (60, "org")


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ('[server]\nauth = "password"\n', "server.auth"),
        ('[server.oauth]\nissuer = "http://i.example"\n', "server.oauth.issuer"),
        ('[server.oauth]\njwks_uri = "file:///keys"\n', "server.oauth.jwks_uri"),
        ('[server.oauth]\nalgorithms = ["HS256"]\n', "server.oauth.algorithms"),
        ('[server]\npublic_url = "spells.example"\n', "server.public_url"),
        ('[server]\npublic_url = "https://spells.example/below"\n', "server.public_url"),
        ("[server]\nrequests_per_minute = 0\n", "server.requests_per_minute"),
    ],
)
def test_what_would_let_in_the_wrong_ones_is_refused(
    root: Path, home: Path, text: str, setting: str
) -> None:
    write(root / "llmspell.toml", text)
    with pytest.raises(ConfigError, match=re.escape(setting)):
        settings(root, environment(home))
