#!/usr/bin/env python3
"""Makes log.json: the formats of log.md, implemented apart from Strongroom.

Needs the package `cryptography`. Run it in this folder: ./log.py > log.json
"""

import hashlib
import hmac
import json
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ENTRY = b"strongroom log entry 1\0"
RECORD = b"strongroom record 1\0"
AUDIT = b"strongroom audit 1\0"
TABLES = {"meta": 1, "log": 2, "records": 3, "blobs": 4, "audit": 5}


def hkdf(key, info):
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(key)


def seal_secret(kind, parameters, salt, key, secret):
    check = hkdf(key, b"strongroom seal 1 check")
    header = b"SRSEAL" + bytes([1, kind]) + parameters + salt + check
    sealed = AESGCM(hkdf(key, b"strongroom seal 1 key")).encrypt(bytes(12), secret, header)
    return header + sealed


def u64(number):
    return struct.pack(">Q", number)


def derive(root, context, epoch, boot, salt, hsm_id):
    info = context + u64(epoch) + u64(boot) + salt + hsm_id
    return hkdf(root, info)


def nonce(counter):
    return bytes(4) + u64(counter)


def seal_entry(log_key, hsm_id, epoch, boot, salt, counter, plaintext):
    header = b"\1" + u64(epoch) + u64(boot) + salt + u64(counter) + bytes([len(hsm_id)]) + hsm_id
    key = derive(log_key, ENTRY, epoch, boot, salt, hsm_id)
    return header + AESGCM(key).encrypt(nonce(counter), plaintext, ENTRY + header)


def seal_record(root, hsm_id, epoch, boot, salt, counter, table, row_key, version, plaintext):
    key = derive(root, RECORD, epoch, boot, salt, hsm_id)
    place = RECORD + bytes([TABLES[table]]) + u64(version) + row_key
    return b"\1" + u64(boot) + u64(counter) + AESGCM(key).encrypt(nonce(counter), plaintext, place)


def share(tally_key, table, row_key, version, sealed):
    message = bytes([TABLES[table]]) + u64(version) + u64(len(row_key)) + row_key + sealed
    return hmac.new(tally_key, message, hashlib.sha256).digest()


def tally(shares):
    total = sum(int.from_bytes(one, "little") for one in shares) % 2**256
    return total.to_bytes(32, "little")


def chain(before, sequence, kind, body):
    return hashlib.sha256(AUDIT + before + u64(sequence) + bytes([kind]) + body).digest()


def varint(number):
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(tag, value):
    """One field of a protocol buffers message; zeros and empty values are left out."""
    if isinstance(value, int):
        return varint(tag << 3) + varint(value) if value else b""
    return varint(tag << 3 | 2) + varint(len(value)) + value if value else b""


def position(index, term, leader):
    return field(1, index) + field(2, term) + field(3, leader)


def log_row(term, leader, payload):
    return u64(term) + u64(leader) + payload


def frame(kind, body):
    return bytes([kind]) + struct.pack(">I", len(body)) + body


def snapshot(stands_at, membership, index, records, blobs):
    header = field(1, stands_at) + field(2, membership) + field(3, index)
    stream = b"SRSNAP\1" + frame(1, header + field(4, len(records)) + field(5, len(blobs)))
    for key, value in records:
        stream += frame(2, struct.pack(">I", len(key)) + key + value)
    for object_id, blob in blobs:
        stream += frame(3, object_id + blob)
    return stream + frame(4, hashlib.sha256(stream).digest())


