//! Random numbers (PKCS#11 2.40, section 5.14): the HSM's.

use cryptoki_sys::*;
use strongroom_wire::limits::RANDOM_BYTES_MAX;
use strongroom_wire::message::{Operation, Random};
use strongroom_wire::wipe::Wiped;

use crate::abi::raw::Array;
use crate::error::{Ckr, Result, unexpected_reply};
use crate::module::Module;
use crate::session::Session;

/// C_GenerateRandom.
pub(crate) fn generate(module: &Module, session: &Session, out: &mut Array<'_, u8>) -> Result<()> {
    while out.left() > 0 {
        let length = out.left().min(RANDOM_BYTES_MAX);
        let bytes = u32::try_from(length).map_err(|_| unexpected_reply())?;
        let request = Operation::Random(Random { bytes });
        let random = Wiped::from(module.hsm.data(session.handle, request)?);
        if random.len() != length {
            return Err(unexpected_reply());
        }
        out.push(&random);
    }
    Ok(())
}

/// C_SeedRandom, which CloudHSM's module does not have. The HSM's generator is seeded by its own
/// machine and takes nothing from a program; what is offered is thanked for and dropped, so that
/// programs that offer it to every token go on.
pub(crate) fn seed(module: &Module) -> Result<()> {
    if module.is_cloudhsm() { Err(Ckr(CKR_FUNCTION_NOT_SUPPORTED)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;
    use crate::lock::lock;

    #[test]
    fn more_than_one_request_holds_comes_in_several() {
        let (module, session, state) = fake::token();
        let mut bytes = vec![0u8; RANDOM_BYTES_MAX + 1];
        let length = bytes.len() as CK_ULONG;
        // SAFETY: a live buffer.
        let mut out = unsafe { Array::new(bytes.as_mut_ptr(), length) }.unwrap();
        generate(&module, &session, &mut out).unwrap();
        assert!(bytes.iter().all(|&byte| byte == 9));
        assert_eq!(lock(&state).asked, ["random"; 2]);
    }
}
