"""Every event that this project reads or publishes. Functions import their own alone.

They are the payloads in the modules beside this one: nothing lists them.
"""

from importlib import import_module
from pkgutil import iter_modules

from domain import events
from domain.events import Payload
from domain.events.mail import MailReturned

_MODULES = [
    import_module(f"{events.__name__}.{found.name}")
    for found in iter_modules(events.__path__)
    if found.name != "contracts"
]

#: Every event that a consumer of ours may get, by detail-type.
CONTRACTS: dict[str, type[Payload]] = {
    each.type_name: each
    for module in _MODULES
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, Payload) and each is not Payload
}

#: What comes from another service, as a rule of the template puts it into our form; the bus never has it.
RECEIVED: dict[str, type[Payload]] = {MailReturned.type_name: MailReturned}

#: What this project publishes.
PUBLISHED = {name: contract for name, contract in CONTRACTS.items() if name not in RECEIVED}
