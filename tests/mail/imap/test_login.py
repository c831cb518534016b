"""LOGIN, AUTHENTICATE, CAPABILITY, ID, ENABLE and the states before log-in."""

from __future__ import annotations

import base64

from tests.mail.imap.talk import PASSWORD, USER, Talk, play


def plain(user: str = USER, password: str = PASSWORD, authzid: str = "") -> str:
    return base64.b64encode(f"{authzid}\0{user}\0{password}".encode()).decode()


async def test_the_greeting_names_what_can_be_done() -> None:
    talk = Talk()
    talk.session.greet()
    greeting = talk.take()
    assert greeting.startswith(b"* OK [CAPABILITY IMAP4rev1 ")
    assert b" AUTH=PLAIN" in greeting
    assert b"STARTTLS" not in greeting


async def test_login_in_all_its_writings() -> None:
    for arguments in (
        f"{USER} {PASSWORD}",
        f'"{USER}" "{PASSWORD}"',
        f"{{{len(USER)}+}}\r\n{USER} {{{len(PASSWORD)}+}}\r\n{PASSWORD}",
    ):
        said = await Talk().send(f"a1 LOGIN {arguments}\r\n".encode())
        assert said.startswith(b"a1 OK [CAPABILITY IMAP4rev1 "), arguments
        assert b"UIDPLUS" in said


async def test_login_with_a_synchronising_literal() -> None:
    talk = Talk()
    assert await talk.send(b"a1 LOGIN {%d}\r\n" % len(USER)) == b"+ OK\r\n"
    said = await talk.send(f'{USER} "{PASSWORD}"\r\n'.encode())
    assert said.startswith(b"a1 OK ")
    await talk.end()


async def test_a_wrong_password_and_an_unknown_user_look_alike_and_wait() -> None:
    talk = Talk()
    wrong = await talk.send(f"a LOGIN {USER} no\r\n".encode())
    unknown = await talk.send(b"a LOGIN nobody@example.test no\r\n")
    assert wrong == unknown == b"a NO [AUTHENTICATIONFAILED] The user or the password is wrong.\r\n"
    assert talk.waited == [0.5, 1.0]


async def test_too_many_failures_end_the_connection() -> None:
    talk = Talk()
    said = b""
    for _ in range(5):
        said = await talk.send(b"a LOGIN x y\r\n")
    assert said.startswith(b"* BYE ")
    assert b"a NO [AUTHENTICATIONFAILED]" in said
    assert talk.closed
    assert sum(talk.waited) >= 15


async def test_authenticate_plain_with_and_without_an_initial_response() -> None:
    await play(
        f"""
        C: a AUTHENTICATE PLAIN {plain()}
        S: a OK [CAPABILITY …] Logged in.
        C: b AUTHENTICATE PLAIN {plain()}
        S: b BAD This connection is logged in already.
        C2: a AUTHENTICATE plain
        S2: +\x20
        C2: {plain(authzid=USER)}
        S2: a OK [CAPABILITY …] Logged in.
        """,
        log_in=False,
    )


async def test_authenticate_refusals() -> None:
    await play(
        f"""
        C: a AUTHENTICATE PLAIN
        S: +\x20
        C: *
        S: a BAD Cancelled.
        C: b AUTHENTICATE PLAIN not*base64
        S: b BAD The response is not what PLAIN sends.
        C: c AUTHENTICATE PLAIN =
        S: c BAD The response is not what PLAIN sends.
        C: d AUTHENTICATE CRAM-MD5
        S: d NO [CANNOT] Only PLAIN is known here.
        C: e AUTHENTICATE PLAIN {plain(password="no")}
        S: e NO [AUTHENTICATIONFAILED] …
        C: f AUTHENTICATE PLAIN {plain(authzid="eve@example.test")}
        S: f NO [AUTHENTICATIONFAILED] …
        C: g NOOP
        S: g OK …
        """,
        log_in=False,
    )


