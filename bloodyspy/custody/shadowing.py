"""Which version answers in the shadow of the released one."""

from bloodyspy.adapters import packaging, registry
from bloodyspy.errors import ModelUnavailable, PromotionError, ServiceError
from bloodyspy.evaluation.comparison import read_comparison
from bloodyspy.model.release import read_release
from bloodyspy.promotion.evidence import newest
from bloodyspy.settings import Settings


def shadow(version: int | None, s: Settings) -> int:
    """Let a version answer live requests beside the champion, unheard; the service takes it up within seconds.

    Args:
        version: of the registered model; None for the best candidate, which is registered where it is not yet.
        s: where things are.

    Returns:
        Its number.

    Raises:
        RegistryError: no such version.
        PromotionError: it is the one that is heard.
        ArtefactInvalid, PreprocessMismatch, ServiceError: it cannot be served.
    """
    if version is None:
        version = registry.register(newest(read_comparison(s).best, s), s)
    champion = registry.champion(s)
    if champion is not None and champion.number == version:
        raise PromotionError(f"Version {version} is the champion: it is heard, and has no use for a shadow of itself.")
    packaging.store(registry.artefact_of(version, s), version, s)
    packaging.tell_shadow(version, s)
    return version


def end_shadow(s: Settings, version: int | None = None) -> int | None:
    """Let nobody answer in the shadow any more, or only that version not.

    Returns:
        The version that did; None where none did, or another one.
    """
    try:
        named = read_release(s.shadow).version
    except ModelUnavailable:
        return None
    except ServiceError:  # garbled: the service cannot read it either
        packaging.tell_shadow(None, s)
        return None
    if version is not None and version != named:
        return None
    packaging.tell_shadow(None, s)
    return named
