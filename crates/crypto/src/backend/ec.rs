//! Keys on elliptic curves, and ECDSA with them.
//!
//! Signatures are r || s, each of the curve's field length, as PKCS#11 has them: they are made
//! from aws-lc's two numbers, without a way through DER.

use std::ffi::c_int;
use std::ptr;

use aws_lc_sys as sys;

use super::bn;
use super::{Failed, Owned, failed, ok};
use crate::{Curve, SecretBytes};

fn nid(curve: Curve) -> c_int {
    match curve {
        Curve::P224 => sys::NID_secp224r1,
        Curve::P256 => sys::NID_X9_62_prime256v1,
        Curve::P384 => sys::NID_secp384r1,
        Curve::P521 => sys::NID_secp521r1,
        Curve::Secp256k1 => sys::NID_secp256k1,
    }
}

/// An EC key, private (with its public point) or public.
pub(crate) struct EcKey {
    key: Owned<sys::EC_KEY>,
    curve: Curve,
}

// SAFETY: the object is owned memory without ties to a thread.
unsafe impl Send for EcKey {}
// SAFETY: ec_key.h: "A given object may be used concurrently on multiple threads by non-mutating
// functions"; those "which take a |const| pointer are non-mutating". Signing, verifying and reading
// do, and nothing here mutates a key after it was made.
unsafe impl Sync for EcKey {}

impl EcKey {
    fn empty(curve: Curve) -> Result<Self, Failed> {
        // SAFETY: a new key is ours.
        let key = unsafe { Owned::new(sys::EC_KEY_new_by_curve_name(nid(curve)))? };
        Ok(Self { key, curve })
    }

    /// Takes over a key that nobody mutates any more, if it is on one of our curves.
    pub(super) fn adopt(key: Owned<sys::EC_KEY>) -> Result<Self, Failed> {
        // SAFETY: the key is valid; its group is null or lives as long as it.
        let name = unsafe {
            let group = sys::EC_KEY_get0_group(key.as_ptr());
            if group.is_null() {
                return Err(Failed);
            }
            sys::EC_GROUP_get_curve_name(group)
        };
        let curve = Curve::ALL.into_iter().find(|curve| nid(*curve) == name).ok_or(Failed)?;
        Ok(Self { key, curve })
    }

    pub(super) fn as_ptr(&self) -> *mut sys::EC_KEY {
        self.key.as_ptr()
    }

    /// The curve's group, which lives as long as the key.
    fn group(&self) -> *const sys::EC_GROUP {
        // SAFETY: the key is valid, and was made with a group.
        unsafe { sys::EC_KEY_get0_group(self.as_ptr()) }
    }

    /// Generates a key, pairwise consistency test included.
    pub(crate) fn generate(curve: Curve) -> Result<Self, Failed> {
        let key = Self::empty(curve)?;
        // SAFETY: the key is ours and not shared yet.
        ok(unsafe { sys::EC_KEY_generate_key_fips(key.as_ptr()) })?;
        Ok(key)
    }

    /// A private key from its scalar (big-endian, 1 to order - 1), its public point computed.
    pub(crate) fn from_scalar(curve: Curve, scalar: &[u8]) -> Result<Self, Failed> {
        let key = Self::empty(curve)?;
        let scalar = bn::number(scalar)?;
        // SAFETY: all objects are valid; key and point are ours and not shared yet, and the key
        // copies scalar and point. EC_KEY_set_private_key refuses 0 and the order and above.
        unsafe {
            ok(sys::EC_KEY_set_private_key(key.as_ptr(), scalar.as_ptr()))?;
            let point = Owned::new(sys::EC_POINT_new(key.group()))?;
            ok(sys::EC_POINT_mul(
                key.group(),
                point.as_ptr(),
                scalar.as_ptr(),
                ptr::null(),
                ptr::null(),
                ptr::null_mut(),
            ))?;
            ok(sys::EC_KEY_set_public_key(key.as_ptr(), point.as_ptr()))?;
        }
        Ok(key)
    }

