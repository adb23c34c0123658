"""Opens an OpenPGP message with a secret key, and writes exactly what was in it.

Usage: open_with_pysequoia.py KEY_FILE MESSAGE_FILE
"""

import sys

import pysequoia

key_file, message_file = sys.argv[1:]
key = pysequoia.Cert.from_file(key_file)
with open(message_file, "rb") as file:
    message = file.read()
opened = pysequoia.decrypt(message, decryptor=key.secrets.decryptor())
sys.stdout.buffer.write(opened.bytes)
