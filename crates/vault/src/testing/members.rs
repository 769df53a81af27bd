//! Members for tests.

use super::World;
use crate::{Actor, Command, Endorsement, Member, NodeId, Outcome, Personality, Refusal, Role};

/// A member that is valid and unlike the others.
pub(crate) fn member(number: u8) -> Member {
    Member {
        node: NodeId(0),
        hsm_id: format!("hsm-{number}"),
        witness: false,
        address: format!("127.0.1.{number}"),
        port_offset: 0,
        zone: "strongroom-1a".to_owned(),
        device_key: vec![number, 1],
        sealing_key: vec![number, 2],
    }
}

/// One that only votes.
pub(crate) fn witness(number: u8) -> Member {
    Member { witness: true, sealing_key: Vec::new(), ..member(number) }
}

impl World {
    /// An active cluster of so many HSMs, numbered from 1, under policy `Automatic`.
    pub(crate) fn cluster(hsms: u8) -> Self {
        let mut world = Self::cloudhsm();
        for number in 1..=hsms {
            assert_eq!(world.add(member(number)), Ok(Outcome::MemberAdded(NodeId(number.into()))));
        }
        world
    }

    /// Adds a member on the provisioner's word.
    pub(crate) fn add(&mut self, member: Member) -> Result<Outcome, Refusal> {
        let endorsement = Endorsement::Provisioner;
        self.apply(Actor::System, Command::AddMember { member, endorsement, replaces: None })
    }

    /// Another admin, logged in.
    pub(crate) fn another_admin(&mut self, name: &str) -> Actor {
        let admin = self.admin();
        self.must(admin, super::create_user(name, Role::Admin));
        self.must(admin, Command::CloseLogins { logins: login_of(admin) });
        self.login(name, Role::Admin)
    }

    /// The numbers of all members.
    pub(crate) fn nodes(&self) -> Vec<u64> {
        self.state.members().map(|member| member.node.0).collect()
    }

    /// A token that is a cluster too.
    pub(crate) fn token_with_members() -> (Self, Actor) {
        let (mut world, so, _) = Self::token();
        assert_eq!(world.state.personality(), Personality::Token);
        for number in 1..=2 {
            world.must(
                Actor::System,
                Command::AddMember {
                    member: member(number),
                    endorsement: Endorsement::Provisioner,
                    replaces: None,
                },
            );
        }
        (world, so)
    }
}

fn login_of(actor: Actor) -> Vec<crate::LoginId> {
    match actor {
        Actor::Login(login) => vec![login],
        Actor::System | Actor::Anonymous => Vec::new(),
    }
}
