/*
 * A program written against CloudHSM's own header: Ed25519 and ML-DSA by its mechanisms, ECDH with its
 * derivation functions, and RSA by X9.31, in the way of AWS's samples.
 *
 * It checks inside the HSM what it can, and prints Ed25519's public key and signature for a check
 * outside.
 *
 * Copyright the Strongroom authors. SPDX-License-Identifier: Apache-2.0
 */

#include "cloudhsm_pkcs11_vendor_defs.h"

#include "p11.h"

static CK_FUNCTION_LIST_PTR p11;
static CK_SESSION_HANDLE session;

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_BYTE message[] = "what the HSM signs";

/* A pair that signs and verifies; `what` says what of, in the public key's template and in the private
   one's where AWS's samples say it there, too. */
static void pair(CK_MECHANISM_TYPE kind, CK_ATTRIBUTE what, bool in_both, CK_OBJECT_HANDLE *public,
                 CK_OBJECT_HANDLE *private)
{
    CK_MECHANISM mechanism = { kind, NULL, 0 };
    CK_ATTRIBUTE publics[] = { { CKA_TOKEN, &no, sizeof no }, { CKA_VERIFY, &yes, sizeof yes }, what };
    CK_ATTRIBUTE privates[] = {
        { CKA_TOKEN, &no, sizeof no },
        { CKA_PRIVATE, &yes, sizeof yes },
        { CKA_SIGN, &yes, sizeof yes },
        what,
    };
    MUST(p11->C_GenerateKeyPair(session, &mechanism, publics, COUNT(publics), privates,
                                in_both ? COUNT(privates) : COUNT(privates) - 1, public, private));
}

/* Signs, and expects that just this data verifies. */
static CK_ULONG sign(CK_MECHANISM_TYPE kind, CK_OBJECT_HANDLE public, CK_OBJECT_HANDLE private,
                     CK_BYTE *data, CK_ULONG length, CK_BYTE *signature, CK_ULONG room)
{
    CK_MECHANISM mechanism = { kind, NULL, 0 };
    CK_ULONG made = 0;
    MUST(p11->C_SignInit(session, &mechanism, private));
    MUST(p11->C_Sign(session, data, length, NULL, &made));
    CHECK(made <= room);
    MUST(p11->C_Sign(session, data, length, signature, &made));
    MUST(p11->C_VerifyInit(session, &mechanism, public));
    MUST(p11->C_Verify(session, data, length, signature, made));
    data[0] ^= 1;
    MUST(p11->C_VerifyInit(session, &mechanism, public));
    EXPECT(p11->C_Verify(session, data, length, signature, made), CKR_SIGNATURE_INVALID);
    data[0] ^= 1;
    return made;
}

static void print_hex(const CK_BYTE *bytes, CK_ULONG length)
{
    putchar(' ');
    for (CK_ULONG i = 0; i < length; i++)
        printf("%02x", bytes[i]);
}

/* The key type is CKK_EC, the curve says which. */
static void ed25519(void)
{
    CK_BYTE curve[] = { 0x06, 0x03, 0x2b, 0x65, 0x70 };
    CK_OBJECT_HANDLE public, private;
    pair(CKM_EC_KEY_PAIR_GEN, (CK_ATTRIBUTE){ CKA_EC_PARAMS, curve, sizeof curve }, false, &public,
         &private);
    CK_KEY_TYPE type = 0;
    CK_BYTE point[64], signature[64];
    CK_ATTRIBUTE asked[] = { { CKA_KEY_TYPE, &type, sizeof type }, { CKA_EC_POINT, point, sizeof point } };
    MUST(p11->C_GetAttributeValue(session, public, asked, COUNT(asked)));
    CHECK(type == CKK_EC);
    CHECK(asked[1].ulValueLen == 34);
    CHECK(sign(CKM_CLOUDHSM_EDDSA, public, private, message, sizeof message, signature,
               sizeof signature) == 64);
    printf("ed25519");
    print_hex(point + 2, 32);
    print_hex(signature, sizeof signature);
    printf("\n");
}

static void ml_dsa(void)
{
    static const CK_ULONG lengths[] = { 2420, 3309, 4627 };
    CK_CLOUDHSM_ML_DSA_PARAMETER_SET_TYPE sets[] = {
        CKP_CLOUDHSM_ML_DSA_44, CKP_CLOUDHSM_ML_DSA_65, CKP_CLOUDHSM_ML_DSA_87,
    };
    for (size_t i = 0; i < COUNT(sets); i++) {
        CK_ATTRIBUTE what = { CKA_CLOUDHSM_PARAMETER_SET, &sets[i], sizeof sets[i] };
        CK_OBJECT_HANDLE public, private;
        CK_BYTE signature[4627], mu[64] = { 5 };
        pair(CKM_CLOUDHSM_ML_DSA_KEY_PAIR_GEN, what, true, &public, &private);
        CHECK(sign(CKM_CLOUDHSM_ML_DSA, public, private, message, sizeof message, signature,
                   sizeof signature) == lengths[i]);
        sign(CKM_CLOUDHSM_EXT_MU_ML_DSA, public, private, mu, sizeof mu, signature, sizeof signature);
        CK_MECHANISM by_mu = { CKM_CLOUDHSM_EXT_MU_ML_DSA, NULL, 0 };
        CK_ULONG room = sizeof signature;
        MUST(p11->C_SignInit(session, &by_mu, private));
        EXPECT(p11->C_Sign(session, mu, sizeof mu - 1, signature, &room), CKR_DATA_LEN_RANGE);
    }
}

