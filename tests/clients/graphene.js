// An ordinary program on graphene-pk11 and pkcs11js: makes keys, signs, encrypts, digests, finds, destroys.
//
// node graphene.js MODULE PIN

"use strict";

const assert = require("node:assert");
const crypto = require("node:crypto");
const graphene = require("graphene-pk11");

const [module_, pin] = process.argv.slice(2);
const library = graphene.Module.load(module_, "Strongroom");
library.initialize();
try {
    const slot = library.getSlots(0);
    const flags = graphene.SessionFlag.RW_SESSION | graphene.SessionFlag.SERIAL_SESSION;
    const session = slot.open(flags);
    assert.throws(() => session.login("wrong"), /CKR_PIN_INCORRECT/);
    session.login(pin);

    const common = { token: false, label: "node" };
    const rsa = session.generateKeyPair(
        graphene.KeyGenMechanism.RSA,
        { ...common, modulusBits: 2048, publicExponent: Buffer.from([1, 0, 1]), verify: true, encrypt: true },
        { ...common, sign: true, decrypt: true },
    );
    const sign = session.createSign("SHA256_RSA_PKCS", rsa.privateKey);
    sign.update("da");
    sign.update("ta");
    const signature = sign.final();
    const verify = session.createVerify("SHA256_RSA_PKCS", rsa.publicKey);
    verify.update("data");
    assert(verify.final(signature));
    const { modulus, publicExponent } = rsa.publicKey.getAttribute({ modulus: null, publicExponent: null });
    const outside = crypto.createPublicKey({
        key: { kty: "RSA", n: modulus.toString("base64url"), e: publicExponent.toString("base64url") },
        format: "jwk",
    });
    assert(crypto.verify("sha256", Buffer.from("data"), outside, signature));

    const oaep = { name: "RSA_PKCS_OAEP", params: new graphene.RsaOaepParams() };
    const sealed = crypto.publicEncrypt({ key: outside, oaepHash: "sha1" }, Buffer.from("data"));
    const opened = session.createDecipher(oaep, rsa.privateKey).once(sealed, Buffer.alloc(256));
    assert.strictEqual(opened.toString(), "data");

    const ec = session.generateKeyPair(
        graphene.KeyGenMechanism.EC,
        { ...common, paramsECDSA: graphene.NamedCurve.getByName("secp256r1").value, verify: true },
        { ...common, sign: true },
    );
    const made = session.createSign("ECDSA_SHA256", ec.privateKey).once(Buffer.from("data"));
    assert(session.createVerify("ECDSA_SHA256", ec.publicKey).once(Buffer.from("data"), made));

    const key = session.generateKey(graphene.KeyGenMechanism.AES, {
        ...common,
        class: graphene.ObjectClass.SECRET_KEY,
        keyType: graphene.KeyType.AES,
        valueLen: 32,
        encrypt: true,
        decrypt: true,
    });
    const cbc = { name: "AES_CBC_PAD", params: Buffer.alloc(16) };
    const cipher = session.createCipher(cbc, key);
    const text = Buffer.concat([cipher.update(Buffer.from("some ")), cipher.update(Buffer.from("data")), cipher.final()]);
    const decipher = session.createDecipher(cbc, key);
    assert.strictEqual(Buffer.concat([decipher.update(text), decipher.final()]).toString(), "some data");

    const digest = session.createDigest("sha256").once(Buffer.from("data"));
    assert(digest.equals(crypto.createHash("sha256").update("data").digest()));
    assert.strictEqual(session.generateRandom(100).length, 100);
    assert.strictEqual(session.find({ label: "node" }).length, 5);
    key.destroy();
    assert.strictEqual(session.find({ label: "node" }).length, 4);
    session.logout();
    session.close();
    console.log("ok");
} finally {
    library.finalize();
}
