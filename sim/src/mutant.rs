//! Mutants: ways to break the cluster on purpose, each of which the simulation must notice.
//!
//! They are played by what is virtual (a disk that lies, peers that forget) and by the thin layer
//! between engine and node, so what ships has no trace of them. One is a feature of the cluster crate,
//! for nothing outside of it can play it: `early-ack`, a build of its own that is broken as it stands.

use crate::disk::Health;
use crate::scenario;
use crate::world::World;

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Disks say that a transaction is safe before it is.
    SkippedFsync,
    /// Disks do not keep the vote that was given.
    LostVote,
    /// A restart forgets what clients were answered, so a retry runs twice.
    ForgottenReplies,
    /// A miss is answered without asking whether this HSM is behind.
    NoBarrier,
    /// A login is not charged before its hash is computed, nor afterwards.
    UnchargedGuess,
    /// A change that was authorised when it was proposed is made though its login has ended since.
    NoSecondAuthorise,
    /// A logout does nothing, so its ticket stays good.
    StaleTicket,
    /// A creation is proposed twice, the second time under no idempotency key.
    DoubleProposal,
    /// A voter that returns is told by all that they saw nothing of it.
    ForgetfulPeers,
    /// A leader does not learn that its clock is wrong.
    WildClock,
    /// Nobody makes new secrets when a member has gone.
    NoRotation,
    /// Masking keys are forgotten while objects are still sealed under them.
    ForgottenMasking,
    /// A witness's disk says that a transaction is safe before it is.
    LyingWitness,
    /// Whoever was given up in a recovery is not told.
    NoFence,
}

/// All of them, the scenario that each is run in, and the seeds within which it must be noticed.
pub const MUTANTS: &[(Mutant, &str, u64)] = &[
    (Mutant::SkippedFsync, "crashes", 5),
    (Mutant::LostVote, "crashes", 5),
    (Mutant::ForgottenReplies, "crashes", 5),
    (Mutant::NoBarrier, "network", 60),
    (Mutant::UnchargedGuess, "logins", 5),
    (Mutant::NoSecondAuthorise, "logins", 60),
    (Mutant::StaleTicket, "calm", 5),
    (Mutant::DoubleProposal, "calm", 2),
    (Mutant::ForgetfulPeers, "disks", 300),
    (Mutant::WildClock, "disks", 60),
    (Mutant::NoRotation, "theft", 5),
    (Mutant::ForgottenMasking, "theft", 10),
    (Mutant::LyingWitness, "witness", 20),
    (Mutant::NoFence, "recovery", 5),
];

/// A mutant by name.
#[must_use]
pub fn named(name: &str) -> Option<Mutant> {
    MUTANTS.iter().map(|(mutant, ..)| *mutant).find(|mutant| format!("{mutant:?}") == name)
}

/// Runs a scenario with a mutant, if any, until something is noticed: the seed that did, and what was
/// found.
#[must_use]
pub fn noticed(
    mutant: Option<Mutant>,
    scenario: &str,
    from: u64,
    seeds: u64,
) -> Option<(u64, String)> {
    let scenario = scenario::named(scenario)?;
    (from..from + seeds).find_map(|seed| {
        let problems = scenario.run(seed, mutant, false).problems;
        problems.into_iter().next().map(|problem| (seed, problem))
    })
}

impl Mutant {
    /// Breaks it.
    pub fn plant(self, world: &World) {
        let all = |health| world.hsms().iter().for_each(|hsm| hsm.platter.set_health(health));
        match self {
            Self::SkippedFsync => all(Health::Lies),
            Self::LostVote => all(Health::ForgetsVotes),
            Self::ForgottenReplies => all(Health::ForgetsReplies),
            Self::LyingWitness => {
                let hsms = world.hsms();
                let witnesses = hsms.iter().filter(|hsm| hsm.witness);
                witnesses.for_each(|witness| witness.platter.set_health(Health::Lies));
            }
            Self::ForgetfulPeers | Self::WildClock | Self::NoFence => world.network.plant(self),
            // Looked for where it matters.
            Self::NoBarrier
            | Self::UnchargedGuess
            | Self::NoSecondAuthorise
            | Self::StaleTicket
            | Self::DoubleProposal
            | Self::NoRotation
            | Self::ForgottenMasking => {}
        }
    }
}
