//! Users, the HSM itself, and the token of personality `token`.

use prost::Message;

use super::{Role, secret_messages};

/// What the HSM is.
#[derive(PartialEq, Message)]
pub struct HsmInfo {}

/// Answer to [`HsmInfo`].
#[derive(PartialEq, Message)]
pub struct HsmInfoReply {
    /// Who made it.
    #[prost(string, tag = "1")]
    pub vendor: String,
    /// Model.
    #[prost(string, tag = "2")]
    pub model: String,
    /// Serial number: the HSM's id.
    #[prost(string, tag = "3")]
    pub serial_number: String,
    /// Software version, major.
    #[prost(uint32, tag = "4")]
    pub version_major: u32,
    /// Software version, minor.
    #[prost(uint32, tag = "5")]
    pub version_minor: u32,
    /// Software version, build.
    #[prost(uint32, tag = "6")]
    pub version_build: u32,
    /// Whether FIPS mode's rules hold.
    #[prost(bool, tag = "7")]
    pub fips_mode: bool,
}

/// All users.
#[derive(PartialEq, Message)]
pub struct ListUsers {}

/// One user.
#[derive(PartialEq, Message)]
pub struct UserReply {
    /// Name.
    #[prost(string, tag = "1")]
    pub user: String,
    /// Role.
    #[prost(enumeration = "Role", tag = "2")]
    pub role: i32,
    /// Whether too many logins failed.
    #[prost(bool, tag = "3")]
    pub locked: bool,
    /// The user's number.
    #[prost(uint32, tag = "4")]
    pub id: u32,
    /// Failed logins since the last good one.
    #[prost(uint32, tag = "5")]
    pub failures: u32,
}

/// Answer to [`ListUsers`].
#[derive(PartialEq, Message)]
pub struct UsersReply {
    /// By number.
    #[prost(message, repeated, tag = "1")]
    pub users: Vec<UserReply>,
}

/// A new user.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub struct CreateUser {
    /// Name.
    #[prost(string, tag = "1")]
    pub user: String,
    /// Role.
    #[prost(enumeration = "Role", tag = "2")]
    pub role: i32,
    /// Password; wiped when dropped.
    #[prost(bytes = "vec", tag = "3")]
    pub password: Vec<u8>,
}

/// Remove a user.
#[derive(PartialEq, Message)]
pub struct DeleteUser {
    /// Name.
    #[prost(string, tag = "1")]
    pub user: String,
    /// Role.
    #[prost(enumeration = "Role", tag = "2")]
    pub role: i32,
}

/// A new password, one's own or, for an admin, another user's.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub struct ChangePassword {
    /// Name.
    #[prost(string, tag = "1")]
    pub user: String,
    /// Role.
    #[prost(enumeration = "Role", tag = "2")]
    pub role: i32,
    /// The new password; wiped when dropped.
    #[prost(bytes = "vec", tag = "3")]
    pub password: Vec<u8>,
    /// The old password, checked where given (C_SetPIN gives it); wiped when dropped.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub old_password: Option<Vec<u8>>,
}

/// The first admin's password: `admin` becomes an admin, the cluster active.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub struct ActivateCluster {
    /// The password; wiped when dropped.
    #[prost(bytes = "vec", tag = "1")]
    pub password: Vec<u8>,
}

/// C_InitToken: destroys all objects and users, sets SO PIN and label.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub struct InitToken {
    /// The SO's PIN: the present one where the token is initialised, else the new one. Wiped.
    #[prost(bytes = "vec", tag = "1")]
    pub so_pin: Vec<u8>,
    /// The token's label, 32 bytes, blank-padded.
    #[prost(bytes = "vec", tag = "2")]
    pub label: Vec<u8>,
}

/// C_InitPIN: the SO sets the user's PIN.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub struct InitPin {
    /// The PIN; wiped when dropped.
    #[prost(bytes = "vec", tag = "1")]
    pub pin: Vec<u8>,
}

/// What C_GetTokenInfo shows.
#[derive(PartialEq, Message)]
pub struct TokenInfo {}

/// Answer to [`TokenInfo`].
#[derive(PartialEq, Message)]
pub struct TokenInfoReply {
    /// 32 bytes, blank-padded.
    #[prost(bytes = "vec", tag = "1")]
    pub label: Vec<u8>,
    /// Whether the token is initialised.
    #[prost(bool, tag = "2")]
    pub initialized: bool,
    /// Whether the user's PIN is set.
    #[prost(bool, tag = "3")]
    pub user_pin_set: bool,
    /// Whether the user is locked.
    #[prost(bool, tag = "4")]
    pub user_locked: bool,
    /// Failed logins of the user.
    #[prost(uint32, tag = "5")]
    pub user_failures: u32,
    /// Whether the SO is locked.
    #[prost(bool, tag = "6")]
    pub so_locked: bool,
    /// Failed logins of the SO.
    #[prost(uint32, tag = "7")]
    pub so_failures: u32,
    /// The serial number: 16 characters at most.
    #[prost(string, tag = "8")]
    pub serial_number: String,
}

secret_messages! {
    CreateUser: password;
    ChangePassword: password, old_password;
    ActivateCluster: password;
    InitToken: so_pin;
    InitPin: pin;
}
