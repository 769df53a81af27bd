/*
 * What the C test programs share: a PKCS#11 module by dlopen, and calls that end the program, with
 * a word on stderr, where they do not give what they must.
 *
 * A program finds the module in $STRONGROOM_PKCS11 and the PIN in $CLOUDHSM_PIN. Nothing here is
 * buffered or locked, so that all of it may be used in a child of a program with threads.
 *
 * Copyright the Strongroom authors. SPDX-License-Identifier: Apache-2.0
 */

#ifndef STRONGROOM_TESTS_P11_H
#define STRONGROOM_TESTS_P11_H

#include <dirent.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pkcs11.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define GCM_TAG 16

/* Ends the program: 1 is a failed check. */
__attribute__((format(printf, 1, 2), noreturn)) static inline void fail(const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    dprintf(STDERR_FILENO, "[%d] failed: %s\n", (int)getpid(), line);
    _exit(1);
}

#define CHECK(condition) \
    do { \
        if (!(condition)) \
            fail("%s:%d: %s", __FILE__, __LINE__, #condition); \
    } while (0)

/* Expects CKR_OK. */
#define MUST(call) EXPECT(call, CKR_OK)

/* Expects one code. */
#define EXPECT(call, code) \
    do { \
        CK_RV rv_ = (call); \
        if (rv_ != (code)) \
            fail("%s:%d: %s gives 0x%lx, not %s", __FILE__, __LINE__, #call, rv_, #code); \
    } while (0)

/* A module: what dlopen gave, and its functions. */
typedef struct {
    void *library;
    CK_FUNCTION_LIST_PTR functions;
} Module;

static inline const char *variable(const char *name)
{
    const char *value = getenv(name);
    if (value == NULL)
        fail("$%s is not set", name);
    return value;
}

static inline Module module_load(const char *path)
{
    Module module = { dlopen(path, RTLD_NOW | RTLD_LOCAL), NULL };
    if (module.library == NULL)
        fail("%s", dlerror());
    CK_C_GetFunctionList get;
    *(void **)&get = dlsym(module.library, "C_GetFunctionList");
    if (get == NULL)
        fail("%s", dlerror());
    MUST(get(&module.functions));
    return module;
}

static inline CK_RV initialize(CK_FUNCTION_LIST_PTR p11)
{
    CK_C_INITIALIZE_ARGS arguments = { .flags = CKF_OS_LOCKING_OK };
    return p11->C_Initialize(&arguments);
}

static inline CK_SLOT_ID first_slot(CK_FUNCTION_LIST_PTR p11)
{
    CK_SLOT_ID slots[8];
    CK_ULONG count = COUNT(slots);
    MUST(p11->C_GetSlotList(CK_TRUE, slots, &count));
    CHECK(count > 0);
    return slots[0];
}

static inline CK_SESSION_HANDLE open_session(CK_FUNCTION_LIST_PTR p11)
{
    CK_SESSION_HANDLE session;
    CK_FLAGS flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
    MUST(p11->C_OpenSession(first_slot(p11), flags, NULL, NULL, &session));
    return session;
}

static inline void login(CK_FUNCTION_LIST_PTR p11, CK_SESSION_HANDLE session)
{
    const char *pin = variable("CLOUDHSM_PIN");
    MUST(p11->C_Login(session, CKU_USER, (CK_UTF8CHAR_PTR)pin, strlen(pin)));
}

/* The one object of a class with a label. */
static inline CK_OBJECT_HANDLE
find(CK_FUNCTION_LIST_PTR p11, CK_SESSION_HANDLE session, CK_OBJECT_CLASS class, const char *label)
{
    CK_ATTRIBUTE template[] = {
        { CKA_CLASS, &class, sizeof class },
        { CKA_LABEL, (void *)label, strlen(label) },
    };
    CK_OBJECT_HANDLE found[2];
    CK_ULONG count = 0;
    MUST(p11->C_FindObjectsInit(session, template, COUNT(template)));
    MUST(p11->C_FindObjects(session, found, COUNT(found), &count));
    MUST(p11->C_FindObjectsFinal(session));
    CHECK(count == 1);
    return found[0];
}

/* A P-256 pair for signatures; token objects where `label` names them. */
static inline void
generate_p256(CK_FUNCTION_LIST_PTR p11, CK_SESSION_HANDLE session, const char *label,
              CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
    static CK_BYTE curve[] = { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };
    CK_MECHANISM mechanism = { CKM_EC_KEY_PAIR_GEN, NULL, 0 };
    CK_BBOOL yes = CK_TRUE, token = label != NULL;
    char *name = label != NULL ? (char *)label : "";
    CK_ATTRIBUTE public_template[] = {
        { CKA_EC_PARAMS, curve, sizeof curve },
        { CKA_VERIFY, &yes, sizeof yes },
        { CKA_TOKEN, &token, sizeof token },
        { CKA_LABEL, name, strlen(name) },
    };
    CK_ATTRIBUTE private_template[] = {
        { CKA_SIGN, &yes, sizeof yes },
        { CKA_TOKEN, &token, sizeof token },
        { CKA_LABEL, name, strlen(name) },
        { CKA_EXTRACTABLE, &yes, sizeof yes },
    };
    MUST(p11->C_GenerateKeyPair(session, &mechanism, public_template, COUNT(public_template),
                                private_template, COUNT(private_template), public_key,
                                private_key));
}

/* An AES-256 key for encryption; a token object where `label` names it. */
static inline CK_OBJECT_HANDLE
generate_aes(CK_FUNCTION_LIST_PTR p11, CK_SESSION_HANDLE session, const char *label)
{
    CK_MECHANISM mechanism = { CKM_AES_KEY_GEN, NULL, 0 };
    CK_BBOOL yes = CK_TRUE, token = label != NULL;
    CK_ULONG length = 32;
    char *name = label != NULL ? (char *)label : "";
    CK_ATTRIBUTE template[] = {
        { CKA_VALUE_LEN, &length, sizeof length }, { CKA_ENCRYPT, &yes, sizeof yes },
        { CKA_DECRYPT, &yes, sizeof yes },         { CKA_TOKEN, &token, sizeof token },
        { CKA_LABEL, name, strlen(name) },
    };
    CK_OBJECT_HANDLE key;
    MUST(p11->C_GenerateKey(session, &mechanism, template, COUNT(template), &key));
    return key;
}

/* CKM_ECDSA over 32 bytes; 64 bytes of signature. */
static inline CK_RV sign_p256(CK_FUNCTION_LIST_PTR p11, CK_SESSION_HANDLE session,
                              CK_OBJECT_HANDLE key, CK_BYTE digest[32], CK_BYTE signature[64])
{
    CK_MECHANISM mechanism = { CKM_ECDSA, NULL, 0 };
    CK_ULONG length = 64;
    CK_RV rv = p11->C_SignInit(session, &mechanism, key);
    if (rv == CKR_OK)
        rv = p11->C_Sign(session, digest, 32, signature, &length);
    if (rv == CKR_OK && length != 64)
        fail("a P-256 signature of %lu bytes", length);
    return rv;
}

static inline CK_RV verify_p256(CK_FUNCTION_LIST_PTR p11, CK_SESSION_HANDLE session,
                                CK_OBJECT_HANDLE key, CK_BYTE digest[32], CK_BYTE signature[64])
{
    CK_MECHANISM mechanism = { CKM_ECDSA, NULL, 0 };
    CK_RV rv = p11->C_VerifyInit(session, &mechanism, key);
    return rv == CKR_OK ? p11->C_Verify(session, digest, 32, signature, 64) : rv;
}

/*
 * CKM_AES_GCM; `sealed` takes `length` bytes and the tag. The IV is zeroed first: both kinds of token
 * take that, and it is what the HSM used afterwards.
 */
static inline CK_RV encrypt_gcm(CK_FUNCTION_LIST_PTR p11, CK_SESSION_HANDLE session,
                                CK_OBJECT_HANDLE key, CK_BYTE iv[12], CK_BYTE *data,
                                CK_ULONG length, CK_BYTE *sealed)
{
    memset(iv, 0, 12);
    CK_GCM_PARAMS parameter = { .pIv = iv, .ulIvLen = 12, .ulIvBits = 96, .ulTagBits = 128 };
    CK_MECHANISM mechanism = { CKM_AES_GCM, &parameter, sizeof parameter };
    CK_ULONG sealed_length = length + GCM_TAG;
    CK_RV rv = p11->C_EncryptInit(session, &mechanism, key);
    if (rv == CKR_OK)
        rv = p11->C_Encrypt(session, data, length, sealed, &sealed_length);
    if (rv == CKR_OK && sealed_length != length + GCM_TAG)
        fail("%lu bytes of ciphertext and tag for %lu", sealed_length, length);
    return rv;
}

static inline CK_RV decrypt_gcm(CK_FUNCTION_LIST_PTR p11, CK_SESSION_HANDLE session,
                                CK_OBJECT_HANDLE key, CK_BYTE iv[12], CK_BYTE *sealed,
                                CK_ULONG length, CK_BYTE *data)
{
    CK_GCM_PARAMS parameter = { .pIv = iv, .ulIvLen = 12, .ulIvBits = 96, .ulTagBits = 128 };
    CK_MECHANISM mechanism = { CKM_AES_GCM, &parameter, sizeof parameter };
    CK_ULONG data_length = length;
    CK_RV rv = p11->C_DecryptInit(session, &mechanism, key);
    return rv == CKR_OK ? p11->C_Decrypt(session, sealed, length, data, &data_length) : rv;
}

/* The entries of a folder of /proc/self, the one that reading it opens not counted. */
static inline int entries(const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL)
        fail("%s does not open", path);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(folder);
    closedir(folder);
    return count;
}

static inline int open_files(void)
{
    return entries("/proc/self/fd");
}

static inline void sleep_us(long microseconds)
{
    struct timespec time = { microseconds / 1000000, microseconds % 1000000 * 1000 };
    nanosleep(&time, NULL);
}

/* Waits until no thread but the caller's is there: joined ones leave /proc a moment later. */
static inline void must_be_alone(void)
{
    for (int patience = 0; entries("/proc/self/task") > 1; patience++) {
        if (patience == 5000)
            fail("%d threads, none of them of this program", entries("/proc/self/task") - 1);
        sleep_us(1000);
    }
}

/* xorshift: the same sequence in every run. */
static inline uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    return *state ^= *state << 5;
}

#endif
