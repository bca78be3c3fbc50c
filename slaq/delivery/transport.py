"""Where mails go: an SMTP server, or a folder of ``.eml`` files when none is configured."""

from __future__ import annotations

import logging
import os
import smtplib
import socket
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Protocol
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import attrs

from slaq.config import Settings
from slaq.delivery.email import Mail, mailbox
from slaq.errors import ConfigurationError, DeliveryFailed, DeliveryRefused

_log = logging.getLogger("slaq.delivery")


class Transport(Protocol):
    """Hands mails over; blocks, and may be used by several threads at once."""

    def send(self, mail: Mail) -> None:
        """Hand over ``mail``: ``DeliveryFailed`` when it may be tried again, ``DeliveryRefused`` when it is useless."""
        ...


def transport_for(settings: Settings) -> Transport:
    """The transport that the settings name; raises ``ConfigurationError``, which never shows the password."""
    mailbox(settings.mail_from)
    if settings.smtp_url:
        return SmtpTransport.from_url(settings.smtp_url)
    folder = (settings.directory / "mail").absolute()
    _log.warning("SLAQ_SMTP_URL is not set: mails are not sent, they are written to %s", folder)
    return FileTransport(folder)


@attrs.frozen
class FileTransport:
    """Writes each mail to ``folder`` as ``<delivery id>.eml``; the same delivery again replaces its file."""

    folder: Path

    def send(self, mail: Mail) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write(self.folder / f"{mail.name}.eml", _bytes(mail))
        except OSError as error:
            raise DeliveryFailed(f"the mail could not be written: {error}") from error

    def _write(self, path: Path, content: bytes) -> None:
        with NamedTemporaryFile(dir=self.folder, prefix=".", suffix=".tmp", delete=False) as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise


@attrs.frozen(kw_only=True)
class SmtpTransport:
    """Sends each mail over an SMTP connection of its own.

    ``timeout`` bounds each answer of the server and ``limit`` the whole conversation, in seconds; the
    limit lies below the half minute that a stopping worker leaves its jobs.
    """

    host: str
    port: int
    user: str | None = None
    password: str = attrs.field(default="", repr=False)
    is_tls: bool = False
    starttls: bool = False
    timeout: float = 10.0
    limit: float = 25.0
    tls: ssl.SSLContext = attrs.field(factory=ssl.create_default_context, repr=False)

    @classmethod
    def from_url(cls, url: str) -> SmtpTransport:
        """The transport of ``smtp[s]://[user[:password]@]host[:port][?starttls=1]``; user and password percent-encoded.

        The port is 465 for ``smtps``, 587 with ``starttls``, else 25. Raises ``ConfigurationError``.
        """
        parts, starttls = _split(url)
        is_tls = parts.scheme == "smtps"
        default = 465 if is_tls else 587 if starttls else 25
        return cls(
            host=parts.hostname or "",
            port=parts.port or default,
            user=None if parts.username is None else unquote(parts.username),
            password=unquote(parts.password or ""),
            is_tls=is_tls,
            starttls=starttls,
        )

    def send(self, mail: Mail) -> None:
        try:
            with self._conversation() as smtp:
                _hand_over(smtp, mail)
        except (smtplib.SMTPException, OSError) as error:
            raise DeliveryFailed(f"SMTP server {self.host}:{self.port}: {_explained(error)}") from error

    @contextmanager
    def _conversation(self) -> Generator[smtplib.SMTP, None, None]:
        """A connection that is ready for mail, and is cut off when the whole takes longer than ``limit``."""
        smtp = (
            smtplib.SMTP_SSL(timeout=self.timeout, context=self.tls)
            if self.is_tls
            else smtplib.SMTP(timeout=self.timeout)
        )
        watchdog = threading.Timer(self.limit, _cut_off, [smtp])
        watchdog.daemon = True
        watchdog.start()
        try:
            self._open(smtp)
            yield smtp
            with suppress(smtplib.SMTPException, OSError):
                smtp.quit()  # the mail is accepted; what the server says to a goodbye changes nothing
        finally:
            watchdog.cancel()
            smtp.close()

    def _open(self, smtp: smtplib.SMTP) -> None:
        smtp._host = self.host  # type: ignore[attr-defined]  # noqa: SLF001 - the name that TLS verifies
        code, answer = smtp.connect(self.host, self.port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, answer)
        if self.starttls:
            smtp.starttls(context=self.tls)
        if self.user is not None:
            smtp.login(self.user, self.password)


def _split(url: str) -> tuple[SplitResult, bool]:
    """The parts of an SMTP URL, and whether it asks for STARTTLS."""
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        is_wrong = (
            parts.scheme not in {"smtp", "smtps"}
            or not parts.hostname
            or parts.path not in {"", "/"}
            or parts.port == 0
        )
    except ValueError:
        is_wrong, parts, options = True, urlsplit(""), {}
    starttls = options.pop("starttls", "0")
    if is_wrong or options or starttls not in {"0", "1"} or (starttls == "1" and parts.scheme == "smtps"):
        # the URL itself holds a password
        raise ConfigurationError(
            "SLAQ_SMTP_URL is wrong: write smtp://user:password@host:port?starttls=1 or smtps://user:password@host:port, "
            "with user and password percent-encoded"
        )
    return parts, starttls == "1"


def _hand_over(smtp: smtplib.SMTP, mail: Mail) -> None:
    """Send one mail. A 5xx to its recipient or its content is final; one to the sender is for an operator to mend."""
    try:
        smtp.send_message(mail.message, mail.sender, [mail.recipient])
    except smtplib.SMTPRecipientsRefused as refused:
        code, answer = refused.recipients[mail.recipient]
        error = smtplib.SMTPResponseException(code, answer)
        if code >= 500:
            raise DeliveryRefused(f"the server refuses {mail.recipient}: {_explained(error)}") from refused
        raise error from refused
    except smtplib.SMTPDataError as error:
        if error.smtp_code >= 500:
            raise DeliveryRefused(f"the server refuses the message: {_explained(error)}") from error
        raise
    except smtplib.SMTPNotSupportedError as error:
        raise DeliveryRefused(f"the server cannot deliver to {mail.recipient}: {error}") from error


def _explained(error: BaseException) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        answer = error.smtp_error
        return f"{error.smtp_code} {answer.decode(errors='replace') if isinstance(answer, bytes) else answer}"
    return str(error) or type(error).__name__


def _cut_off(smtp: smtplib.SMTP) -> None:
    sock = smtp.sock
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _bytes(mail: Mail) -> bytes:
    """The message as it would go over the wire; raw UTF-8 headers only for an address that needs them."""
    message: EmailMessage = mail.message
    return message.as_bytes(policy=SMTP.clone(utf8=not (mail.sender + mail.recipient).isascii()))
