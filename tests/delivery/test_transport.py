"""Handing mails over: to real SMTP servers of every temper, and to a folder."""

from __future__ import annotations

import logging
import socket
from email import message_from_bytes, policy
from typing import Any

import attrs
import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword

from slaq.config import Settings
from slaq.delivery.email import Mail, build
from slaq.delivery.transport import FileTransport, SmtpTransport, transport_for
from slaq.errors import ConfigurationError, DeliveryFailed, DeliveryRefused

from .smtp import rude_server
from .world import NOON, delivery


@pytest.fixture
def mail() -> Mail:
    return build(delivery(title="Žluťoučký 🖨️ <b>"), "Service Desk <desk@example.com>", NOON)


def test_a_mail_arrives_as_it_was_built(smtp, mailbox, mail):
    SmtpTransport.from_url(smtp.url).send(mail)
    (envelope,) = mailbox.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("desk@example.com", ["ada@example.com"])
    (message,) = mailbox.messages
    assert message["Subject"] == "[INC-7] Response SLA 75 % used: Žluťoučký 🖨️ <b>"
    assert message["Message-ID"] == mail.message["Message-ID"]
    assert "Title     Žluťoučký 🖨️ <b>" in message.get_body(("plain",)).get_content()
    assert "Žluťoučký 🖨️ &lt;b&gt;" in message.get_body(("html",)).get_content()


@pytest.mark.parametrize("answer", ["451 4.7.1 greylisted", "452 4.2.2 full"])
def test_a_passing_refusal_of_the_recipient_is_tried_again(smtp, mailbox, mail, answer):
    mailbox.rcpt = [answer]
    transport = SmtpTransport.from_url(smtp.url)
    with pytest.raises(DeliveryFailed, match=answer) as raised:
        transport.send(mail)
    assert not isinstance(raised.value, DeliveryRefused)
    transport.send(mail)
    assert len(mailbox.envelopes) == 1


@pytest.mark.parametrize(("stage", "answer"), [("rcpt", "550 5.1.1 no such user"), ("data", "554 5.7.1 spam")])
def test_a_refusal_for_good_is_told_apart(smtp, mailbox, mail, stage, answer):
    setattr(mailbox, stage, [answer])
    with pytest.raises(DeliveryRefused, match=answer):
        SmtpTransport.from_url(smtp.url).send(mail)


def test_a_refusal_of_the_sender_is_for_an_operator_to_mend(smtp, mailbox, mail):
    async def refuse(*_: Any) -> str:
        return "550 5.7.1 not your domain"

    mailbox.handle_MAIL = refuse
    with pytest.raises(DeliveryFailed, match=r"550 5.7.1 not your domain") as raised:
        SmtpTransport.from_url(smtp.url).send(mail)
    assert not isinstance(raised.value, DeliveryRefused)


def test_a_server_that_is_down_is_named(mail):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(DeliveryFailed, match=f"127.0.0.1:{port}: .*refused"):
        SmtpTransport(host="127.0.0.1", port=port).send(mail)


def test_a_server_that_says_nothing_is_given_up(mail):
    with rude_server(lambda _, stop: stop.wait()) as port, pytest.raises(DeliveryFailed, match="timed out"):
        SmtpTransport(host="127.0.0.1", port=port, timeout=0.1).send(mail)


def test_a_server_that_never_comes_to_an_end_is_cut_off(mail):
    def drip(client, stop):
        while not stop.wait(0.01):
            client.sendall(b"220-one moment\r\n")

    with rude_server(drip) as port, pytest.raises(DeliveryFailed):
        SmtpTransport(host="127.0.0.1", port=port, timeout=60, limit=0.2).send(mail)


def test_a_server_that_is_not_ready_is_tried_again(mail):
    def turn_away(client, stop):
        client.sendall(b"421 too busy\r\n")

    with rude_server(turn_away) as port, pytest.raises(DeliveryFailed, match="421 too busy"):
        SmtpTransport(host="127.0.0.1", port=port, timeout=5).send(mail)


def test_a_failing_goodbye_does_not_unsend_a_mail(smtp, mailbox, mail):
    async def hang_up(server, *_: Any) -> str:
        server.transport.close()
        return "421 bye"

    mailbox.handle_QUIT = hang_up
    SmtpTransport.from_url(smtp.url).send(mail)
    assert len(mailbox.envelopes) == 1


