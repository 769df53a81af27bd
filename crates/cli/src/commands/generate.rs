//! `key generate-symmetric …` and `key generate-asymmetric-pair …`

use cryptoki_sys::*;
use serde_json::{Value, json};
use strongroom_wire::message::{
    GenerateKey, GenerateKeyPair, Mechanism, Operation, Outcome, Template,
};

use super::Session;
use crate::attributes::{Kind, attribute, template, ulong};
use crate::error::Error;
use crate::grammar::{PairCommand, SymmetricCommand};

pub(super) fn symmetric(session: &mut Session, command: &SymmetricCommand) -> Result<Value, Error> {
    let (kind, mechanism, args) = match command {
        SymmetricCommand::Aes(args) => (Kind::Aes, CKM_AES_KEY_GEN, args),
        SymmetricCommand::GenericSecret(args) => (Kind::Generic, CKM_GENERIC_SECRET_KEY_GEN, args),
    };
    let mut attributes = template(kind, &args.label, args.session, &args.attributes);
    attributes.push(attribute(CKA_VALUE_LEN, ulong(args.key_length_bytes)));
    let operation = Operation::GenerateKey(GenerateKey {
        mechanism: Some(Mechanism { kind: mechanism, parameter: None }),
        template: Some(Template { attributes }),
    });
    match session.backend.call(operation)? {
        Some(Outcome::Object(made)) => Ok(json!({ "key": session.show(made.handle)? })),
        _ => Err(Error::Answer("GenerateKey")),
    }
}

pub(super) fn pair(session: &mut Session, command: &PairCommand) -> Result<Value, Error> {
    let (mechanism, args, specific) = match command {
        PairCommand::Rsa { pair, modulus_size_bits, public_exponent } => {
            let exponent = public_exponent.to_be_bytes();
            let leading = exponent.iter().take_while(|byte| **byte == 0).count();
            let specific = vec![
                attribute(CKA_MODULUS_BITS, ulong(*modulus_size_bits)),
                attribute(CKA_PUBLIC_EXPONENT, exponent[leading..].to_vec()),
            ];
            // CloudHSM makes its RSA keys by X9.31, the generation that FIPS 186 asks for.
            (CKM_RSA_X9_31_KEY_PAIR_GEN, pair, specific)
        }
        PairCommand::Ec { pair, curve } => {
            (CKM_EC_KEY_PAIR_GEN, pair, vec![attribute(CKA_EC_PARAMS, curve.to_vec())])
        }
    };
    let mut public =
        template(Kind::Public, &args.public_label, args.session, &args.public_attributes);
    public.extend(specific);
    let private =
        template(Kind::Private, &args.private_label, args.session, &args.private_attributes);
    let operation = Operation::GenerateKeyPair(GenerateKeyPair {
        mechanism: Some(Mechanism { kind: mechanism, parameter: None }),
        public_template: Some(Template { attributes: public }),
        private_template: Some(Template { attributes: private }),
    });
    match session.backend.call(operation)? {
        Some(Outcome::Pair(made)) => Ok(json!({
            "public_key": session.show(made.public_handle)?,
            "private_key": session.show(made.private_handle)?
        })),
        _ => Err(Error::Answer("GenerateKeyPair")),
    }
}
