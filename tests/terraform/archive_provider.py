"""Stands in for the provider hashicorp/archive where only the AWS provider is at hand: its one data source that the
deployment uses, of type zip with `source` blocks, with the same attributes and archives of the same kind.
"""

import base64
import hashlib
import io
import os
import zipfile

from tf import runner, types
from tf.blocks import SetNestedBlock
from tf.iface import DataSource, Provider
from tf.schema import Attribute, Block, Schema

TEXT = types.String()


class File(DataSource):
    def __init__(self, provider):
        del provider

    @classmethod
    def get_name(cls):
        return "file"

    @classmethod
    def get_schema(cls):
        source = Block([Attribute("content", TEXT, required=True), Attribute("filename", TEXT, required=True)])
        return Schema(
            attributes=[
                Attribute("type", TEXT, required=True),
                Attribute("output_path", TEXT, required=True),
                Attribute("id", TEXT, computed=True),
                Attribute("output_base64sha256", TEXT, computed=True),
                Attribute("output_sha256", TEXT, computed=True),
            ],
            block_types=[SetNestedBlock("source", source)],
        )

    def read(self, ctx, config):
        if config["type"] != "zip":
            ctx.diagnostics.add_error("type", "only zip is stood in for")
            return None
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as files:
            for source in sorted(config["source"], key=lambda source: source["filename"]):
                # The time that the real provider gives, so that the same files make the same archive.
                entry = zipfile.ZipInfo(source["filename"], (2049, 1, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                files.writestr(entry, source["content"])
        content = archive.getvalue()
        os.makedirs(os.path.dirname(config["output_path"]) or ".", exist_ok=True)
        with open(config["output_path"], "wb") as file:
            file.write(content)
        digest = hashlib.sha256(content)
        return {
            **config,
            "id": digest.hexdigest(),
            "output_sha256": digest.hexdigest(),
            "output_base64sha256": base64.b64encode(digest.digest()).decode(),
        }


class Archive(Provider):
    def get_model_prefix(self):
        return "archive_"

    def get_provider_schema(self, diags):
        return Schema()

    def full_name(self):
        return "registry.terraform.io/hashicorp/archive"

    def validate_config(self, diags, config):
        pass

    def configure_provider(self, diags, config):
        pass

    def get_data_sources(self):
        return [File]

    def get_resources(self):
        return []


if __name__ == "__main__":
    runner.run_provider(Archive())
