"""The variants of the smoke profile by (data set, name)."""

from regproxy.config.profile_file import load_profile

SMOKE_VARIANTS = {(variant.data.name, variant.name): variant for variant in load_profile("smoke").variants}
