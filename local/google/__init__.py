"""The stand-in for Google's accounts: consent, tokens, revocation and identity, as accounts.google.com speaks them."""
