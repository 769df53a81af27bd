//! What has to be signed for a recovery, and who may sign it.
//!
//! A statement says all that the signers decide: which HSMs the cluster goes on with, how far each of
//! them has come, and which are given up. It counts once, on the survivor that has come furthest, as
//! long as nothing has happened there since.

use std::collections::BTreeSet;

use prost::Message;
use strongroom_pki::{Certificate, verify_message};
use strongroom_vault::State;
use strongroom_wire::admin::RecoverySignature;
use strongroom_wire::limits::{
    MEMBERS_MAX, RECOVERY_SIGNATURE_BYTES_MAX, RECOVERY_SIGNATURES_MAX,
    RECOVERY_STATEMENT_BYTES_MAX,
};
use strongroom_wire::peer::Place;

/// What a statement begins with, so that a signature over it is of no use elsewhere.
const CONTEXT: &[u8] = b"strongroom recovery 1\0";

/// Why a recovery is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecoveryError {
    #[error("the statement is none of this version's")]
    NoStatement,
    #[error("the statement {0}; ask for a new one")]
    Stale(&'static str),
    #[error(
        "the cluster has neither recovery keys nor an owner's customerCA, so nobody can decide this"
    )]
    NoAuthority,
    #[error("{given} of the {needed} signatures that are needed are there and right")]
    Signatures { given: usize, needed: usize },
    #[error("{0}")]
    NotNow(String),
}

/// A survivor, as it has said of itself.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Survivor {
    /// Raft's number.
    #[prost(uint64, tag = "1")]
    pub(crate) node: u64,
    /// `hsm-…`.
    #[prost(string, tag = "2")]
    pub(crate) hsm_id: String,
    /// SHA-256 of its device key's SubjectPublicKeyInfo.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) device_key: Vec<u8>,
    /// Its last Raft entry.
    #[prost(message, optional, tag = "4")]
    pub(crate) last: Option<Place>,
    /// The last of the vault's entries that it has applied.
    #[prost(uint64, tag = "5")]
    pub(crate) applied: u64,
    /// When that was stamped, in milliseconds since 1970.
    #[prost(uint64, tag = "6")]
    pub(crate) applied_ms: u64,
    /// The newest of the vault's entries that a client said it had seen.
    #[prost(uint64, tag = "7")]
    pub(crate) seen: u64,
    /// For how long it had been without a majority, in milliseconds.
    #[prost(uint64, tag = "8")]
    pub(crate) cut_off_ms: u64,
}

/// What the signers decide.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Statement {
    /// `cluster-…`.
    #[prost(string, tag = "1")]
    pub(crate) cluster_id: String,
    /// The fence from then on.
    #[prost(uint64, tag = "2")]
    pub(crate) fence: u64,
    /// Those that the cluster goes on with. The first has come furthest: it begins anew, and the
    /// others follow it.
    #[prost(message, repeated, tag = "3")]
    pub(crate) survivors: Vec<Survivor>,
    /// `hsm-…` of those that are given up.
    #[prost(string, repeated, tag = "4")]
    pub(crate) given_up: Vec<String>,
    /// When it was made, in milliseconds since 1970.
    #[prost(uint64, tag = "5")]
    pub(crate) made_ms: u64,
}