    /// A public key from its encoded point (SEC 1, compressed or not), which must be on the curve
    /// and not at infinity.
    pub(crate) fn from_point(curve: Curve, encoded: &[u8]) -> Result<Self, Failed> {
        let key = Self::empty(curve)?;
        // SAFETY: all objects are valid; key and point are ours and not shared yet, and the key
        // copies the point. EC_POINT_oct2point refuses a point off the curve, and
        // EC_KEY_set_public_key the one at infinity.
        unsafe {
            let point = Owned::new(sys::EC_POINT_new(key.group()))?;
            ok(sys::EC_POINT_oct2point(
                key.group(),
                point.as_ptr(),
                encoded.as_ptr(),
                encoded.len(),
                ptr::null_mut(),
            ))?;
            ok(sys::EC_KEY_set_public_key(key.as_ptr(), point.as_ptr()))?;
        }
        Ok(key)
    }

    /// The curve that it is on.
    pub(crate) fn curve(&self) -> Curve {
        self.curve
    }

    /// The scalar of a private key, of the field's length.
    pub(crate) fn scalar(&self) -> Result<SecretBytes, Failed> {
        let mut out = SecretBytes::zeroed(self.curve.field_bytes());
        // SAFETY: the key is valid; the number is null or lives as long as the key.
        unsafe {
            let scalar = sys::EC_KEY_get0_private_key(self.as_ptr());
            if scalar.is_null() {
                return Err(Failed);
            }
            bn::to_padded(scalar, out.as_mut_bytes())?;
        }
        Ok(out)
    }

    /// The public point: 0x04 || x || y.
    pub(crate) fn point(&self) -> Result<Vec<u8>, Failed> {
        let mut out = vec![0; 1 + 2 * self.curve.field_bytes()];
        // SAFETY: the key is valid and has its point, which lives as long as it; the output is
        // written by its length.
        let length = unsafe {
            sys::EC_POINT_point2oct(
                self.group(),
                sys::EC_KEY_get0_public_key(self.as_ptr()),
                sys::point_conversion_form_t::POINT_CONVERSION_UNCOMPRESSED,
                out.as_mut_ptr(),
                out.len(),
                ptr::null_mut(),
            )
        };
        if length == out.len() { Ok(out) } else { Err(failed()) }
    }

    /// ECDH with a public key on the same curve: the shared point's x, of the field's length.
    pub(crate) fn agree(&self, peer: &EcKey) -> Result<SecretBytes, Failed> {
        let mut out = SecretBytes::zeroed(self.curve.field_bytes());
        // SAFETY: both keys are valid and const; the peer has its point, which lives as long as it;
        // without a KDF at most the output's length is written.
        let length = unsafe {
            sys::ECDH_compute_key(
                out.as_mut_bytes().as_mut_ptr().cast(),
                out.len(),
                sys::EC_KEY_get0_public_key(peer.as_ptr()),
                self.as_ptr(),
                None,
            )
        };
        if usize::try_from(length) == Ok(out.len()) { Ok(out) } else { Err(failed()) }
    }

    /// ECDSA over a hash of any length (its leftmost bits count): r || s.
    pub(crate) fn sign(&self, hashed: &[u8]) -> Result<Vec<u8>, Failed> {
        let field = self.curve.field_bytes();
        let mut out = vec![0; 2 * field];
        let (r_out, s_out) = out.split_at_mut(field);
        // SAFETY: the hash is read by its length, the key is const; the signature is ours, and its
        // numbers live as long as it.
        unsafe {
            let signature =
                Owned::new(sys::ECDSA_do_sign(hashed.as_ptr(), hashed.len(), self.as_ptr()))?;
            let (mut r, mut s) = (ptr::null(), ptr::null());
            sys::ECDSA_SIG_get0(signature.as_ptr(), &mut r, &mut s);
            bn::to_padded(r, r_out)?;
            bn::to_padded(s, s_out)?;
        }
        Ok(out)
    }

    /// Whether r and s are a signature over a hash.
    pub(crate) fn verify(&self, hashed: &[u8], r: &[u8], s: &[u8]) -> Result<(), Failed> {
        let (r, s) = (bn::number(r)?, bn::number(s)?);
        // SAFETY: the new signature is ours and takes over both numbers (`set0` fails only for
        // null); hash and key are read.
        unsafe {
            let signature = Owned::new(sys::ECDSA_SIG_new())?;
            ok(sys::ECDSA_SIG_set0(signature.as_ptr(), r.into_raw(), s.into_raw()))?;
            ok(sys::ECDSA_do_verify(
                hashed.as_ptr(),
                hashed.len(),
                signature.as_ptr(),
                self.as_ptr(),
            ))
        }
    }
}
