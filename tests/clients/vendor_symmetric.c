/*
 * A program written against CloudHSM's own header: its counter-mode derivation in both of the header's
 * forms, CMAC, triple-DES, RSA_AES key wrap, and the rules of AES-GCM, in the way of AWS's samples.
 *
 * It checks inside the HSM what it can, and prints a key, a derived one's HMAC and a CMAC for a check
 * outside.
 *
 * Copyright the Strongroom authors. SPDX-License-Identifier: Apache-2.0
 */

#include "cloudhsm_pkcs11_vendor_defs.h"

#include "p11.h"

/* Where the foreign pkcs11.h is one of 3.0, its structures are the standard's: these are AWS's. */
typedef struct {
    CK_MECHANISM_TYPE prftype;
    CK_ULONG ulNumberOfDataParams;
    void *pDataParams;
} kdf_params;

typedef struct {
    CK_ULONG type;
    CK_VOID_PTR pValue;
    CK_ULONG ulValueLen;
} data_param;

static CK_FUNCTION_LIST_PTR p11;
static CK_SESSION_HANDLE session;

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_OBJECT_CLASS secret = CKO_SECRET_KEY;
static CK_KEY_TYPE aes = CKK_AES, generic = CKK_GENERIC_SECRET;
static CK_BYTE message[] = "what the HSM authenticates";

static void print_hex(const CK_BYTE *bytes, CK_ULONG length)
{
    putchar(' ');
    for (CK_ULONG i = 0; i < length; i++)
        printf("%02x", bytes[i]);
}

/* A key whose bytes count up from 0. */
static CK_OBJECT_HANDLE known(CK_KEY_TYPE *type, CK_ULONG length)
{
    CK_BYTE value[32];
    for (CK_ULONG i = 0; i < sizeof value; i++)
        value[i] = (CK_BYTE)i;
    CK_ATTRIBUTE template[] = {
        { CKA_CLASS, &secret, sizeof secret },  { CKA_KEY_TYPE, type, sizeof *type },
        { CKA_TOKEN, &no, sizeof no },          { CKA_DERIVE, &yes, sizeof yes },
        { CKA_SIGN, &yes, sizeof yes },         { CKA_VERIFY, &yes, sizeof yes },
        { CKA_VALUE, value, length },
    };
    CK_OBJECT_HANDLE key;
    MUST(p11->C_CreateObject(session, template, COUNT(template), &key));
    return key;
}

/* A generic secret of 40 bytes by AES-CMAC; its HMAC of the message tells which it is. */
static void derive(data_param *parts, CK_ULONG count)
{
    kdf_params params = { CKM_AES_CMAC, count, parts };
    CK_MECHANISM mechanism = { CKM_CLOUDHSM_SP800_108_COUNTER_KDF, &params, sizeof params };
    CK_ULONG length = 40;
    CK_ATTRIBUTE template[] = {
        { CKA_CLASS, &secret, sizeof secret }, { CKA_KEY_TYPE, &generic, sizeof generic },
        { CKA_TOKEN, &no, sizeof no },         { CKA_SIGN, &yes, sizeof yes },
        { CKA_VALUE_LEN, &length, sizeof length },
    };
    CK_OBJECT_HANDLE key;
    MUST(p11->C_DeriveKey(session, &mechanism, known(&aes, 32), template, COUNT(template), &key));
    CK_MECHANISM hmac = { CKM_SHA256_HMAC, NULL, 0 };
    CK_BYTE mac[32];
    CK_ULONG made = sizeof mac;
    MUST(p11->C_SignInit(session, &hmac, key));
    MUST(p11->C_Sign(session, message, sizeof message, mac, &made));
    printf("kdf");
    print_hex(mac, made);
    putchar('\n');
    /* AWS wants all three. */
    EXPECT(p11->C_DeriveKey(session, &mechanism, known(&aes, 32), template + 1, COUNT(template) - 1, &key),
           CKR_TEMPLATE_INCOMPLETE);
}

