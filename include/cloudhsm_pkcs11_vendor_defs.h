/*
 * AWS CloudHSM's own PKCS#11 names, for programs that are written against its header.
 *
 * Names and numbers are those that AWS has published. AWS publishes no numbers for what stands in the
 * section "numbers of ours": there they are the standard's with the vendor's bit, and each can be defined
 * otherwise before this file is included. A program that is compiled against this header works here; one
 * that was compiled against AWS's has AWS's numbers for those names, and must be compiled again.
 * Include the standard's header first, or let this one include "pkcs11.h".
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

/* ---- Numbers of ours ---- */

/* Ed25519: no parameter, or a CK_EDDSA_PARAMS (Ed25519ph where its phFlag is true). */
#ifndef CKM_CLOUDHSM_EDDSA
#define CKM_CLOUDHSM_EDDSA (CKM_VENDOR_DEFINED | 0x00001057UL)
#endif

/* ML-DSA: pairs, signatures of messages, and of the 64 bytes of a message's mu. */
#ifndef CKM_CLOUDHSM_ML_DSA_KEY_PAIR_GEN
#define CKM_CLOUDHSM_ML_DSA_KEY_PAIR_GEN (CKM_VENDOR_DEFINED | 0x0000001CUL)
#endif
#ifndef CKM_CLOUDHSM_ML_DSA
#define CKM_CLOUDHSM_ML_DSA (CKM_VENDOR_DEFINED | 0x0000001DUL)
#endif
#ifndef CKM_CLOUDHSM_EXT_MU_ML_DSA
#define CKM_CLOUDHSM_EXT_MU_ML_DSA (CKM_VENDOR_DEFINED | 0x0000001EUL)
#endif
#ifndef CKA_CLOUDHSM_PARAMETER_SET
#define CKA_CLOUDHSM_PARAMETER_SET (CKA_VENDOR_DEFINED | 0x0000061DUL)
#endif
#ifndef CKP_CLOUDHSM_ML_DSA_44
typedef CK_ULONG CK_CLOUDHSM_ML_DSA_PARAMETER_SET_TYPE;
#define CKP_CLOUDHSM_ML_DSA_44 0x00000001UL
#define CKP_CLOUDHSM_ML_DSA_65 0x00000002UL
#define CKP_CLOUDHSM_ML_DSA_87 0x00000003UL
#endif

/* Key derivation functions of CKM_ECDH1_DERIVE (ANSI X9.63). */
#ifndef CKD_CLOUDHSM_X963_SHA1_KDF
#define CKD_CLOUDHSM_X963_SHA1_KDF (CKM_VENDOR_DEFINED | 0x00000002UL)
#define CKD_CLOUDHSM_X963_SHA224_KDF (CKM_VENDOR_DEFINED | 0x00000005UL)
#define CKD_CLOUDHSM_X963_SHA256_KDF (CKM_VENDOR_DEFINED | 0x00000006UL)
#define CKD_CLOUDHSM_X963_SHA384_KDF (CKM_VENDOR_DEFINED | 0x00000007UL)
#define CKD_CLOUDHSM_X963_SHA512_KDF (CKM_VENDOR_DEFINED | 0x00000008UL)
#endif

/* ---- Published numbers ---- */

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
