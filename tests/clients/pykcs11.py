"""An ordinary program on PyKCS11: makes keys, signs, encrypts, digests, finds and destroys.

python pykcs11.py MODULE PIN
"""

import hashlib
import sys

import PyKCS11
from PyKCS11 import PyKCS11Error

CURVE = bytes.fromhex("06082a8648ce3d030107")


def pair(session, mechanism, public, private, label):
    """A key pair of session objects."""
    common = [(PyKCS11.CKA_TOKEN, PyKCS11.CK_FALSE), (PyKCS11.CKA_LABEL, label)]
    return session.generateKeyPair(public + common, private + common, mecha=mechanism)


def main(module, pin):
    library = PyKCS11.PyKCS11Lib()
    library.load(module)
    slot = library.getSlotList(tokenPresent=True)[0]
    assert library.getTokenInfo(slot).manufacturerID.strip() == "Strongroom"
    assert "CKM_ECDSA" in library.getMechanismList(slot)
    session = library.openSession(slot, PyKCS11.CKF_SERIAL_SESSION | PyKCS11.CKF_RW_SESSION)
    try:
        session.login("wrong")
        raise AssertionError("a wrong PIN")
    except PyKCS11Error as error:
        assert error.value == PyKCS11.CKR_PIN_INCORRECT, error
    session.login(pin)

    public, private = pair(
        session,
        PyKCS11.MechanismRSAGENERATEKEYPAIR,
        [
            (PyKCS11.CKA_MODULUS_BITS, 2048),
            (PyKCS11.CKA_PUBLIC_EXPONENT, (1, 0, 1)),
            (PyKCS11.CKA_VERIFY, PyKCS11.CK_TRUE),
            (PyKCS11.CKA_ENCRYPT, PyKCS11.CK_TRUE),
        ],
        [(PyKCS11.CKA_SIGN, PyKCS11.CK_TRUE), (PyKCS11.CKA_DECRYPT, PyKCS11.CK_TRUE)],
        "py-rsa",
    )
    for mechanism in [
        PyKCS11.Mechanism(PyKCS11.CKM_SHA256_RSA_PKCS),
        PyKCS11.RSA_PSS_Mechanism(
            PyKCS11.CKM_SHA256_RSA_PKCS_PSS, PyKCS11.CKM_SHA256, PyKCS11.CKG_MGF1_SHA256, 32
        ),
    ]:
        signature = session.sign(private, b"data", mechanism)
        assert session.verify(public, b"data", signature, mechanism)
        assert not session.verify(public, b"Data", signature, mechanism)
    oaep = PyKCS11.RSAOAEPMechanism(PyKCS11.CKM_SHA256, PyKCS11.CKG_MGF1_SHA256)
    sealed = session.encrypt(public, b"data", oaep)
    assert bytes(session.decrypt(private, sealed, oaep)) == b"data"
    assert len(session.findObjects([(PyKCS11.CKA_LABEL, "py-rsa")])) == 2
    modulus = session.getAttributeValue(public, [PyKCS11.CKA_MODULUS])[0]
    assert len(modulus) == 256
    # What may not be read is left out, and the rest is there.
    label, exponent = session.getAttributeValue(
        private, [PyKCS11.CKA_LABEL, PyKCS11.CKA_PRIVATE_EXPONENT], allAsBinary=False
    )
    assert label == "py-rsa" and exponent is None

    public, private = pair(
        session,
        PyKCS11.MechanismECGENERATEKEYPAIR,
        [(PyKCS11.CKA_EC_PARAMS, CURVE), (PyKCS11.CKA_VERIFY, PyKCS11.CK_TRUE)],
        [(PyKCS11.CKA_SIGN, PyKCS11.CK_TRUE)],
        "py-ec",
    )
    ecdsa = PyKCS11.Mechanism(PyKCS11.CKM_ECDSA_SHA256)
    signature = session.sign(private, b"data", ecdsa)
    assert len(signature) == 64 and session.verify(public, b"data", signature, ecdsa)

    key = session.generateKey(
        [
            (PyKCS11.CKA_TOKEN, PyKCS11.CK_FALSE),
            (PyKCS11.CKA_VALUE_LEN, 32),
            (PyKCS11.CKA_ENCRYPT, PyKCS11.CK_TRUE),
            (PyKCS11.CKA_DECRYPT, PyKCS11.CK_TRUE),
        ],
        mecha=PyKCS11.MechanismAESGENERATEKEY,
    )
    for mechanism in [
        PyKCS11.Mechanism(PyKCS11.CKM_AES_CBC_PAD, bytes(16)),
        PyKCS11.AES_GCM_Mechanism(bytes(12), b"header", 128),
    ]:
        sealed = session.encrypt(key, b"some data", mechanism)
        assert bytes(session.decrypt(key, sealed, mechanism)) == b"some data"

    digest = session.digest(b"data", PyKCS11.Mechanism(PyKCS11.CKM_SHA256))
    assert bytes(digest) == hashlib.sha256(b"data").digest()
    assert len(session.generateRandom(100)) == 100
    session.seedRandom(bytes(16))
    for handle in [public, private, key]:
        session.destroyObject(handle)
    assert not session.findObjects([(PyKCS11.CKA_LABEL, "py-ec")])
    session.logout()
    session.closeSession()
    print("ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