/* An AES key of one side's private key and the other's point, as its attribute gives it. */
static CK_OBJECT_HANDLE derive(CK_ULONG kdf, CK_OBJECT_HANDLE private, CK_OBJECT_HANDLE peer)
{
    CK_BYTE point[80];
    CK_ATTRIBUTE asked = { CKA_EC_POINT, point, sizeof point };
    MUST(p11->C_GetAttributeValue(session, peer, &asked, 1));
    CK_ECDH1_DERIVE_PARAMS parameter = {
        .kdf = kdf,
        .ulSharedDataLen = 0,
        .pSharedData = NULL,
        .ulPublicDataLen = asked.ulValueLen,
        .pPublicData = point,
    };
    CK_MECHANISM mechanism = { CKM_ECDH1_DERIVE, &parameter, sizeof parameter };
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_ULONG length = 32;
    CK_ATTRIBUTE template[] = {
        { CKA_CLASS, &class, sizeof class },      { CKA_KEY_TYPE, &type, sizeof type },
        { CKA_VALUE_LEN, &length, sizeof length }, { CKA_TOKEN, &no, sizeof no },
        { CKA_ENCRYPT, &yes, sizeof yes },
    };
    CK_OBJECT_HANDLE key;
    MUST(p11->C_DeriveKey(session, &mechanism, private, template, COUNT(template), &key));
    return key;
}

static void ecdh(void)
{
    static const CK_ULONG functions[] = {
        CKD_CLOUDHSM_X963_SHA1_KDF,   CKD_CLOUDHSM_X963_SHA224_KDF, CKD_CLOUDHSM_X963_SHA256_KDF,
        CKD_CLOUDHSM_X963_SHA384_KDF, CKD_CLOUDHSM_X963_SHA512_KDF,
    };
    CK_BYTE curve[] = { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };
    CK_MECHANISM mechanism = { CKM_EC_KEY_PAIR_GEN, NULL, 0 };
    CK_ATTRIBUTE publics[] = { { CKA_EC_PARAMS, curve, sizeof curve } };
    CK_ATTRIBUTE privates[] = { { CKA_DERIVE, &yes, sizeof yes }, { CKA_TOKEN, &no, sizeof no } };
    CK_OBJECT_HANDLE public[2], private[2];
    for (int i = 0; i < 2; i++)
        MUST(p11->C_GenerateKeyPair(session, &mechanism, publics, COUNT(publics), privates,
                                    COUNT(privates), &public[i], &private[i]));
    for (size_t i = 0; i < COUNT(functions); i++) {
        CK_OBJECT_HANDLE keys[] = { derive(functions[i], private[0], public[1]),
                                    derive(functions[i], private[1], public[0]) };
        CK_MECHANISM ecb = { CKM_AES_ECB, NULL, 0 };
        CK_BYTE in[16] = { 7 }, out[2][16];
        for (int side = 0; side < 2; side++) {
            CK_ULONG length = sizeof out[side];
            MUST(p11->C_EncryptInit(session, &ecb, keys[side]));
            MUST(p11->C_Encrypt(session, in, sizeof in, out[side], &length));
        }
        CHECK(memcmp(out[0], out[1], sizeof out[0]) == 0);
    }
}

static void rsa(void)
{
    CK_MECHANISM mechanism = { CKM_RSA_X9_31_KEY_PAIR_GEN, NULL, 0 };
    CK_ULONG bits = 2048;
    CK_BYTE exponent[] = { 0x01, 0x00, 0x01 }, signature[256];
    CK_ATTRIBUTE publics[] = {
        { CKA_VERIFY, &yes, sizeof yes },
        { CKA_MODULUS_BITS, &bits, sizeof bits },
        { CKA_PUBLIC_EXPONENT, exponent, sizeof exponent },
    };
    CK_ATTRIBUTE privates[] = { { CKA_SIGN, &yes, sizeof yes } };
    CK_OBJECT_HANDLE public, private;
    MUST(p11->C_GenerateKeyPair(session, &mechanism, publics, COUNT(publics), privates, COUNT(privates),
                                &public, &private));
    CHECK(sign(CKM_SHA256_RSA_PKCS, public, private, message, sizeof message, signature,
               sizeof signature) == 256);
    /* CloudHSM has none below 2,048 bits. */
    bits = 1024;
    EXPECT(p11->C_GenerateKeyPair(session, &mechanism, publics, COUNT(publics), privates,
                                  COUNT(privates), &public, &private),
           CKR_KEY_SIZE_RANGE);
}

int main(void)
{
    alarm(60);
    p11 = module_load(variable("STRONGROOM_PKCS11")).functions;
    MUST(initialize(p11));
    session = open_session(p11);
    login(p11, session);
    ed25519();
    ml_dsa();
    ecdh();
    rsa();
    MUST(p11->C_Finalize(NULL));
    return 0;
}