static void counter_kdf(void)
{
    CK_ULONG bits = 32, format[] = { SP800_108_DKM_LENGTH_SUM_OF_KEYS, 32 };
    CK_BYTE label[] = { 'l', 'a', 'b', 'e', 'l' }, context[] = { 'c', 'o', 'n', 't', 'e', 'x', 't' };
    CK_BYTE fixed[] = "label\0context";
    data_param new[] = {
        { 1, &bits, sizeof bits }, { 3, fixed, sizeof fixed - 1 }, { 2, format, sizeof format },
    };
    data_param old[] = {
        { SP800_108_COUNTER_FORMAT, &bits, sizeof bits },
        { SP800_108_PRF_LABEL, label, sizeof label },
        { SP800_108_PRF_CONTEXT, context, sizeof context },
        { SP800_108_DKM_FORMAT, format, sizeof format },
    };
    derive(new, COUNT(new));
    derive(old, COUNT(old));
}

static void cmac(void)
{
    CK_MECHANISM mechanism = { CKM_AES_CMAC, NULL, 0 };
    CK_BYTE mac[16];
    CK_ULONG made = sizeof mac;
    CK_OBJECT_HANDLE key = known(&aes, 32);
    MUST(p11->C_SignInit(session, &mechanism, key));
    MUST(p11->C_Sign(session, message, sizeof message, mac, &made));
    printf("cmac");
    print_hex(mac, made);
    putchar('\n');
    MUST(p11->C_VerifyInit(session, &mechanism, key));
    MUST(p11->C_Verify(session, message, sizeof message, mac, made));
}

/* Not in FIPS mode, in which `up` does not start HSMs unless it is asked to. */
static void triple_des(void)
{
    CK_MECHANISM generate = { CKM_DES3_KEY_GEN, NULL, 0 };
    CK_BYTE iv[8] = { 1 }, sealed[64], opened[64];
    CK_MECHANISM mechanism = { CKM_DES3_CBC_PAD, iv, sizeof iv };
    CK_ATTRIBUTE template[] = {
        { CKA_TOKEN, &no, sizeof no },
        { CKA_ENCRYPT, &yes, sizeof yes },
        { CKA_DECRYPT, &yes, sizeof yes },
    };
    CK_OBJECT_HANDLE key;
    CK_ULONG made = sizeof sealed, length = sizeof opened;
    MUST(p11->C_GenerateKey(session, &generate, template, COUNT(template), &key));
    MUST(p11->C_EncryptInit(session, &mechanism, key));
    MUST(p11->C_Encrypt(session, message, sizeof message, sealed, &made));
    CHECK(made == sizeof message / 8 * 8 + 8);
    MUST(p11->C_DecryptInit(session, &mechanism, key));
    MUST(p11->C_Decrypt(session, sealed, made, opened, &length));
    CHECK(length == sizeof message && memcmp(opened, message, length) == 0);
}

/* "C_EncryptUpdate and C_DecryptUpdate with GCM: CKR_MECHANISM_INVALID"; the IV is the HSM's to make. */
static void gcm_rules(void)
{
    CK_MECHANISM generate = { CKM_AES_KEY_GEN, NULL, 0 };
    CK_ULONG length = 32;
    CK_ATTRIBUTE template[] = {
        { CKA_TOKEN, &no, sizeof no },
        { CKA_VALUE_LEN, &length, sizeof length },
        { CKA_ENCRYPT, &yes, sizeof yes },
    };
    CK_OBJECT_HANDLE key;
    MUST(p11->C_GenerateKey(session, &generate, template, COUNT(template), &key));
    CK_BYTE iv[12] = { 0 }, out[64];
    CK_GCM_PARAMS params = { iv, sizeof iv, 0, NULL, 0, 128 };
    CK_MECHANISM mechanism = { CKM_AES_GCM, &params, sizeof params };
    CK_ULONG made = sizeof out;
    MUST(p11->C_EncryptInit(session, &mechanism, key));
    EXPECT(p11->C_EncryptUpdate(session, message, 16, out, &made), CKR_MECHANISM_INVALID);
    iv[0] = 1;
    made = sizeof out;
    MUST(p11->C_EncryptInit(session, &mechanism, key));
    EXPECT(p11->C_Encrypt(session, message, 16, out, &made), CKR_MECHANISM_PARAM_INVALID);
}

