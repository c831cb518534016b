"""What Twisted finds of this package: `twist --reactor asyncio leap-mail`, and a reactor on uvloop."""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

leap_mail = ServiceMaker(
    "leap-mail", "leap.bitmask.twist", "bitmask: IMAP and SMTP for your mail accounts.", "leap-mail"
)
on_uvloop = Reactor("uvloop", "leap.mail.twisted.on_uvloop", "asyncio's reactor, on uvloop")
