//! Tickets: what a login gives, and every HSM of the cluster accepts on a connection whose other end
//! proves that it holds the ticket's key.
//!
//! A ticket is a format byte, the epoch of the cluster's ticket key (8 bytes, big-endian), an encoded
//! [`Claims`], and the HMAC-SHA256 of all that under the key. Whether its login is still open is in the
//! state, with `client_public_key`: logout, a new password and a deleted user end it there. It is no
//! secret: without the private half of that key it opens nothing.
//!
//! Of an epoch whose key is not here (it was rotated away, or is not here yet) a ticket is taken without
//! its HMAC: the state alone decides, which has all that it claims.

use std::sync::Arc;

use prost::Message;
use strongroom_crypto::{SecretBytes, ed25519, symmetric};
use strongroom_vault::{ClientId, LoginId, Role, UserId};

use crate::error::Error;
use crate::secrets::EpochSecrets;

const FORMAT: u8 = 2;
const HEAD_BYTES: usize = 1 + 8;
const MAC_BYTES: usize = 32;
/// More than a ticket ever has, in bytes.
const TICKET_BYTES_MAX: usize = 512;

/// What a ticket says.
#[derive(Clone, PartialEq, Message)]
struct Claims {
    #[prost(uint64, tag = "1")]
    login: u64,
    #[prost(uint32, tag = "2")]
    user: u32,
    #[prost(uint32, tag = "3")]
    role: u32,
    #[prost(bytes = "vec", tag = "4")]
    client_public_key: Vec<u8>,
    /// The masking domain: a restored clone keeps it, and gets a new ticket key instead.
    #[prost(bytes = "vec", tag = "5")]
    domain: Vec<u8>,
}

/// A login as a ticket names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) login: LoginId,
    pub(crate) user: UserId,
    pub(crate) role: Role,
    /// Which the login has in the state, too: a forged ticket names another.
    pub(crate) client_key: [u8; 32],
}

/// Why a ticket or its proof is not accepted. The caller sees one code for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TicketError {
    #[error("the ticket is not one of this cluster's")]
    Forged,
    #[error("the ticket's key did not sign this connection")]
    WrongProof,
}

/// Makes and checks tickets.
pub(crate) struct Tickets(Arc<dyn EpochSecrets>);

impl Tickets {
    pub(crate) fn new(secrets: Arc<dyn EpochSecrets>) -> Self {
        Self(secrets)
    }

    /// `None` where the epoch's key is not here.
    fn key(&self, epoch: u64) -> Option<SecretBytes> {
        let key = self.0.ticket(epoch)?;
        Some(symmetric::derive(key.as_bytes(), b"strongroom ticket 1"))
    }

    /// A ticket for a login.
    pub(crate) fn issue(&self, claim: Claim, domain: &[u8; 16]) -> Result<Vec<u8>, Error> {
        let claims = Claims {
            login: claim.login.0,
            user: claim.user.0,
            role: claim.role as u32,
            client_public_key: claim.client_key.to_vec(),
            domain: domain.to_vec(),
        };
        let mut signed = vec![FORMAT];
        signed.extend_from_slice(&self.0.epoch().to_be_bytes());
        signed.extend_from_slice(&claims.encode_to_vec());
        self.authenticate(&signed)
    }

    /// Bytes with their MAC under the newest key.
    pub(crate) fn authenticate(&self, signed: &[u8]) -> Result<Vec<u8>, Error> {
        let key = self.key(self.0.epoch()).ok_or(Error::Bug("no newest ticket key"))?;
        let mac = symmetric::hmac_sha256(key.as_bytes(), signed);
        Ok([signed, &mac].concat())
    }

    /// The login that a ticket names, where `proof` is its key's signature over this connection.
    /// Whether there is such a login, with all of the claim, is for the state to say.
    pub(crate) fn check(
        &self,
        ticket: &[u8],
        proof: &[u8],
        binding: &[u8; 32],
        client: ClientId,
        domain: &[u8; 16],
    ) -> Result<Claim, TicketError> {
        let claims = self.open(ticket, domain).ok_or(TicketError::Forged)?;
        let key: [u8; 32] = claims.client_public_key.try_into().map_err(|_| TicketError::Forged)?;
        let role = role(claims.role).ok_or(TicketError::Forged)?;
        let statement = strongroom_wire::attach_statement(binding, &client.0);
        if !ed25519::verify(&key, &statement, proof) {
            return Err(TicketError::WrongProof);
        }
        Ok(Claim { login: LoginId(claims.login), user: UserId(claims.user), role, client_key: key })
    }

    fn open(&self, ticket: &[u8], domain: &[u8; 16]) -> Option<Claims> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (signed, mac) = ticket.split_at_checked(ticket.len().checked_sub(MAC_BYTES)?)?;
        let ([format, epoch @ ..], encoded) = signed.split_first_chunk::<HEAD_BYTES>()?;
        if *format != FORMAT {
            return None;
        }
        let key = self.key(u64::from_be_bytes(*epoch));
        if key.is_some_and(|key| !symmetric::verify_hmac(key.as_bytes(), signed, mac)) {
            return None;
        }
        let claims = Claims::decode(encoded).ok()?;
        (claims.domain == domain).then_some(claims)
    }
}