impl Statement {
    /// As it is signed.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [CONTEXT, &self.encode_to_vec()].concat()
    }

    /// # Errors
    /// [`RecoveryError::NoStatement`].
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, RecoveryError> {
        let encoded = bytes
            .strip_prefix(CONTEXT)
            .filter(|encoded| encoded.len() <= RECOVERY_STATEMENT_BYTES_MAX)
            .ok_or(RecoveryError::NoStatement)?;
        let statement = Self::decode(encoded).map_err(|_| RecoveryError::NoStatement)?;
        let survivors = &statement.survivors;
        let complete = |survivor: &Survivor| survivor.device_key.len() == 32;
        let within = (1..=MEMBERS_MAX).contains(&survivors.len())
            && statement.given_up.len() <= MEMBERS_MAX
            && survivors.iter().all(complete);
        if within { Ok(statement) } else { Err(RecoveryError::NoStatement) }
    }

    /// Puts the survivor that has come furthest first: by Raft's own order, in which an entry of a later
    /// term stands above any of an earlier one.
    pub(crate) fn put_newest_first(&mut self) {
        self.survivors.sort_by_key(|survivor| {
            let last = survivor.last.unwrap_or_default();
            (std::cmp::Reverse((last.term, last.index)), survivor.node)
        });
    }

    /// Checks that it is of this cluster's present life, over members as this state has them.
    ///
    /// # Errors
    /// [`RecoveryError::Stale`].
    pub(crate) fn check_state(&self, state: &State) -> Result<(), RecoveryError> {
        if self.cluster_id != state.cluster_id() {
            return Err(RecoveryError::Stale("is of another cluster"));
        }
        if Some(self.fence) != state.fence().checked_add(1) {
            return Err(RecoveryError::Stale("is of another life of this cluster"));
        }
        let mut named = BTreeSet::new();
        for survivor in &self.survivors {
            let member = state.members().find(|member| member.node.0 == survivor.node);
            let same = |member: &strongroom_vault::Member| {
                member.hsm_id == survivor.hsm_id
                    && member.fingerprint().as_slice() == survivor.device_key
            };
            if !member.is_some_and(same) || !named.insert(survivor.hsm_id.clone()) {
                return Err(RecoveryError::Stale("names a survivor that is no member"));
            }
        }
        named.extend(self.given_up.iter().cloned());
        let members: BTreeSet<_> = state.members().map(|member| member.hsm_id.clone()).collect();
        if named == members {
            Ok(())
        } else {
            Err(RecoveryError::Stale("does not speak of all members and no others"))
        }
    }

    /// What it says, line by line, at `now_ms`.
    pub(crate) fn explanation(&self) -> Vec<String> {
        let Some(newest) = self.survivors.first() else { return Vec::new() };
        let mut lines = vec![format!(
            "{} goes on as a cluster of its own, {} others join it again; {} are given up for ever: {}",
            newest.hsm_id,
            self.survivors.len() - 1,
            self.given_up.len(),
            self.given_up.join(", ")
        )];
        lines.extend(self.survivors.iter().map(|survivor| {
            let last = survivor.last.unwrap_or_default();
            format!(
                "{}: last entry {} of term {}, change {} applied, stamped {} ms after 1970",
                survivor.hsm_id, last.index, last.term, survivor.applied, survivor.applied_ms
            )
        }));
        lines.extend(self.missing());
        lines
    }

    /// Which changes could be missing afterwards.
    fn missing(&self) -> Vec<String> {
        let Some(newest) = self.survivors.first() else { return Vec::new() };
        let next = newest.applied.saturating_add(1);
        let mut lines = vec![format!(
            "changes from {next} on may be missing: those that the lost HSMs agreed on and that none of \
             these has heard of; contact to the majority was lost {} ms before this was written",
            self.survivors.iter().map(|survivor| survivor.cut_off_ms).min().unwrap_or(0)
        )];
        let seen = self.survivors.iter().map(|survivor| survivor.seen).max().unwrap_or(0);
        lines.push(if seen > newest.applied {
            format!(
                "clients have seen changes up to {seen}: those of {next} to {seen} that do not show \
                 when {} leads are lost",
                newest.hsm_id
            )
        } else {
            format!("no client has told these HSMs of a change after {}", newest.applied)
        });
        lines
    }
}

/// Whose signatures decide a recovery.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    /// SubjectPublicKeyInfo, DER.
    keys: Vec<Vec<u8>>,
    /// How many of them must sign.
    pub(crate) threshold: u32,
}

impl Authority {
    /// The recovery keys that admins have set, else customerCA.
    ///
    /// # Errors
    /// [`RecoveryError::NoAuthority`].
    pub(crate) fn of(state: &State) -> Result<Self, RecoveryError> {
        if let (keys @ [_, ..], threshold) = state.recovery_keys() {
            return Ok(Self { keys: keys.to_vec(), threshold });
        }
        let anchor = state.trust_anchor().ok_or(RecoveryError::NoAuthority)?;
        let anchor = Certificate::from_der(anchor).map_err(|_| RecoveryError::NoAuthority)?;
        Ok(Self { keys: vec![anchor.public_key], threshold: 1 })
    }

