//! Making an RSA private key complete: finding the factors where only d is known, and the CRT
//! numbers where only the factors are.
//!
//! A key without them would work in aws-lc, and be six times slower. What comes out is checked as
//! a whole by `RSA_new_private_key`: n = p q, d is e's inverse, and the CRT numbers agree.

use aws_lc_sys as sys;

use super::bn::{self, Number};
use super::rsa::RsaKey;
use super::{Failed, Owned, ok};

/// The numbers that a private key comes with. Its caller has checked that `modulus` and
/// `public_exponent` are odd and of a supported size, and that nothing is longer than the modulus.
pub(crate) struct Components<'a> {
    pub(crate) modulus: &'a [u8],
    pub(crate) public_exponent: &'a [u8],
    pub(crate) private_exponent: &'a [u8],
    /// p and q.
    pub(crate) primes: Option<(&'a [u8], &'a [u8])>,
    /// d mod (p - 1), d mod (q - 1), and the inverse of q modulo p.
    pub(crate) crt: Option<[&'a [u8]; 3]>,
}

/// A private key of its numbers, or an error if they don't belong together.
pub(crate) fn private_key(components: &Components<'_>) -> Result<RsaKey, Failed> {
    let n = bn::number(components.modulus)?;
    let e = bn::number(components.public_exponent)?;
    let d = bn::number(components.private_exponent)?;
    let (p, q) = match components.primes {
        Some((p, q)) => (bn::number(p)?, bn::number(q)?),
        None => factor(&n, &e, &d)?,
    };
    let [dp, dq, q_inverse] = match components.crt {
        Some([dp, dq, q_inverse]) => [bn::number(dp)?, bn::number(dq)?, bn::number(q_inverse)?],
        None => crt(&d, &p, &q)?,
    };
    // SAFETY: the numbers are valid and are copied; the new object is ours.
    unsafe {
        Ok(RsaKey::adopt(Owned::new(sys::RSA_new_private_key(
            n.as_ptr(),
            e.as_ptr(),
            d.as_ptr(),
            p.as_ptr(),
            q.as_ptr(),
            dp.as_ptr(),
            dq.as_ptr(),
            q_inverse.as_ptr(),
        ))?))
    }
}

/// d mod (p - 1), d mod (q - 1), and the inverse of q modulo p.
fn crt(d: &Number, p: &Number, q: &Number) -> Result<[Number; 3], Failed> {
    let scratch = bn::scratch()?;
    let reduced = |prime: &Number| -> Result<Number, Failed> {
        let (less_one, out) = (bn::zero()?, bn::zero()?);
        // SAFETY: all numbers are valid, those written to are ours; a null quotient is none.
        unsafe {
            ok(sys::BN_sub(less_one.as_ptr(), prime.as_ptr(), sys::BN_value_one()))?;
            ok(sys::BN_div(
                std::ptr::null_mut(),
                out.as_ptr(),
                d.as_ptr(),
                less_one.as_ptr(),
                scratch.as_ptr(),
            ))?;
        }
        Ok(out)
    };
    // SAFETY: all numbers are valid; a null result makes a new number, ours.
    let q_inverse = unsafe {
        Owned::new(sys::BN_mod_inverse(
            std::ptr::null_mut(),
            q.as_ptr(),
            p.as_ptr(),
            scratch.as_ptr(),
        ))?
    };
    Ok([reduced(p)?, reduced(q)?, q_inverse])
}