def main():
    root = bytes(range(32))
    salt = bytes(range(0xA0, 0xB0))
    hsm_id = b"hsm-abcdefghijk"
    where = {
        "key": root.hex(), "hsm_id": hsm_id.decode(), "epoch": 2, "boot": 7, "salt": salt.hex(),
    }

    entries = []
    for counter, plaintext in [(1, b""), (2, b"entry"), (2**40 + 1, bytes(range(256)))]:
        sealed = seal_entry(root, hsm_id, 2, 7, salt, counter, plaintext)
        entries.append(
            where | {"counter": counter, "plaintext": plaintext.hex(), "sealed": sealed.hex()}
        )

    records, shares = [], []
    tally_key = bytes(range(64, 96))
    rows = [
        ("meta", b"head", 0, b"head"),
        ("log", u64(41), 0, log_row(3, 2, b"a payload")),
        ("records", bytes(range(16)), 41, b"\0\0\0\3key" + b"value"),
        ("records", bytes(range(16, 32)), 42, b"\0\0\0\0"),
        ("blobs", bytes(16), 41, bytes(100)),
        ("audit", u64(3), 0, b"a record"),
    ]
    for counter, (table, row_key, version, plaintext) in enumerate(rows, start=1):
        sealed = seal_record(
            root, hsm_id, 2, 7, salt, counter, table, row_key, version, plaintext
        )
        row = {
            "counter": counter, "table": table, "row_key": row_key.hex(), "version": version,
            "plaintext": plaintext.hex(), "sealed": sealed.hex(),
        }
        if table == "records":
            shares.append(share(tally_key, table, row_key, version, sealed))
            row["share"] = shares[-1].hex()
        records.append(where | row)

    links, before = [], bytes(32)
    for sequence, (kind, body) in enumerate(
        [(1, b"start"), (2, b"change"), (3, b""), (4, b"install")], start=1
    ):
        before = chain(before, sequence, kind, body)
        links.append(
            {"sequence": sequence, "kind": kind, "body": body.hex(), "hash": before.hex()}
        )

    log_rows = [
        {
            "index": index, "term": term, "leader": leader, "payload": payload.hex(),
            "plaintext": log_row(term, leader, payload).hex(),
        }
        for index, term, leader, payload in [(0, 1, 1, b""), (41, 3, 2, b"a payload")]
    ]

    stored = [(b"\0", b"progress"), (b"\2\0\0\0\1", b"a user"), (b"", b"")]
    masked = [(bytes(range(16)), bytes(200)), (bytes(range(1, 17)), b"\1")]
    snapshots = [
        {
            "index": at[0], "term": at[1], "leader": at[2], "membership": members.hex(),
            "vault_index": vault_index,
            "records": [[key.hex(), value.hex()] for key, value in records],
            "blobs": [[object_id.hex(), blob.hex()] for object_id, blob in blobs],
            "stream": snapshot(position(*at), members, vault_index, records, blobs).hex(),
        }
        for at, members, vault_index, records, blobs in [
            ((0, 1, 1), b"", 0, [], []),
            ((700, 3, 2), b"members", 300, stored, masked),
        ]
    ]

    secret, seal_salt = b"the secrets of an HSM", bytes(range(0x20, 0x40))
    file_key = hkdf(root, b"strongroom seal 1 file\0" + seal_salt)
    cost = {"memory_kib": 256, "passes": 2, "lanes": 2}
    stretched = Argon2id(
        salt=seal_salt, length=32, iterations=cost["passes"], lanes=cost["lanes"],
        memory_cost=cost["memory_kib"],
    ).derive(b"correct horse")
    parameters = struct.pack(">III", cost["memory_kib"], cost["passes"], cost["lanes"])
    plain = {"salt": seal_salt.hex(), "secret": secret.hex()}
    seals = {
        "file": plain | {
            "key": root.hex(), "sealed": seal_secret(1, b"", seal_salt, file_key, secret).hex(),
        },
        "passphrase": plain | cost | {
            "passphrase": "correct horse",
            "sealed": seal_secret(2, parameters, seal_salt, stretched, secret).hex(),
        },
    }

    vectors = {
        "seals": seals,
        "entries": entries,
        "records": records,
        "tally": {"key": tally_key.hex(), "of_records": tally(shares).hex()},
        "log_rows": log_rows,
        "snapshots": snapshots,
        "audit": links,
    }
    print(json.dumps(vectors, indent=1))


main()