fn role(number: u32) -> Option<Role> {
    [Role::UnactivatedAdmin, Role::Admin, Role::CryptoUser, Role::ApplianceUser]
        .into_iter()
        .find(|role| *role as u32 == number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::EngineSecrets;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    const DOMAIN: [u8; 16] = [3; 16];
    const BINDING: [u8; 32] = [5; 32];
    const CLIENT: ClientId = ClientId([7; 16]);
    fn under(seed: u8) -> Tickets {
        let secrets = EngineSecrets {
            masking: SecretBytes::new(vec![0; 32]),
            ticket: SecretBytes::new(vec![seed; 32]),
        };
        Tickets::new(Arc::new(secrets))
    }

    fn claim(pair: &Ed25519KeyPair) -> Claim {
        Claim {
            login: LoginId(12),
            user: UserId(3),
            role: Role::CryptoUser,
            client_key: pair.public_key().as_ref().try_into().unwrap(),
        }
    }

    fn parts() -> (Tickets, Ed25519KeyPair, Vec<u8>, Vec<u8>) {
        let tickets = under(1);
        let pair = Ed25519KeyPair::generate().unwrap();
        let ticket = tickets.issue(claim(&pair), &DOMAIN).unwrap();
        let proof = pair.sign(&strongroom_wire::attach_statement(&BINDING, &CLIENT.0));
        let proof = proof.as_ref().to_vec();
        (tickets, pair, ticket, proof)
    }

    #[test]
    fn a_ticket_with_its_proof_gives_its_login() {
        let (tickets, pair, ticket, proof) = parts();
        let checked = tickets.check(&ticket, &proof, &BINDING, CLIENT, &DOMAIN);
        assert_eq!(checked, Ok(claim(&pair)));
    }

    #[test]
    fn a_ticket_is_of_no_use_on_another_connection_or_to_another_client() {
        let (tickets, _, ticket, proof) = parts();
        let check = |binding, client| tickets.check(&ticket, &proof, binding, client, &DOMAIN);
        assert_eq!(check(&[6; 32], CLIENT), Err(TicketError::WrongProof));
        assert_eq!(check(&BINDING, ClientId([8; 16])), Err(TicketError::WrongProof));
        assert_eq!(
            tickets.check(&ticket, &[], &BINDING, CLIENT, &DOMAIN),
            Err(TicketError::WrongProof)
        );
    }

    #[test]
    fn a_ticket_of_another_key_or_cluster_is_forged() {
        let (tickets, _, ticket, proof) = parts();
        let other = under(2);
        let forged = Err(TicketError::Forged);
        assert_eq!(other.check(&ticket, &proof, &BINDING, CLIENT, &DOMAIN), forged);
        assert_eq!(tickets.check(&ticket, &proof, &BINDING, CLIENT, &[4; 16]), forged);
    }

    #[test]
    fn a_ticket_whose_key_was_rotated_away_is_for_the_state_to_judge_but_needs_its_proof() {
        struct Rotated(EngineSecrets);
        impl EpochSecrets for Rotated {
            fn epoch(&self) -> u64 {
                2
            }
            fn masking(&self, _: u64) -> Option<SecretBytes> {
                None
            }
            fn ticket(&self, epoch: u64) -> Option<SecretBytes> {
                self.0.ticket(epoch.checked_sub(1)?)
            }
        }
        let (_, pair, ticket, proof) = parts();
        let rotated = Tickets::new(Arc::new(Rotated(EngineSecrets {
            masking: SecretBytes::new(vec![0; 32]),
            ticket: SecretBytes::new(vec![2; 32]),
        })));
        let check = |proof: &[u8], domain| rotated.check(&ticket, proof, &BINDING, CLIENT, domain);
        assert_eq!(check(&proof, &DOMAIN), Ok(claim(&pair)));
        assert_eq!(check(&[], &DOMAIN), Err(TicketError::WrongProof));
        assert_eq!(check(&proof, &[4; 16]), Err(TicketError::Forged));
    }

    #[test]
    fn a_ticket_with_any_bit_turned_or_cut_short_is_forged() {
        let (tickets, pair, ticket, proof) = parts();
        for bit in 0..ticket.len() * 8 {
            let mut changed = ticket.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let result = tickets.check(&changed, &proof, &BINDING, CLIENT, &DOMAIN);
            // Of another epoch it is a ticket whose key is not here.
            let expected = match bit / 8 {
                1..HEAD_BYTES => Ok(claim(&pair)),
                _ => Err(TicketError::Forged),
            };
            assert_eq!(result, expected, "bit {bit}");
        }
        for length in 0..ticket.len() {
            let result = tickets.check(&ticket[..length], &proof, &BINDING, CLIENT, &DOMAIN);
            assert_eq!(result, Err(TicketError::Forged), "length {length}");
        }
    }
}
