//! Encryption and decryption (PKCS#11 2.40, sections 5.8 and 5.9).

use cryptoki_sys::*;

use crate::abi::mechanism::Mechanism;
use crate::abi::raw::{Input, Output};
use crate::cipher::{Cipher, Direction, Target};
use crate::error::{Ckr, Result};
use crate::module::Module;
use crate::operation::{self, Operations, Progress};
use crate::session::Session;

/// The operation of one direction.
fn place(operations: &mut Operations, direction: Direction) -> &mut Option<Cipher> {
    match direction {
        Direction::Encrypt => &mut operations.encrypt,
        Direction::Decrypt => &mut operations.decrypt,
    }
}

/// Where shots of a session go.
pub(crate) fn target<'a>(module: &'a Module, session: &Session) -> Target<'a> {
    Target { module, session: session.handle }
}

/// C_EncryptInit and C_DecryptInit.
pub(crate) fn init(
    module: &Module,
    session: &Session,
    direction: Direction,
    given: Option<Mechanism<'_>>,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    let mut operations = session.operations();
    let place = place(&mut operations, direction);
    let Some(given) = given else {
        return operation::cancel(place);
    };
    let target = target(module, session);
    operation::begin(place, || Cipher::begin(target, direction, &given, key))
}

/// C_Encrypt and C_Decrypt.
pub(crate) fn whole(
    module: &Module,
    session: &Session,
    direction: Direction,
    data: Input<'_>,
    output: &mut Output<'_>,
) -> Result<()> {
    operation::step(place(&mut session.operations(), direction), |cipher| {
        // Section 5.8, C_Encrypt: "cannot be used to terminate a multi-part operation".
        if cipher.in_parts() {
            return Err(Ckr(CKR_OPERATION_ACTIVE));
        }
        end(module, session, cipher, data, output)
    })
}

/// C_EncryptUpdate and C_DecryptUpdate.
pub(crate) fn update(
    module: &Module,
    session: &Session,
    direction: Direction,
    data: Input<'_>,
    output: &mut Output<'_>,
) -> Result<()> {
    let mut operations = session.operations();
    let place = place(&mut operations, direction);
    update_beside(target(module, session), place, data, output, |_| Ok(()))
}

/// C_EncryptUpdate and C_DecryptUpdate with the operation in hand; where they process `data`,
/// `beside` gets the plaintext of this call, once.
pub(crate) fn update_beside(
    target: Target<'_>,
    place: &mut Option<Cipher>,
    data: Input<'_>,
    output: &mut Output<'_>,
    beside: impl FnOnce(&[u8]) -> Result<()>,
) -> Result<()> {
    operation::step(place, |cipher| {
        // CloudHSM: C_EncryptUpdate and C_DecryptUpdate with GCM are CKR_MECHANISM_INVALID.
        if target.module.is_cloudhsm() && cipher.is_gcm() {
            return Err(Ckr(CKR_MECHANISM_INVALID));
        }
        operation::pin_given(cipher.waits_for_pin)?;
        if !output.announce(cipher.update_length(data.len()))? {
            return Ok(Progress::GoesOn);
        }
        let result = cipher.update(target, data.bytes())?;
        // Before anything is written: data and output may be the same memory.
        match cipher.direction() {
            Direction::Encrypt => beside(data.bytes())?,
            Direction::Decrypt => beside(&result)?,
        }
        output.write(&result)?;
        Ok(Progress::GoesOn)
    })
}

/// C_EncryptFinal and C_DecryptFinal.
pub(crate) fn finish(
    module: &Module,
    session: &Session,
    direction: Direction,
    output: &mut Output<'_>,
) -> Result<()> {
    operation::step(place(&mut session.operations(), direction), |cipher| {
        end(module, session, cipher, Input::nothing(), output)
    })
}

