/*
 * AWS CloudHSM's own PKCS#11 names, for programs that are written against its header.
 *
 * Names and numbers are those that AWS has published. Include the standard's header first, or let
 * this one include "pkcs11.h". Names whose numbers AWS has not published (CKM_CLOUDHSM_EDDSA, the
 * ML-DSA ones) are not here, so that a program that needs them fails to compile rather than at work.
 *
 * Copyright the Strongroom authors. SPDX-License-Identifier: Apache-2.0
 */

#ifndef CLOUDHSM_PKCS11_VENDOR_DEFS_H
#define CLOUDHSM_PKCS11_VENDOR_DEFS_H

#ifndef CKM_VENDOR_DEFINED
#include "pkcs11.h"
#endif

/* AES-GCM whose output begins with the 12-byte IV that the HSM made. pIv is null. */
#define CKM_CLOUDHSM_AES_GCM (CKM_VENDOR_DEFINED | 0x00001087UL)

/* RFC 3394: keys of whole 8-byte blocks. */
#define CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD (CKM_VENDOR_DEFINED | 0x00002109UL)
/* RFC 3394 after PKCS#5 padding to 8-byte blocks. */
#define CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD (CKM_VENDOR_DEFINED | 0x0000210AUL)
/* RFC 5649. */
#define CKM_CLOUDHSM_AES_KEY_WRAP_ZERO_PAD (CKM_VENDOR_DEFINED | 0x0000216FUL)

/* Of Client SDK 3. */
#define CKM_DES3_NIST_WRAP (CKM_VENDOR_DEFINED | 0x00008000UL)

/* SP 800-108 in counter mode; the parameter is a CK_SP800_108_KDF_PARAMS. */
#define CKM_CLOUDHSM_SP800_108_COUNTER_KDF (CKM_VENDOR_DEFINED | 0x00000001UL)

/* The data types of AWS's older header: a fixed input of counter, label, 0x00, context, length. */
#define SP800_108_COUNTER_FORMAT 0x0004
#define SP800_108_PRF_LABEL 0x0005
#define SP800_108_PRF_CONTEXT 0x0006
#define SP800_108_DKM_FORMAT 0x0007
#define SP800_108_BYTE_ARRAY 0x0008

/* How the length of derived key material is counted. */
#define SP800_108_DKM_LENGTH_SUM_OF_KEYS 1
#define SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS 2

/* PKCS#11 3.0 has what follows, under the same names; headers of 2.40 do not. */
#ifndef CK_SP800_108_ITERATION_VARIABLE

/* CloudHSM's number under the standard's name; in headers of 3.0 the name means the standard's. */
#ifndef CKM_SP800_108_COUNTER_KDF
#define CKM_SP800_108_COUNTER_KDF CKM_CLOUDHSM_SP800_108_COUNTER_KDF
#endif

#define CK_SP800_108_ITERATION_VARIABLE 0x00000001UL
#define CK_SP800_108_DKM_LENGTH 0x00000002UL
#define CK_SP800_108_BYTE_ARRAY 0x00000003UL

typedef CK_MECHANISM_TYPE CK_PRF_TYPE;
typedef CK_ULONG CK_PRF_DATA_TYPE;

typedef struct CK_SP800_108_COUNTER_FORMAT {
    CK_ULONG ulWidthInBits;
} CK_SP800_108_COUNTER_FORMAT;

typedef CK_SP800_108_COUNTER_FORMAT *CK_SP800_108_COUNTER_FORMAT_PTR;

typedef struct CK_SP800_108_DKM_LENGTH_FORMAT {
    CK_ULONG dkmLengthMethod;
    CK_ULONG ulWidthInBits;
} CK_SP800_108_DKM_LENGTH_FORMAT;

typedef CK_SP800_108_DKM_LENGTH_FORMAT *CK_SP800_108_DKM_LENGTH_FORMAT_PTR;

typedef struct CK_PRF_DATA_PARAM {
    CK_PRF_DATA_TYPE type;
    CK_VOID_PTR pValue;
    CK_ULONG ulValueLen;
} CK_PRF_DATA_PARAM;

typedef CK_PRF_DATA_PARAM *CK_PRF_DATA_PARAM_PTR;

typedef struct CK_SP800_108_KDF_PARAMS {
    CK_PRF_TYPE prftype;
    CK_ULONG ulNumberOfDataParams;
    CK_PRF_DATA_PARAM_PTR pDataParams;
} CK_SP800_108_KDF_PARAMS;

typedef CK_SP800_108_KDF_PARAMS *CK_SP800_108_KDF_PARAMS_PTR;

#endif /* CK_SP800_108_ITERATION_VARIABLE */

#endif /* CLOUDHSM_PKCS11_VENDOR_DEFS_H */
