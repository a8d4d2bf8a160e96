"""One account per provider. Each module of this package has one. To add an account, add a file."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from sandbox.account import Account

__all__ = ["ACCOUNTS", "Account"]


def _account_in(module: str) -> type[Account]:
    contents = vars(import_module(f"{__name__}.{module}")).values()
    (account,) = {
        thing
        for thing in contents
        if isinstance(thing, type) and issubclass(thing, Account) and thing is not Account
    }
    return account


ACCOUNTS: dict[str, type[Account]] = {
    account.name: account
    for account in (_account_in(module.name) for module in iter_modules(__path__))
}
