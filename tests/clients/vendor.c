/*
 * A program written against CloudHSM's own header: its AES-GCM and its AES key wraps.
 *
 * It checks what it can inside the HSM, and prints the rest for a check outside, one result a line:
 * a name and hexadecimal numbers. The keys' bytes are 0x00, 0x01, … for the one that encrypts and is
 * wrapped, 0x40, 0x41, … for the one that wraps.
 *
 * Copyright the Strongroom authors. SPDX-License-Identifier: Apache-2.0
 */

/* First, so that it is seen to include all that it needs. */
#include "cloudhsm_pkcs11_vendor_defs.h"

#include "p11.h"

#define KEY_BYTES 32
#define IV_BYTES 12

static CK_FUNCTION_LIST_PTR p11;
static CK_SESSION_HANDLE session;

static CK_BYTE plaintext[] = "what the HSM encrypts";
static CK_BYTE header[] = "what it only authenticates";

static void print_hex(const CK_BYTE *bytes, CK_ULONG length)
{
    putchar(' ');
    for (CK_ULONG i = 0; i < length; i++)
        printf("%02x", bytes[i]);
}

/* An AES-256 key of known bytes. */
static CK_OBJECT_HANDLE import_aes(CK_BYTE first)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_BYTE value[KEY_BYTES];
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (CK_BYTE)(first + i);
    CK_ATTRIBUTE template[] = {
        { CKA_CLASS, &class, sizeof class },      { CKA_KEY_TYPE, &type, sizeof type },
        { CKA_VALUE, value, sizeof value },       { CKA_TOKEN, &no, sizeof no },
        { CKA_ENCRYPT, &yes, sizeof yes },        { CKA_DECRYPT, &yes, sizeof yes },
        { CKA_WRAP, &yes, sizeof yes },           { CKA_UNWRAP, &yes, sizeof yes },
        { CKA_EXTRACTABLE, &yes, sizeof yes },
    };
    CK_OBJECT_HANDLE key;
    MUST(p11->C_CreateObject(session, template, COUNT(template), &key));
    return key;
}

/* One operation with CK_GCM_PARAMS, its length asked for first. */
static CK_RV gcm(CK_MECHANISM_TYPE kind, bool encrypt, CK_OBJECT_HANDLE key, CK_BYTE *iv,
                 CK_BYTE *in, CK_ULONG in_length, CK_BYTE *out, CK_ULONG *out_length)
{
    CK_GCM_PARAMS parameter = {
        .pIv = iv,
        .ulIvLen = iv == NULL ? 0 : IV_BYTES,
        .ulIvBits = 0,
        .pAAD = header,
        .ulAADLen = sizeof header,
        .ulTagBits = GCM_TAG * 8,
    };
    CK_MECHANISM mechanism = { kind, &parameter, sizeof parameter };
    CK_ULONG asked = 0;
    CK_RV rv = encrypt ? p11->C_EncryptInit(session, &mechanism, key)
                       : p11->C_DecryptInit(session, &mechanism, key);
    if (rv != CKR_OK)
        return rv;
    if (encrypt) {
        MUST(p11->C_Encrypt(session, in, in_length, NULL, &asked));
        rv = p11->C_Encrypt(session, in, in_length, out, out_length);
        CHECK(rv != CKR_OK || asked == *out_length);
        return rv;
    }
    return p11->C_Decrypt(session, in, in_length, out, out_length);
}

static void must_open(CK_MECHANISM_TYPE kind, CK_OBJECT_HANDLE key, CK_BYTE *iv, CK_BYTE *sealed,
                      CK_ULONG length)
{
    CK_BYTE opened[sizeof plaintext + IV_BYTES + GCM_TAG];
    CK_ULONG opened_length = sizeof opened;
    MUST(gcm(kind, false, key, iv, sealed, length, opened, &opened_length));
    CHECK(opened_length == sizeof plaintext);
    CHECK(memcmp(opened, plaintext, sizeof plaintext) == 0);
    sealed[length - 1] ^= 1;
    opened_length = sizeof opened;
    EXPECT(gcm(kind, false, key, iv, sealed, length, opened, &opened_length),
           CKR_ENCRYPTED_DATA_INVALID);
    sealed[length - 1] ^= 1;
}

/* CKM_CLOUDHSM_AES_GCM: no IV goes in, and the HSM's comes out in front of the ciphertext. */
static void iv_in_front(CK_OBJECT_HANDLE key)
{
    CK_BYTE sealed[2][IV_BYTES + sizeof plaintext + GCM_TAG], iv[IV_BYTES] = { 1 };
    for (int i = 0; i < 2; i++) {
        CK_ULONG length = sizeof sealed[i];
        MUST(gcm(CKM_CLOUDHSM_AES_GCM, true, key, NULL, plaintext, sizeof plaintext, sealed[i],
                 &length));
        CHECK(length == sizeof sealed[i]);
        must_open(CKM_CLOUDHSM_AES_GCM, key, NULL, sealed[i], length);
        /* The same without the vendor's mechanism. */
        must_open(CKM_AES_GCM, key, sealed[i], sealed[i] + IV_BYTES, length - IV_BYTES);
    }
    CHECK(memcmp(sealed[0], sealed[1], IV_BYTES) != 0);
    CK_ULONG length = sizeof sealed[0];
    EXPECT(gcm(CKM_CLOUDHSM_AES_GCM, true, key, iv, plaintext, sizeof plaintext, sealed[1], &length),
           CKR_MECHANISM_PARAM_INVALID);
    printf("gcm");
    print_hex(sealed[0], IV_BYTES);
    print_hex(sealed[0] + IV_BYTES, sizeof sealed[0] - IV_BYTES);
    printf("\n");
}

