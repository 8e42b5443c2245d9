"""What ``bentoml serve`` finds: the application inside a BentoML service."""

import logging
import os
import warnings

import bentoml

from bloodyspy.model.release import NAME
from bloodyspy.serving.application import create_application
from bloodyspy.serving.headers import StrictHeaders
from bloodyspy.settings import load_settings

# This module is a program's entry; BentoML has given the root logger a handler, but shows only its own information.
logging.getLogger("bloodyspy").setLevel(logging.INFO)

# Pillow tells of each broken tag of a picture, and a picture can have 65,000.
warnings.filterwarnings("ignore", module=r"PIL\.")

settings = load_settings()
# The server reads this after this module; unset, it believes X-Forwarded-For from every process of this machine.
os.environ["FORWARDED_ALLOW_IPS"] = settings.proxies
application = create_application(settings)


@bentoml.service(name=NAME, workers=settings.workers)
@bentoml.asgi_app(application, path="/")
class BloodySpy:
    """Blood-cell classification over HTTP."""

    def __is_ready__(self) -> bool:
        """Ready when there is a model to answer with; BentoML asks this for ``/readyz``."""
        return bool(application.state.desk.model.ready)


BloodySpy.add_asgi_middleware(StrictHeaders)  # type: ignore[attr-defined]  # the decorator made a service of it
