"""TLS contexts from client properties. PEM files only: for Java key stores we name the command that converts them."""

from __future__ import annotations

import ssl

from klamm.client.errors import SettingsError
from klamm.client.settings import Settings

_STORE_SUFFIXES = (".jks", ".p12", ".pfx", ".keystore", ".truststore")


def ssl_context(settings: Settings) -> ssl.SSLContext:
    """Return the context for connections of ``settings``.

    Raises:
        SettingsError: A file is missing, no PEM, or its key does not open.
    """
    get = settings.properties.get
    authority = get("ssl.ca.location") or get("ssl.truststore.location")
    certificate = get("ssl.certificate.location") or get("ssl.keystore.location")
    for path in (authority, certificate):
        if path and path.lower().endswith(_STORE_SUFFIXES):
            msg = f"{path} is a Java key store or PKCS#12; klamm reads PEM"
            raise SettingsError(msg, f"keytool -exportcert -rfc -keystore {path} -alias NAME > ca.pem")
    try:
        context = ssl.create_default_context(cafile=authority)
        if certificate:
            context.load_cert_chain(certificate, get("ssl.key.location"), get("ssl.key.password"))
    except FileNotFoundError as error:
        named = next((path for path in (authority, certificate, get("ssl.key.location")) if path), "")
        msg = f"no such file among ssl.ca.location, ssl.certificate.location, ssl.key.location: {named}"
        raise SettingsError(msg) from error
    except (ssl.SSLError, OSError) as error:
        msg = f"TLS files cannot be read: {error}"
        raise SettingsError(msg, "they have to be PEM, and the key's password right") from error
    if get("ssl.endpoint.identification.algorithm", "https").lower() in {"", "none"}:
        context.check_hostname = False
    if get("enable.ssl.certificate.verification", "true").lower() == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