/* CKM_AES_GCM: zeros go in, and the HSM's IV is written over them. */
static void iv_written_back(CK_OBJECT_HANDLE key)
{
    CK_BYTE sealed[sizeof plaintext + GCM_TAG], iv[2][IV_BYTES] = { { 0 } }, zero[IV_BYTES] = { 0 };
    for (int i = 0; i < 2; i++) {
        CK_ULONG length = sizeof sealed;
        MUST(gcm(CKM_AES_GCM, true, key, iv[i], plaintext, sizeof plaintext, sealed, &length));
        CHECK(length == sizeof sealed);
        CHECK(memcmp(iv[i], zero, IV_BYTES) != 0);
        must_open(CKM_AES_GCM, key, iv[i], sealed, length);
    }
    CHECK(memcmp(iv[0], iv[1], IV_BYTES) != 0);
    printf("gcm");
    print_hex(iv[1], IV_BYTES);
    print_hex(sealed, sizeof sealed);
    printf("\n");
    /* A caller's own IV might be used twice. */
    CK_ULONG length = sizeof sealed;
    memcpy(iv[1], iv[0], IV_BYTES);
    EXPECT(gcm(CKM_AES_GCM, true, key, iv[1], plaintext, sizeof plaintext, sealed, &length),
           CKR_MECHANISM_PARAM_INVALID);
    CHECK(memcmp(iv[1], iv[0], IV_BYTES) == 0);
}

/* Wraps, with the length asked for first; gives the length. */
static CK_ULONG wrap(CK_MECHANISM_TYPE kind, CK_OBJECT_HANDLE by, CK_OBJECT_HANDLE key,
                     CK_BYTE *wrapped, CK_ULONG room)
{
    CK_MECHANISM mechanism = { kind, NULL, 0 };
    CK_ULONG asked = 0, length = room;
    MUST(p11->C_WrapKey(session, &mechanism, by, key, NULL, &asked));
    MUST(p11->C_WrapKey(session, &mechanism, by, key, wrapped, &length));
    CHECK(asked == length);
    return length;
}

static void wrap_aes(const char *name, CK_MECHANISM_TYPE kind, CK_ULONG expected,
                     CK_OBJECT_HANDLE by, CK_OBJECT_HANDLE key)
{
    CK_BYTE wrapped[256];
    CK_ULONG length = wrap(kind, by, key, wrapped, sizeof wrapped);
    CHECK(length == expected);
    printf("%s", name);
    print_hex(wrapped, length);
    printf("\n");

    CK_MECHANISM mechanism = { kind, NULL, 0 };
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE template[] = {
        { CKA_CLASS, &class, sizeof class }, { CKA_KEY_TYPE, &type, sizeof type },
        { CKA_TOKEN, &no, sizeof no },       { CKA_DECRYPT, &yes, sizeof yes },
    };
    CK_OBJECT_HANDLE back;
    MUST(p11->C_UnwrapKey(session, &mechanism, by, wrapped, length, template, COUNT(template),
                          &back));
    CK_BYTE sealed[IV_BYTES + sizeof plaintext + GCM_TAG];
    CK_ULONG sealed_length = sizeof sealed;
    MUST(gcm(CKM_CLOUDHSM_AES_GCM, true, key, NULL, plaintext, sizeof plaintext, sealed,
             &sealed_length));
    must_open(CKM_CLOUDHSM_AES_GCM, back, NULL, sealed, sealed_length);

    wrapped[0] ^= 1;
    CHECK(p11->C_UnwrapKey(session, &mechanism, by, wrapped, length, template, COUNT(template),
                           &back) != CKR_OK);
}

/* A private key travels as PKCS#8, of any length. */
static void wrap_p256(CK_MECHANISM_TYPE kind, CK_OBJECT_HANDLE by)
{
    CK_OBJECT_HANDLE public_key, private_key, back;
    CK_BYTE wrapped[512];
    generate_p256(p11, session, NULL, &public_key, &private_key);
    CK_ULONG length = wrap(kind, by, private_key, wrapped, sizeof wrapped);

    CK_MECHANISM mechanism = { kind, NULL, 0 };
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_KEY_TYPE type = CKK_EC;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE template[] = {
        { CKA_CLASS, &class, sizeof class }, { CKA_KEY_TYPE, &type, sizeof type },
        { CKA_TOKEN, &no, sizeof no },       { CKA_SIGN, &yes, sizeof yes },
    };
    MUST(p11->C_UnwrapKey(session, &mechanism, by, wrapped, length, template, COUNT(template),
                          &back));
    CK_BYTE digest[32] = { 3 }, signature[64];
    MUST(sign_p256(p11, session, back, digest, signature));
    MUST(verify_p256(p11, session, public_key, digest, signature));
}

int main(void)
{
    alarm(60);
    p11 = module_load(variable("STRONGROOM_PKCS11")).functions;
    MUST(initialize(p11));
    session = open_session(p11);
    login(p11, session);
    CK_OBJECT_HANDLE key = import_aes(0x00), by = import_aes(0x40);

    iv_in_front(key);
    iv_written_back(key);

    wrap_aes("no-pad", CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD, KEY_BYTES + 8, by, key);
    wrap_aes("zero-pad", CKM_CLOUDHSM_AES_KEY_WRAP_ZERO_PAD, KEY_BYTES + 8, by, key);
    wrap_aes("pkcs5-pad", CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD, KEY_BYTES + 16, by, key);
    wrap_p256(CKM_CLOUDHSM_AES_KEY_WRAP_ZERO_PAD, by);
    wrap_p256(CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD, by);

    MUST(p11->C_Finalize(NULL));
    return 0;
}
