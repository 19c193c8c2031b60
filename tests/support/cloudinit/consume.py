"""Run by the system's Python: cloud-init's own code over the user data on standard input; says what came of it."""

import json
import sys
from pathlib import Path

import yaml
from cloudinit import handlers, util
from cloudinit.handlers.cloud_config import CloudConfigPartHandler
from cloudinit.handlers.jinja_template import JinjaTemplatePartHandler
from cloudinit.user_data import UserDataProcessor


class Paths:
    """cloud-init's files, all in one directory."""

    def __init__(self, directory):
        self.directory = directory

    def get_ipath(self, name=None):
        return str(self.directory / name)

    get_runpath = get_ipath_cur = get_cpath = get_ipath


def main():
    paths = Paths(Path(sys.argv[1]))
    (paths.directory / "instance_data_sensitive").write_text(json.dumps({"v1": {"local_hostname": "rendered"}}))
    whole = UserDataProcessor(paths).process(sys.stdin.buffer.read())
    config = CloudConfigPartHandler(paths)
    by_type = dict.fromkeys(config.list_types(), config)
    jinja = JinjaTemplatePartHandler(paths, sub_handlers=[config])
    by_type.update(dict.fromkeys(jinja.list_types(), jinja))
    config.handle_part(None, handlers.CONTENT_START, None, None, None, {})
    parts = []
    for part in whole.walk():
        if part.get_content_maintype() == "multipart":
            continue
        kind, name = part.get_content_type(), part.get_filename()
        parts.append((kind, name))
        if kind in by_type:
            payload = util.fully_decoded_payload(part)
            by_type[kind].handle_part(None, kind, name, payload, None, dict(part))
    config.handle_part(None, handlers.CONTENT_END, None, None, None, {})
    written = Path(paths.get_ipath("cloud_config"))
    sys.stdout.write(json.dumps({"config": yaml.safe_load(written.read_text()), "parts": parts}))


main()
