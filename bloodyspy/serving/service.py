"""What ``bentoml serve`` finds: the application inside a BentoML service."""

import logging
import os
import sys
import warnings
from typing import Any, cast

import bentoml

from bloodyspy.model.release import NAME
from bloodyspy.serving.access_log import AccessLog, read_key
from bloodyspy.serving.application import create_application
from bloodyspy.serving.headers import StrictHeaders
from bloodyspy.serving.health import check_readiness
from bloodyspy.serving.metrics import process_metrics
from bloodyspy.serving.paths import OneLinePaths
from bloodyspy.serving.traffic import Traffic
from bloodyspy.settings import load_settings

# This module is a program's entry; BentoML has given the root logger a handler, but shows only its own information.
logging.getLogger("bloodyspy").setLevel(logging.INFO)
logging.getLogger("uvicorn.access").propagate = False  # without a handler in reach uvicorn makes no access log

# Pillow tells of each broken tag of a picture, and a picture can have 65,000.
warnings.filterwarnings("ignore", module=r"PIL\.")

settings = load_settings()
# The server reads this after this module; unset, it believes X-Forwarded-For from every process of this machine.
os.environ["FORWARDED_ALLOW_IPS"] = settings.proxies
application = create_application(settings)


# What BentoML offers of metrics, access log and traces is switched off in favour of Traffic: docs/decisions/0040.
@bentoml.service(
    name=NAME,
    workers=settings.workers,
    # Pictures are judged in several threads at a time: NumPy's own threads would only wait for each other.
    envs=[{"name": "OPENBLAS_NUM_THREADS", "value": "1"}],
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
@bentoml.asgi_app(application, path="/")
class BloodySpy:
    """Blood-cell classification over HTTP."""

    async def __is_ready__(self) -> bool:
        """BentoML asks this for ``/readyz``; an exception with a sentence says more than False."""
        check_readiness(application)
        return True


service = cast("Any", BloodySpy)  # the decorator has made it a bentoml.Service
service.add_asgi_middleware(OneLinePaths)
service.add_asgi_middleware(StrictHeaders)
service.add_asgi_middleware(
    Traffic, metrics=process_metrics(), log=AccessLog(read_key(settings.pseudonym_key_file), sys.stdout.fileno())
)