    /// Whether a statement's signatures are enough.
    ///
    /// # Errors
    /// [`RecoveryError::Signatures`].
    pub(crate) fn check(
        &self,
        statement: &[u8],
        signatures: &[RecoverySignature],
    ) -> Result<(), RecoveryError> {
        let right = |signature: &&RecoverySignature| {
            signature.signature.len() <= RECOVERY_SIGNATURE_BYTES_MAX
                && self.keys.contains(&signature.key)
                && verify_message(&signature.key, statement, &signature.signature).is_ok()
        };
        // By key: the same one twice is one.
        let signers: BTreeSet<&[u8]> = signatures
            .iter()
            .take(RECOVERY_SIGNATURES_MAX)
            .filter(right)
            .map(|signature| signature.key.as_slice())
            .collect();
        let (given, needed) = (signers.len(), self.threshold as usize);
        if needed > 0 && given >= needed {
            Ok(())
        } else {
            Err(RecoveryError::Signatures { given, needed })
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::SigningKey as _;
    use strongroom_vault::{Command, Endorsement, JoinPolicy, Member, Personality};

    use super::*;
    use crate::agreed::apply;
    use crate::certificates::{P256Key, own_owner};

    const CLUSTER: &str = "cluster-abcdefghijk";

    fn member(number: u8) -> Member {
        Member {
            hsm_id: format!("hsm-{number}"),
            address: format!("127.0.1.{number}"),
            device_key: vec![number; 91],
            sealing_key: vec![number; 8],
            ..Member::default()
        }
    }

    /// Three members, and the owner's customerCA.
    fn cluster() -> State {
        let mut state = State::new();
        apply(
            &mut state,
            Command::CreateCluster {
                masking_domain: [1; 16],
                cluster_id: CLUSTER.to_owned(),
                personality: Personality::CloudHsm,
                join_policy: JoinPolicy::Automatic,
            },
        );
        for number in 1..=3 {
            apply(
                &mut state,
                Command::AddMember {
                    member: member(number),
                    endorsement: Endorsement::Provisioner,
                    replaces: None,
                },
            );
        }
        state
    }

    fn survivor(number: u8, term: u64, index: u64) -> Survivor {
        Survivor {
            node: number.into(),
            hsm_id: format!("hsm-{number}"),
            device_key: member(number).fingerprint().to_vec(),
            last: Some(Place { term, leader: 1, index }),
            applied: index / 2,
            cut_off_ms: 5_000,
            ..Survivor::default()
        }
    }

    fn statement() -> Statement {
        Statement {
            cluster_id: CLUSTER.to_owned(),
            fence: 1,
            survivors: vec![survivor(1, 3, 10)],
            given_up: vec!["hsm-2".to_owned(), "hsm-3".to_owned()],
            made_ms: 1,
        }
    }

    #[test]
    fn a_statement_is_read_as_it_was_written_and_nothing_else_is_one() {
        let bytes = statement().to_bytes();
        assert_eq!(Statement::parse(&bytes).unwrap(), statement());
        assert_eq!(Statement::parse(&bytes[1..]), Err(RecoveryError::NoStatement));
        let nobody = Statement { survivors: Vec::new(), ..statement() };
        assert_eq!(Statement::parse(&nobody.to_bytes()), Err(RecoveryError::NoStatement));
        let long = [CONTEXT, &vec![0; RECOVERY_STATEMENT_BYTES_MAX + 1]].concat();
        assert_eq!(Statement::parse(&long), Err(RecoveryError::NoStatement));
    }

    #[test]
    fn the_survivor_with_the_newest_log_goes_first_and_a_later_term_counts_above_length() {
        let survivors = vec![survivor(1, 3, 10), survivor(2, 4, 8), survivor(3, 4, 7)];
        let mut statement = Statement { survivors, given_up: Vec::new(), ..statement() };
        statement.put_newest_first();
        let order: Vec<_> = statement.survivors.iter().map(|survivor| survivor.node).collect();
        assert_eq!(order, [2, 3, 1]);
    }

    #[test]
    fn a_statement_counts_for_the_cluster_that_it_speaks_of() {
        let state = cluster();
        statement().check_state(&state).unwrap();
        let mut stranger = survivor(1, 3, 10);
        stranger.device_key = vec![9; 32];
        let twice = vec![survivor(1, 3, 10), survivor(1, 3, 10)];
        let wrong = [
            Statement { cluster_id: "cluster-bbbbbbbbbbb".to_owned(), ..statement() },
            Statement { fence: 2, ..statement() },
            Statement { fence: 0, ..statement() },
            Statement { survivors: vec![stranger], ..statement() },
            Statement { survivors: twice, ..statement() },
            Statement { given_up: vec!["hsm-2".to_owned()], ..statement() },
            Statement { given_up: vec!["hsm-2".to_owned(), "hsm-4".to_owned()], ..statement() },
        ];
        for (number, wrong) in wrong.iter().enumerate() {
            let result = wrong.check_state(&state);
            assert!(matches!(result, Err(RecoveryError::Stale(_))), "statement {number}");
        }
    }

    #[test]
    fn it_says_which_changes_could_be_missing() {
        let mut statement = statement();
        let text = statement.explanation().join("\n");
        assert!(text.contains("changes from 6 on may be missing"), "{text}");
        assert!(text.contains("no client has told"), "{text}");
        statement.survivors[0].seen = 9;
        let text = statement.explanation().join("\n");
        assert!(text.contains("clients have seen changes up to 9: those of 6 to 9"), "{text}");
    }

    fn sign(key: &P256Key, statement: &[u8]) -> RecoverySignature {
        RecoverySignature { key: key.public_key(), signature: key.sign(statement).unwrap() }
    }

    fn key() -> P256Key {
        P256Key::generate("key of a test").unwrap()
    }

    #[test]
    fn without_recovery_keys_only_customer_ca_decides() {
        let mut state = cluster();
        assert_eq!(Authority::of(&state), Err(RecoveryError::NoAuthority));
        let owner = own_owner(&key(), CLUSTER).unwrap();
        let anchor = Certificate::from_der(&owner.trust_anchor).unwrap();
        apply(
            &mut state,
            Command::InitialiseCluster {
                cluster_certificate: owner.cluster_certificate,
                trust_anchor: owner.trust_anchor,
            },
        );
        let authority = Authority { keys: vec![anchor.public_key], threshold: 1 };
        assert_eq!(Authority::of(&state), Ok(authority));
    }

    #[test]
    fn it_takes_as_many_different_recovery_keys_as_the_admins_have_said() {
        let (keys, stranger) = ([key(), key(), key()], key());
        let authority =
            Authority { keys: keys.iter().map(P256Key::public_key).collect(), threshold: 2 };
        let bytes = statement().to_bytes();
        let [one, two, _] = keys.each_ref().map(|key| sign(key, &bytes));
        let check = |signatures: &[RecoverySignature]| authority.check(&bytes, signatures);
        let short = |given| Err(RecoveryError::Signatures { given, needed: 2 });
        assert_eq!(check(&[one.clone(), two.clone()]), Ok(()));
        assert_eq!(check(&[]), short(0));
        assert_eq!(check(&[one.clone(), one.clone()]), short(1));
        assert_eq!(check(&[one.clone(), sign(&stranger, &bytes)]), short(1));
        let of_another = sign(&keys[1], &Statement { fence: 2, ..statement() }.to_bytes());
        assert_eq!(check(&[one.clone(), of_another]), short(1));
        // A key that is nobody's does not become one by being named.
        let renamed = RecoverySignature { key: two.key, ..one.clone() };
        assert_eq!(check(&[one, renamed]), short(1));
        assert!(Authority { keys: Vec::new(), threshold: 0 }.check(&bytes, &[]).is_err());
    }
}
