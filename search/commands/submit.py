"""``dpc submit -- <command>``: run any command on a Ray cluster; and ``status=``, ``logs=``, ``stop=`` of its job."""

from cluster.submit import logs, status, stop, submit
from data.system.paths import absolute
from search.conf_files import CONF
from search.settings.submit import SubmitSettings


def run(settings: SubmitSettings) -> int:
    """Send the command and follow its log; or ask about a job that was sent."""
    address, wait = settings.address, settings.wait
    if settings.status is not None:
        return status(settings.status, address)
    if settings.logs is not None:
        return logs(settings.logs, address, wait=wait)
    if settings.stop is not None:
        return stop(settings.stop, address, wait=wait)
    return submit(
        settings.command,
        address,
        working_dir=CONF.parent,
        code=[absolute(path, "code") for path in settings.code],
        job=settings.job,
        env_vars=settings.variables,
        wait=wait,
    )