def test_starttls_and_a_password_with_every_sign(serve, mailbox, mail, certificate):
    server_tls, client_tls = certificate
    seen = []

    def authenticate(server, session, envelope, mechanism, given):
        seen.append(given)
        return AuthResult(success=given == LoginPassword(b"desk@example.com", b"p@ss:/w?rd%"), handled=False)

    server = serve(
        mailbox, tls_context=server_tls, require_starttls=True, authenticator=authenticate, auth_required=True
    )
    login = f"smtp://desk%40example.com:p%40ss%3A%2Fw%3Frd%25@127.0.0.1:{server.port}?starttls=1"
    attrs.evolve(SmtpTransport.from_url(login), tls=client_tls).send(mail)
    assert len(mailbox.envelopes) == 1

    wrong = attrs.evolve(SmtpTransport.from_url(login), tls=client_tls, password="guess")
    with pytest.raises(DeliveryFailed, match="535") as raised:
        wrong.send(mail)
    assert "guess" not in f"{raised.value} {wrong!r}"
    with pytest.raises(DeliveryFailed, match="530"):
        SmtpTransport.from_url(server.url).send(mail)
    with pytest.raises(DeliveryFailed, match=r"(?i)certificate"):
        SmtpTransport.from_url(login).send(mail)
    assert seen


def test_tls_from_the_start(serve, mailbox, mail, certificate):
    server_tls, client_tls = certificate
    server = serve(mailbox, ssl_context=server_tls)
    transport = SmtpTransport.from_url(f"smtps://127.0.0.1:{server.port}")
    attrs.evolve(transport, tls=client_tls).send(mail)
    assert len(mailbox.envelopes) == 1
    with pytest.raises(DeliveryFailed, match=r"(?i)certificate"):
        transport.send(mail)


def test_a_server_without_starttls_gets_no_mail_in_the_clear(smtp, mailbox, mail):
    with pytest.raises(DeliveryFailed, match="STARTTLS"):
        SmtpTransport.from_url(f"{smtp.url}?starttls=1").send(mail)
    assert not mailbox.envelopes


def test_an_international_address_goes_to_servers_that_know_it(serve, mailbox):
    mail = build(delivery(address="jürgen@example.com"), "desk@example.com", NOON)
    SmtpTransport.from_url(serve(mailbox, enable_SMTPUTF8=True).url).send(mail)
    assert mailbox.envelopes[0].rcpt_tos == ["jürgen@example.com"]
    with pytest.raises(DeliveryRefused, match="SMTPUTF8"):
        SmtpTransport.from_url(serve(mailbox, enable_SMTPUTF8=False).url).send(mail)


@pytest.mark.parametrize(
    ("url", "host", "port", "user"),
    [
        ("smtp://mail", "mail", 25, None),
        ("smtp://mail?starttls=1", "mail", 587, None),
        ("smtps://u:p@mail", "mail", 465, "u"),
        ("smtp://u@mail:2525/?starttls=0", "mail", 2525, "u"),
        ("smtp://[::1]:26", "::1", 26, None),
    ],
)
def test_urls(url, host, port, user):
    transport = SmtpTransport.from_url(url)
    assert (transport.host, transport.port, transport.user) == (host, port, user)


@pytest.mark.parametrize(
    "url",
    ["mail", "http://:secret@mail", "smtp://", "smtp://u:secret@mail:port", "smtp://u:secret@mail:0", "smtp://u:secret@mail/x",
     "smtp://u:secret@mail?tls=1", "smtp://u:secret@mail?starttls=yes", "smtps://u:secret@mail?starttls=1", "smtp://u:secret@mail:99999"],
)  # fmt: skip
def test_a_wrong_url_is_refused_without_showing_the_password(url):
    with pytest.raises(ConfigurationError, match="SLAQ_SMTP_URL") as raised:
        SmtpTransport.from_url(url)
    assert "secret" not in str(raised.value)


def test_without_a_server_mails_become_files_in_a_folder_that_the_log_names(tmp_path, caplog, mail):
    with caplog.at_level(logging.INFO):
        transport = transport_for(Settings(directory=tmp_path / "new"))
    assert str(tmp_path / "new" / "mail") in caplog.text
    transport.send(mail)
    transport.send(mail)
    (file,) = (tmp_path / "new" / "mail").iterdir()
    assert file.name == "00000000-0000-0000-0000-000000000001.eml"
    message = message_from_bytes(file.read_bytes(), policy=policy.default)
    assert message["Subject"] == mail.message["Subject"]


def test_a_folder_that_cannot_be_written_is_tried_again_and_leaves_nothing(tmp_path, mail):
    (tmp_path / "file").touch()
    with pytest.raises(DeliveryFailed, match="could not be written"):
        FileTransport(tmp_path / "file").send(mail)
    (tmp_path / f"{mail.name}.eml").mkdir()
    with pytest.raises(DeliveryFailed):
        FileTransport(tmp_path).send(mail)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{mail.name}.eml", "file"]


def test_settings_choose_the_transport():
    assert isinstance(transport_for(Settings(smtp_url="smtp://mail")), SmtpTransport)
    with pytest.raises(ConfigurationError, match="SLAQ_MAIL_FROM"):
        transport_for(Settings(smtp_url="smtp://mail", mail_from="nobody"))
