//! Random entries over small domains, so that they meet one another.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::members::{member, witness};
use super::verifier;
use crate::{
    Actor, ClientId, Command, Endorsement, Entry, Flags, Handle, JoinPolicy, LoginId, Member, Meta,
    NewObject, NodeId, ObjectId, Personality, Role, UserId,
};

/// Any entry, most of them sensible.
pub(crate) fn entry() -> impl Strategy<Value = Entry> {
    let client = (0..3_u8).prop_map(|byte| ClientId([byte; 16]));
    (any::<u16>(), client, 0..40_u64, 0..40_u64, actor(), command()).prop_map(
        |(time_ms, client, sequence, lowest_unanswered, actor, command)| Entry {
            time_ms: time_ms.into(),
            client,
            sequence,
            lowest_unanswered,
            actor,
            command,
        },
    )
}

fn actor() -> impl Strategy<Value = Actor> {
    prop_oneof![
        1 => Just(Actor::System),
        1 => Just(Actor::Anonymous),
        4 => (0..64_u64).prop_map(|login| Actor::Login(LoginId(login))),
    ]
}

pub(crate) fn role() -> impl Strategy<Value = Role> {
    prop_oneof![
        1 => Just(Role::UnactivatedAdmin),
        3 => Just(Role::Admin),
        3 => Just(Role::CryptoUser),
        1 => Just(Role::ApplianceUser),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(vec!["admin", "Admin", "alice", "BOB", "so", "user", "app_user"])
            .prop_map(str::to_owned),
        1 => ".{0,40}",
    ]
}

fn user_epoch() -> impl Strategy<Value = (UserId, u64)> {
    ((0..6_u32).prop_map(UserId), 0..6_u64)
}

fn handle() -> impl Strategy<Value = Handle> {
    (0..12_u64).prop_map(|offset| Handle(Handle::FIRST.0 + offset))
}

fn new_object() -> impl Strategy<Value = NewObject> {
    let id = any::<u32>().prop_map(|id| ObjectId(u128::from(id).to_be_bytes()));
    (id, (0..6_u32).prop_map(UserId), meta(), vec(any::<u8>(), 0..4))
        .prop_map(|(id, owner, meta, blob)| NewObject { id, owner, meta, blob })
}

/// Metadata, of a sort that exists in most cases.
pub(crate) fn meta() -> impl Strategy<Value = Meta> {
    let sort = prop_oneof![
        8 => prop::sample::select(vec![
            (3, Some(3)),
            (2, Some(3)),
            (3, Some(0)),
            (2, Some(0)),
            (4, Some(0x1f)),
            (4, Some(0x10)),
            (1, Some(0)),
            (0, None),
        ]),
        1 => (any::<u64>(), option::of(any::<u64>())),
    ];
    let flags = prop_oneof![
        4 => (0..=Flags::ALL.0).prop_map(Flags),
        4 => Just(Flags::TOKEN | Flags::PRIVATE | Flags::MODIFIABLE | Flags::DESTROYABLE),
        2 => Just(Flags::TOKEN | Flags::MODIFIABLE | Flags::DESTROYABLE),
        1 => any::<u32>().prop_map(Flags),
    ];
    let bytes = || vec(any::<u8>(), 0..3);
    let kind = prop_oneof![
        4 => prop::sample::select(vec![0x101, 0x110, 0x4000_0211, 0x4000_0600]),
        1 => any::<u64>(),
    ];
    let more = btree_map(kind, bytes(), 0..2);
    let made = (0..8192_u32, option::of(any::<[u8; 3]>()), option::of(any::<u64>()));
    (sort, flags, bytes(), bytes(), made, more).prop_map(
        |((class, key_type), flags, label, cka_id, made, more)| Meta {
            class,
            key_type,
            flags,
            label,
            cka_id,
            size_bits: made.0,
            check_value: made.1,
            generated_by: made.2,
            more,
        },
    )
}

