//! Numbers that must not be mistaken for one another.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// From bytes of any length; `None` where they are not 16.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }
    };
}

number! {
    /// A user's number: `admin` is 1, the appliance user 2, others count on from 3. 0 is nobody:
    /// the owner of public objects made without a login.
    UserId(u32)
}
number! {
    /// An object's handle, the same on every HSM and for ever. Session objects have the top bit set
    /// and never enter the vault.
    Handle(u64)
}
number! {
    /// The number of an entry in the log; 0 is before the first.
    LogIndex(u64)
}
number! {
    /// The number of one login, from its ticket's creation to its end: the log index that made it; of
    /// one that began on an HSM that was cut off, a random number with the top bit set.
    LoginId(u64)
}
number! {
    /// A member's number in the cluster, given by the vault and never again; 0 is none.
    NodeId(u64)
}
random_id! {
    /// An object's identity for sealing, random, made by the engine before the handle is known.
    ObjectId
}
random_id! {
    /// One process of an application (a child after fork is another).
    ClientId
}

impl LoginId {
    /// Set in the numbers of logins that began on an HSM that was cut off.
    pub const APART_BIT: u64 = 1 << 63;

    /// Whether the login began on an HSM that was cut off.
    #[must_use]
    pub fn began_apart(self) -> bool {
        self.0 & Self::APART_BIT != 0
    }
}

impl Handle {
    /// The first handle that a cluster gives.
    pub const FIRST: Self = Self(0x0000_0000_0068_0001);
    /// Set in handles of session objects.
    pub const SESSION_BIT: u64 = 1 << 63;

    /// Whether the handle is of a session object.
    #[must_use]
    pub fn is_session(self) -> bool {
        self.0 & Self::SESSION_BIT != 0
    }
}