async def test_no_command_about_mail_is_answered_before_login() -> None:
    for command in (
        "SELECT INBOX",
        "EXAMINE INBOX",
        "CREATE x",
        "DELETE x",
        "RENAME x y",
        "SUBSCRIBE x",
        "UNSUBSCRIBE x",
        'LIST "" *',
        'LSUB "" *',
        "STATUS INBOX (MESSAGES)",
        "APPEND INBOX {1+}\r\nx",
        "NAMESPACE",
        "IDLE",
        "ENABLE CONDSTORE",
        "FETCH 1 FLAGS",
        "UID FETCH 1 FLAGS",
        "STORE 1 FLAGS ()",
        "SEARCH ALL",
        "COPY 1 x",
        "MOVE 1 x",
        "EXPUNGE",
        "UID EXPUNGE 1",
        "CLOSE",
        "UNSELECT",
        "CHECK",
    ):
        said = await Talk().send(f"a {command}\r\n".encode())
        assert said == b"a BAD Log in first.\r\n", command


async def test_nothing_about_messages_is_answered_without_a_mailbox() -> None:
    talk = await Talk().log_in()
    for command in (
        "FETCH 1 FLAGS",
        "UID FETCH 1 FLAGS",
        "STORE 1 FLAGS ()",
        "SEARCH ALL",
        "COPY 1 x",
        "UID MOVE 1 x",
        "EXPUNGE",
        "UID EXPUNGE 1",
        "CLOSE",
        "UNSELECT",
        "CHECK",
    ):
        said = await talk.send(f"a {command}\r\n".encode())
        assert said == b"a BAD Select a mailbox first.\r\n", command
    await talk.end()


async def test_capability_id_namespace_enable() -> None:
    await play(
        """
        C: a CAPABILITY
        S: * CAPABILITY IMAP4rev1 …UIDPLUS…
        S: a OK …
        C: b ID ("name" "mutt" "version" NIL)
        S: * ID ("name" "leap.mail")
        S: b OK …
        C: c ID NIL
        S: * ID ("name" "leap.mail")
        S: c OK …
        C: d NAMESPACE
        S: * NAMESPACE (("" "/")) NIL NIL
        S: d OK …
        C: e ENABLE X-NOTHING
        S: * ENABLED
        S: e OK …
        C: f ID (
        S: f BAD …
        """,
        mailbox=None,
    )


async def test_an_id_as_long_as_it_may_be_comes_before_the_log_in() -> None:
    """RFC 2971 3.3: 30 pairs, 30 octets of name, 1,024 of value."""
    talk = Talk()
    pairs = " ".join(f'"{n:030d}" "{n:01024d}"' for n in range(30))
    assert b"a OK " in await talk.send(f"a ID ({pairs})\r\n".encode())
    await talk.end()


async def test_logout_says_bye_first() -> None:
    talk = await Talk().log_in()
    said = await talk.send(b"a LOGOUT\r\nb NOOP\r\n")
    assert said == b"* BYE Until next time.\r\na OK Logged out.\r\n"
    assert talk.closed
    await talk.end()


async def test_a_closed_account_says_bye() -> None:
    talk = await Talk().log_in("INBOX")
    from tests.mail.imap.talk import settled

    await settled()
    await talk.account.close()
    await settled()
    assert talk.take() == b"* BYE The account was closed.\r\n"
    assert talk.closed
    await talk.end()


async def test_passwords_show_in_no_repr() -> None:
    from leap.mail.imap.wire.framing import RawCommand
    from leap.mail.imap.wire.parsing import parse_command

    _, command = parse_command(RawCommand(b"a LOGIN alice hunter22", ()))
    assert "hunter22" not in repr(command)
    _, command = parse_command(RawCommand(b"a AUTHENTICATE PLAIN aHVudGVyMjI=", ()))
    assert "aHVudGVyMjI" not in repr(command)
