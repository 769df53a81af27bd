//! Attributes: the one table of them, and the rules of templates.
//!
//! In: templates as applications give them. Out: metadata and checked values, or the refusal that
//! PKCS#11 asks for. Key material passes through [`Draft::given`] on its way to an engine and stays
//! in no metadata.
//!
//! - [`table`]: which attributes there are, what they are, who may give and change them.
//! - [`draft`]: a template and an operation's defaults become the metadata of a new object.
//! - [`read`], [`matches()`]: what an object's attributes are, for those who may see it.
//! - [`change`]: new metadata out of old, by the rules of one-way attributes.
//! - [`copy`]: a copy's metadata, where CKA_TOKEN and CKA_PRIVATE may differ.

mod change;
mod copy;
mod draft;
mod read;
mod sort;
pub mod table;
mod template;
#[cfg(test)]
mod tests;
mod uses;
mod value;

pub use change::change;
pub(crate) use change::check_change;
pub use copy::copy;
pub use draft::{Draft, Origin, draft};
pub use read::{Reading, allows_mechanism, matches, read};
pub use template::{decode_template, encode_template, inherited, merge};
pub use value::Attribute;

pub(crate) use draft::check_new;
pub(crate) use read::is_material;
