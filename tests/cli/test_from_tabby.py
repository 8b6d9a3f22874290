"""``wsserver config from-tabby`` as a person runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_commands import run

FILE = """\
# as somebody left it
network:
  host: 127.0.0.1
  port: 5001
  disable_auth: true
model:
  model_dir: models
  model_name: mine
  max_batch_size:
  cache_mode: Q8
  vision: false
"""


def test_its_output_is_our_configuration(tmp_path: Path) -> None:
    """The printed file is read by the server's own commands, in another folder, too."""
    (tmp_path / "models" / "mine").mkdir(parents=True)
    (tmp_path / "config.yml").write_text(FILE)
    done = run("config", "from-tabby", "config.yml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "#   model.vision = false: models read text only" in done.stdout
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "wsserver.toml").write_text(done.stdout)
    shown = run("config", "show", cwd=elsewhere)
    assert shown.returncode == 0, shown.stderr
    assert "port = 5001  # wsserver.toml:" in shown.stdout
    listed = run("models", "list", cwd=elsewhere)
    assert listed.stdout.split() == ["*", "mine", str(tmp_path / "models" / "mine")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "can't read config.yml: No such file"),
        (b"a: [1", "config.yml is no YAML: "),
        (b"\xff\xfe\x00", "config.yml is no YAML: "),
        (b"just words", "no config.yml of TabbyAPI"),
        (b"colour: blue\n", "no config.yml of TabbyAPI"),
    ],
)
def test_what_can_not_be_read_is_one_sentence(
    content: bytes | None, words: str, tmp_path: Path
) -> None:
    """A missing, broken or foreign file ends with exit code 1 and its name, and prints nothing."""
    if content is not None:
        (tmp_path / "config.yml").write_bytes(content)
    done = run("config", "from-tabby", "config.yml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_the_reader_of_yaml_it_says_what_to_install(tmp_path: Path) -> None:
    """The base install has no YAML; the command asks for it in words."""
    (tmp_path / "config.yml").write_text(FILE)
    code = (
        "import sys; sys.modules['yaml'] = None\n"
        "from wsserver.cli import main; sys.exit(main(['config', 'from-tabby', 'config.yml']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert "PyYAML, which is not installed: pip install 'wsserver[server]'" in done.stderr