/* A secret that OAEP alone has no room for leaves under an RSA key, and comes back. */
static void rsa_aes(void)
{
    CK_MECHANISM generate = { CKM_RSA_X9_31_KEY_PAIR_GEN, NULL, 0 };
    CK_ULONG bits = 2048, length = 400;
    CK_BYTE exponent[] = { 1, 0, 1 };
    CK_ATTRIBUTE publics[] = {
        { CKA_TOKEN, &no, sizeof no },
        { CKA_WRAP, &yes, sizeof yes },
        { CKA_MODULUS_BITS, &bits, sizeof bits },
        { CKA_PUBLIC_EXPONENT, exponent, sizeof exponent },
    };
    CK_ATTRIBUTE privates[] = { { CKA_TOKEN, &no, sizeof no }, { CKA_UNWRAP, &yes, sizeof yes } };
    CK_OBJECT_HANDLE public, private, target, back;
    MUST(p11->C_GenerateKeyPair(session, &generate, publics, COUNT(publics), privates, COUNT(privates),
                                &public, &private));
    CK_MECHANISM make = { CKM_GENERIC_SECRET_KEY_GEN, NULL, 0 };
    CK_ATTRIBUTE template[] = {
        { CKA_TOKEN, &no, sizeof no },
        { CKA_VALUE_LEN, &length, sizeof length },
        { CKA_SIGN, &yes, sizeof yes },
    };
    MUST(p11->C_GenerateKey(session, &make, template, COUNT(template), &target));
    CK_RSA_PKCS_OAEP_PARAMS oaep = { CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, NULL, 0 };
    struct {
        CK_ULONG bits;
        CK_RSA_PKCS_OAEP_PARAMS *oaep;
    } params = { 256, &oaep };
    CK_MECHANISM mechanism = { CKM_RSA_AES_KEY_WRAP, &params, sizeof params };
    CK_BYTE wrapped[1024];
    CK_ULONG made = sizeof wrapped;
    MUST(p11->C_WrapKey(session, &mechanism, public, target, wrapped, &made));
    CHECK(made == 256 + 408);
    CK_ATTRIBUTE unwrapped[] = {
        { CKA_CLASS, &secret, sizeof secret },
        { CKA_KEY_TYPE, &generic, sizeof generic },
        { CKA_TOKEN, &no, sizeof no },
        { CKA_SIGN, &yes, sizeof yes },
    };
    MUST(p11->C_UnwrapKey(session, &mechanism, private, wrapped, made, unwrapped, COUNT(unwrapped), &back));
    CK_MECHANISM hmac = { CKM_SHA512_HMAC, NULL, 0 };
    CK_BYTE one[64], other[64];
    CK_ULONG first = sizeof one, second = sizeof other;
    MUST(p11->C_SignInit(session, &hmac, target));
    MUST(p11->C_Sign(session, message, sizeof message, one, &first));
    MUST(p11->C_SignInit(session, &hmac, back));
    MUST(p11->C_Sign(session, message, sizeof message, other, &second));
    CHECK(first == 64 && second == 64 && memcmp(one, other, 64) == 0);
}

int main(void)
{
    alarm(60);
    p11 = module_load(variable("STRONGROOM_PKCS11")).functions;
    MUST(initialize(p11));
    session = open_session(p11);
    login(p11, session);
    counter_kdf();
    cmac();
    triple_des();
    gcm_rules();
    rsa_aes();
    MUST(p11->C_Finalize(NULL));
    return 0;
}