fn command() -> impl Strategy<Value = Command> {
    let personality = prop_oneof![Just(Personality::CloudHsm), Just(Personality::Token)];
    let password = || "[a-z]{0,3}".prop_map(|password| verifier(&password));
    prop_oneof![
        1 => ("[a-z-]{0,8}", personality).prop_map(|(cluster_id, personality)| {
            let join_policy = JoinPolicy::Automatic;
            Command::CreateCluster { masking_domain: [1; 16], cluster_id, personality, join_policy }
        }),
        1 => Just(Command::InitialiseCluster {
            cluster_certificate: vec![1],
            trust_anchor: vec![2]
        }),
        1 => password().prop_map(|verifier| Command::ActivateCluster { verifier }),
        1 => (0..3_u64, password()).prop_map(|(so_epoch, so_verifier)| {
            Command::InitToken { label: vec![b' '; 32], so_verifier, so_epoch }
        }),
        2 => password().prop_map(|verifier| Command::InitPin { verifier }),
        3 => (name(), role(), password())
            .prop_map(|(name, role, verifier)| Command::CreateUser { name, role, verifier }),
        1 => (name(), role()).prop_map(|(name, role)| Command::DeleteUser { name, role }),
        2 => (name(), role(), password())
            .prop_map(|(name, role, verifier)| Command::ChangePassword { name, role, verifier }),
        3 => (name(), role()).prop_map(|(name, role)| Command::ChargeLogin { name, role }),
        6 => (user_epoch(), any::<[u8; 32]>())
            .prop_map(|((user, epoch), client_key)| Command::OpenLogin { user, epoch, client_key }),
        1 => (user_epoch(), any::<u64>(), any::<[u8; 32]>()).prop_map(
            |((user, epoch), login, client_key)| Command::AdoptLogin {
                login: LoginId(login),
                user,
                epoch,
                client_key,
            }
        ),
        1 => vec((0_u64..60).prop_map(LoginId), 0..4)
            .prop_map(|logins| Command::SeeLogins { logins }),
        1 => user_epoch().prop_map(|(user, epoch)| Command::RefundLogin { user, epoch }),
        1 => vec((0..64_u64).prop_map(LoginId), 0..2)
            .prop_map(|logins| Command::CloseLogins { logins }),
        8 => vec(new_object(), 0..3).prop_map(|objects| Command::CreateObjects { objects }),
        2 => handle().prop_map(|handle| Command::DestroyObject { handle }),
        4 => (handle(), 0..4_u64, meta())
            .prop_map(|(handle, version, meta)| Command::SetMeta { handle, version, meta }),
        8 => cluster_command(),
    ]
}

/// Few devices and numbers, so that they meet.
fn cluster_command() -> impl Strategy<Value = Command> {
    let device = || {
        prop_oneof![
            6 => (1..8_u8).prop_map(member),
            1 => (8..10_u8).prop_map(witness),
            1 => any::<(u8, u16, String)>().prop_map(|(number, port_offset, zone)| Member {
                port_offset,
                zone,
                ..member(number)
            }),
        ]
    };
    let node = || (0..8_u64).prop_map(NodeId);
    let nodes = || vec(node(), 0..4);
    let bytes = || vec(any::<u8>(), 0..3);
    let endorsement = prop_oneof![
        Just(Endorsement::Provisioner),
        Just(Endorsement::Admins),
        bytes().prop_map(|certificate| Endorsement::Owner { certificate }),
    ];
    let policy = prop_oneof![
        3 => Just(JoinPolicy::Automatic),
        1 => Just(JoinPolicy::Owner),
        2 => (0..3_u32).prop_map(|approvals| JoinPolicy::Quorum { approvals }),
    ];
    let object = (handle(), any::<[u8; 16]>().prop_map(ObjectId), bytes());
    prop_oneof![
        6 => (device(), endorsement, option::weighted(0.2, node())).prop_map(
            |(member, endorsement, replaces)| Command::AddMember { member, endorsement, replaces }
        ),
        2 => device().prop_map(|member| Command::RequestJoin { member }),
        2 => device().prop_map(|member| {
            Command::ApproveJoin { fingerprint: member.fingerprint() }
        }),
        2 => (node(), any::<bool>())
            .prop_map(|(node, receipt)| Command::RemoveMember { node, receipt }),
        1 => (node(), device()).prop_map(|(node, Member { address, port_offset, zone, .. })| {
            Command::UpdateMember { node, address, port_offset, zone }
        }),
        2 => policy.prop_map(|policy| Command::SetJoinPolicy { policy }),
        1 => any::<u64>().prop_map(|seconds| Command::SetCutOffPolicy { seconds }),
        1 => (vec(bytes(), 0..3), 0..4_u32)
            .prop_map(|(keys, threshold)| Command::SetRecoveryKeys { keys, threshold }),
        2 => (0..4_u64, vec((node(), bytes()), 0..4))
            .prop_map(|(epoch, sealed)| Command::RotateSecrets { epoch, sealed }),
        1 => vec(object, 0..3).prop_map(|objects| Command::Remask { objects }),
        1 => (0..4_u64, bytes()).prop_map(|(generation, cluster_certificate)| {
            Command::InstallClusterCertificate { generation, cluster_certificate }
        }),
        1 => vec((user_epoch(), 0..4_u32), 0..3).prop_map(|failures| {
            let failures = failures.into_iter().map(|((user, epoch), count)| (user, epoch, count));
            Command::MergeFailures { failures: failures.collect() }
        }),
        1 => (0..4_u64, nodes())
            .prop_map(|(fence, members)| Command::Recovered { fence, members }),
    ]
}
