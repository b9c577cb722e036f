"""Environment variables that Ray reads when it is imported or started."""

import os


def is_cluster() -> bool:
    """Return whether RAY_ADDRESS names a cluster, whose nodes may join and leave."""
    return bool(os.environ.get("RAY_ADDRESS"))


def set_ray_environment() -> None:
    """Set Ray's environment variables unless the user has set them; call before the first `import ray`."""
    variables = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS_SKIP_REGEX": "State API may be temporarily|Reporting training result",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
        "TUNE_MAX_PENDING_TRIALS_PG": "16",
    }
    if not is_cluster():
        variables["RAY_AUTH_MODE"] = "disabled"
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def set_job_environment() -> None:
    """Set the authentication mode of the job client, which does not detect it; call before `import ray`."""
    os.environ.setdefault("RAY_AUTH_MODE", "token" if "RAY_AUTH_TOKEN" in os.environ else "disabled")