/// The factors of n from a pair of exponents, as SP 800-56B revision 2, appendix C.1 has it:
/// e d - 1 = 2^t r, and of a random g, among g^r, g^2r, g^4r, … mod n, with a chance of one half
/// there is a square root of 1 other than ±1, which shares a factor with n when 1 is taken off.
///
/// Not in constant time: the key's owner runs it once, at import.
fn factor(n: &Number, e: &Number, d: &Number) -> Result<(Number, Number), Failed> {
    // "If no factor is found in 100 iterations, output an error": then d isn't e's inverse.
    const ATTEMPTS: u32 = 100;
    // Of a real key t is below 20, or below 64 with the luck of 2^60 draws. A made-up one could
    // have thousands, and cost seconds.
    const TWOS_MAX: i32 = 256;

    let scratch = bn::scratch()?;
    let (k, r, n_less_one) = (bn::zero()?, bn::zero()?, bn::zero()?);
    // SAFETY: all numbers are valid, and those written to are ours and not shared.
    let t = unsafe {
        ok(sys::BN_sub(n_less_one.as_ptr(), n.as_ptr(), sys::BN_value_one()))?;
        ok(sys::BN_mul(k.as_ptr(), d.as_ptr(), e.as_ptr(), scratch.as_ptr()))?;
        ok(sys::BN_sub_word(k.as_ptr(), 1))?;
        // With e odd, an odd d makes k even, as it must be; 0 has no factor to find.
        if sys::BN_is_odd(k.as_ptr()) == 1 || sys::BN_is_zero(k.as_ptr()) == 1 {
            return Err(Failed);
        }
        let t = sys::BN_count_low_zero_bits(k.as_ptr());
        if t > TWOS_MAX {
            return Err(Failed);
        }
        ok(sys::BN_rshift(r.as_ptr(), k.as_ptr(), t))?;
        t
    };
    // SAFETY: n is valid and odd (its caller checked), and the context is ours.
    let montgomery =
        unsafe { Owned::new(sys::BN_MONT_CTX_new_for_modulus(n.as_ptr(), scratch.as_ptr()))? };
    let (mut x, mut y) = (bn::zero()?, bn::zero()?);
    for _ in 0..ATTEMPTS {
        // SAFETY: all numbers are valid, and those written to are ours and not shared.
        unsafe {
            ok(sys::BN_rand_range_ex(y.as_ptr(), 2, n_less_one.as_ptr()))?;
            ok(sys::BN_mod_exp_mont(
                y.as_ptr(),
                y.as_ptr(),
                r.as_ptr(),
                n.as_ptr(),
                scratch.as_ptr(),
                montgomery.as_ptr(),
            ))?;
            let mut minus_one = false;
            for _ in 0..t {
                minus_one = sys::BN_cmp(y.as_ptr(), n_less_one.as_ptr()) == 0;
                if minus_one || sys::BN_is_one(y.as_ptr()) == 1 {
                    break;
                }
                ok(sys::BN_mod_sqr(x.as_ptr(), y.as_ptr(), n.as_ptr(), scratch.as_ptr()))?;
                if sys::BN_is_one(x.as_ptr()) == 1 {
                    return split(n, &y, &scratch);
                }
                std::mem::swap(&mut x, &mut y);
            }
            // g^(e d - 1) is 1 for each g where d is e's inverse: another number is refused at
            // once, not after a hundred exponentiations.
            if !minus_one && sys::BN_is_one(y.as_ptr()) == 0 {
                return Err(Failed);
            }
        }
    }
    Err(Failed)
}

/// The factors of n, the larger first, from a square root of 1 modulo n other than ±1.
fn split(
    n: &Number,
    root: &Number,
    scratch: &Owned<sys::BN_CTX>,
) -> Result<(Number, Number), Failed> {
    let (p, q, rest) = (bn::zero()?, bn::zero()?, bn::zero()?);
    // SAFETY: all numbers are valid, and those written to are ours and not shared.
    unsafe {
        ok(sys::BN_sub(rest.as_ptr(), root.as_ptr(), sys::BN_value_one()))?;
        ok(sys::BN_gcd(p.as_ptr(), rest.as_ptr(), n.as_ptr(), scratch.as_ptr()))?;
        ok(sys::BN_div(q.as_ptr(), rest.as_ptr(), n.as_ptr(), p.as_ptr(), scratch.as_ptr()))?;
        let swap = sys::BN_cmp(p.as_ptr(), q.as_ptr()) < 0;
        Ok(if swap { (q, p) } else { (p, q) })
    }
}
