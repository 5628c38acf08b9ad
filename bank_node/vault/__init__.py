"""Everything secret in the state directory under one key-encryption key.

``vault`` seals and opens the files, ``key_sources`` gets the key that opens the vault: from a
passphrase, the desktop's or server's keyring, or a PKCS#11 token.
"""