/// Ends an operation with its last data. Where the length is known only afterwards, a buffer that
/// holds the result is enough; one that does not, keeps the operation.
fn end(
    module: &Module,
    session: &Session,
    cipher: &Cipher,
    data: Input<'_>,
    output: &mut Output<'_>,
) -> Result<Progress> {
    let (most, exact) = cipher.finish_length(data.len());
    if (exact || output.is_query()) && !output.announce(most)? {
        return Ok(Progress::GoesOn);
    }
    operation::pin_given(cipher.waits_for_pin)?;
    let result = cipher.finish(target(module, session), data.bytes())?;
    output.write(&result)?;
    Ok(Progress::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cipher::Direction::{Decrypt, Encrypt};
    use crate::fake::{self, AES, input, output, with_mechanism};
    use proptest::prelude::*;
    use strongroom_wire::limits::DATA_BYTES_MAX;

    const IV: [u8; 16] = [0xff; 16];

    /// CK_AES_CTR_PARAMS as bytes.
    fn ctr(bits: CK_ULONG, counter: [u8; 16]) -> Vec<u8> {
        [bits.to_ne_bytes().as_slice(), &counter].concat()
    }

    fn modes() -> Vec<(CK_MECHANISM_TYPE, Vec<u8>, bool)> {
        vec![
            (CKM_AES_ECB, Vec::new(), true),
            (CKM_AES_CBC, IV.to_vec(), true),
            (CKM_AES_CBC_PAD, IV.to_vec(), false),
            (CKM_AES_CTR, ctr(128, [0x11; 16]), false),
            (CKM_AES_CFB8, IV.to_vec(), false),
            (CKM_AES_CFB128, IV.to_vec(), false),
            (CKM_AES_OFB, IV.to_vec(), false),
        ]
    }

    /// The operation over `pieces`: one is whole, several are parts.
    fn run(
        module: &Module,
        session: &Session,
        direction: Direction,
        kind: CK_MECHANISM_TYPE,
        parameter: &[u8],
        pieces: &[&[u8]],
    ) -> Result<Vec<u8>> {
        with_mechanism(kind, parameter, |given| init(module, session, direction, given, AES))?;
        let mut all = Vec::new();
        let mut call = |body: &dyn Fn(&mut Output<'_>) -> Result<()>| -> Result<()> {
            let (asked, length, _) = output(None, body);
            asked?;
            let (result, written, bytes) = output(Some(length), body);
            result?;
            assert!(written <= length);
            all.extend_from_slice(&bytes);
            Ok(())
        };
        if let [piece] = pieces {
            call(&|out| whole(module, session, direction, input(piece), out))?;
        } else {
            for piece in pieces {
                call(&|out| update(module, session, direction, input(piece), out))?;
            }
            call(&|out| finish(module, session, direction, out))?;
        }
        Ok(all)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn parts_give_what_the_whole_gives(
            mode in 0usize..4,
            data in proptest::collection::vec(any::<u8>(), 0..200),
            cuts in proptest::collection::vec(0usize..200, 1..5),
        ) {
            let (module, session, _) = fake::token();
            let (kind, parameter, blocks) = modes().swap_remove(mode);
            let length = if blocks { data.len() / 16 * 16 } else { data.len() };
            let data = &data[..length];
            let split = |data: &[u8]| {
                let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (data.len() + 1)).collect();
                cuts.sort_unstable();
                let ends = cuts.iter().copied().chain([data.len()]);
                let starts = [0].into_iter().chain(cuts.iter().copied());
                starts.zip(ends).map(|(start, end)| data[start..end].to_vec()).collect::<Vec<_>>()
            };
            let parts = |direction, data: &[u8]| {
                let pieces = split(data);
                let pieces: Vec<_> = pieces.iter().map(Vec::as_slice).collect();
                run(&module, &session, direction, kind, &parameter, &pieces)
            };
            let once = run(&module, &session, Encrypt, kind, &parameter, &[data]).unwrap();
            prop_assert_eq!(&parts(Encrypt, data).unwrap(), &once);
            let back = run(&module, &session, Decrypt, kind, &parameter, &[&once]).unwrap();
            prop_assert_eq!(&back, data);
            prop_assert_eq!(&parts(Decrypt, &once).unwrap(), data);
        }
    }

    #[test]
    fn data_of_several_shots_is_chained() {
        let (module, session, _) = fake::token();
        let data: Vec<u8> = (0..2 * DATA_BYTES_MAX + 5).map(|n| (n % 251) as u8).collect();
        for (kind, parameter, blocks) in modes() {
            let data = if blocks { &data[..2 * DATA_BYTES_MAX] } else { &data[..] };
            let sealed = run(&module, &session, Encrypt, kind, &parameter, &[data]).unwrap();
            let opened = run(&module, &session, Decrypt, kind, &parameter, &[&sealed]).unwrap();
            assert!(opened == data, "mechanism {kind:#x}");
            if kind == CKM_AES_CBC {
                // The second shot's IV is the first one's last block.
                let tail = &data[DATA_BYTES_MAX..];
                let iv = &sealed[DATA_BYTES_MAX - 16..DATA_BYTES_MAX];
                let again = run(&module, &session, Encrypt, kind, iv, &[tail]).unwrap();
                assert!(again == sealed[DATA_BYTES_MAX..]);
            }
        }
    }

    #[test]
    fn blocks_without_padding_must_be_whole() {
        let (module, session, _) = fake::token();
        let run = |direction, kind, parameter: &[u8], data: &[u8]| {
            run(&module, &session, direction, kind, parameter, &[data, b""])
        };
        assert_eq!(run(Encrypt, CKM_AES_CBC, &IV, &[0; 17]), Err(Ckr(CKR_DATA_LEN_RANGE)));
        for (kind, parameter, length) in [
            (CKM_AES_ECB, [].as_slice(), 17),
            (CKM_AES_CBC_PAD, &IV, 17),
            (CKM_AES_CBC_PAD, &IV, 0),
        ] {
            assert_eq!(
                run(Decrypt, kind, parameter, &vec![0; length]),
                Err(Ckr(CKR_ENCRYPTED_DATA_LEN_RANGE))
            );
        }
    }

    #[test]
    fn a_counter_never_wraps() {
        let (module, session, _) = fake::token();
        let mut counter = [0x22; 16];
        counter[15] = 0xfe;
        let parameter = ctr(8, counter);
        let run =
            |pieces: &[&[u8]]| run(&module, &session, Encrypt, CKM_AES_CTR, &parameter, pieces);
        assert!(run(&[&[0; 32]]).is_ok());
        assert_eq!(run(&[&[0; 33]]), Err(Ckr(CKR_DATA_LEN_RANGE)));
        assert!(run(&[&[0; 16], &[0; 16]]).is_ok());
        assert_eq!(run(&[&[0; 32], &[0; 1]]), Err(Ckr(CKR_DATA_LEN_RANGE)));
    }

    #[test]
    fn a_padded_decryption_fits_a_buffer_of_the_plaintexts_length() {
        let (module, session, _) = fake::token();
        let sealed = run(&module, &session, Encrypt, CKM_AES_CBC_PAD, &IV, &[b"abc"]).unwrap();
        with_mechanism(CKM_AES_CBC_PAD, &IV, |given| init(&module, &session, Decrypt, given, AES))
            .unwrap();
        let decrypt =
            |room| output(room, |out| whole(&module, &session, Decrypt, input(&sealed), out));
        assert_eq!(decrypt(None).1, 16);
        let small = decrypt(Some(2));
        assert_eq!((small.0, small.1), (Err(Ckr(CKR_BUFFER_TOO_SMALL)), 3));
        assert_eq!(decrypt(Some(3)).2, b"abc");
    }

    #[test]
    fn gcm_is_gathered_and_ends_with_its_tag() {
        let (module, session, _) = fake::token();
        let mut iv = [5u8; 12];
        let params = CK_GCM_PARAMS {
            pIv: iv.as_mut_ptr(),
            ulIvLen: 12,
            ulIvBits: 96,
            pAAD: std::ptr::null_mut(),
            ulAADLen: 0,
            ulTagBits: 128,
        };
        // SAFETY: a C structure without padding, read as its bytes.
        let bytes: [u8; size_of::<CK_GCM_PARAMS>()] = unsafe { std::mem::transmute(params) };
        let run = |direction, pieces: &[&[u8]]| {
            run(&module, &session, direction, CKM_AES_GCM, &bytes, pieces)
        };
        let sealed = run(Encrypt, &[b"some ", b"data"]).unwrap();
        assert_eq!(sealed.len(), 9 + 16);
        assert_eq!(run(Encrypt, &[b"some data"]).unwrap(), sealed);
        assert_eq!(run(Decrypt, &[&sealed[..3], &sealed[3..]]).unwrap(), b"some data");
        let mut bent = sealed;
        bent[0] ^= 1;
        assert_eq!(run(Decrypt, &[&bent]), Err(Ckr(CKR_ENCRYPTED_DATA_INVALID)));
        assert_eq!(run(Decrypt, &[&[0; 15]]), Err(Ckr(CKR_ENCRYPTED_DATA_LEN_RANGE)));
    }

    #[test]
    fn a_cloudhsm_takes_no_gcm_in_parts() {
        let (module, _) = fake::module(strongroom_wire::message::Personality::CloudHsm);
        let flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
        let session = module.session(fake::open(&module, flags).unwrap()).unwrap();
        let mut iv = [0u8; 12];
        let params = CK_GCM_PARAMS {
            pIv: iv.as_mut_ptr(),
            ulIvLen: 12,
            ulIvBits: 96,
            pAAD: std::ptr::null_mut(),
            ulAADLen: 0,
            ulTagBits: 128,
        };
        // SAFETY: a C structure without padding, read as its bytes.
        let bytes: [u8; size_of::<CK_GCM_PARAMS>()] = unsafe { std::mem::transmute(params) };
        with_mechanism(CKM_AES_GCM, &bytes, |given| init(&module, &session, Encrypt, given, AES))
            .unwrap();
        let part = output(Some(64), |out| update(&module, &session, Encrypt, input(b"some"), out));
        assert_eq!(part.0, Err(Ckr(CKR_MECHANISM_INVALID)));
    }
}
