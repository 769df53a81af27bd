//! What an entry gave, as it is remembered for retries and told to peers.

use super::entry::{user_from, user_to};
use super::{Error, messages, open_format, seal_format};
use crate::limits::{OBJECTS_PER_ENTRY_MAX, RECORD_BYTES_MAX};
use crate::{Handle, LoginId, NodeId, Outcome, Refusal, UserId};
use messages::Answer;

/// A result as bytes.
#[must_use]
pub fn encode_result(result: &Result<Outcome, Refusal>) -> Vec<u8> {
    let answer = match result {
        Err(refusal) => Answer::Refused(messages::Refused {
            ckr: refusal.ckr,
            message: refusal.message.clone(),
        }),
        Ok(Outcome::Done) => Answer::Done(messages::Done {}),
        Ok(Outcome::Created(handles)) => Answer::Created(messages::Numbers {
            numbers: handles.iter().map(|handle| handle.0).collect(),
        }),
        Ok(Outcome::LoginCharged { user }) => {
            Answer::LoginCharged(messages::LoginCharged { user: user.as_ref().map(user_to) })
        }
        Ok(Outcome::LoginOpened(login)) => Answer::LoginOpened(login.0),
        Ok(Outcome::UserCreated(user)) => Answer::UserCreated(user.0),
        Ok(Outcome::MemberAdded(node)) => Answer::MemberAdded(node.0),
    };
    seal_format(&messages::Reply { answer: Some(answer) })
}

/// A result from bytes.
///
/// # Errors
/// Where the bytes are no result that [`encode_result`] writes.
pub fn decode_result(bytes: &[u8]) -> Result<Result<Outcome, Refusal>, Error> {
    let message: messages::Reply = open_format(bytes, RECORD_BYTES_MAX)?;
    let outcome = match message.answer.ok_or(Error::Malformed)? {
        Answer::Refused(refused) => {
            return Ok(Err(Refusal { ckr: refused.ckr, message: refused.message }));
        }
        Answer::Done(_) => Outcome::Done,
        Answer::Created(created) => {
            if created.numbers.len() > OBJECTS_PER_ENTRY_MAX {
                return Err(Error::Invalid("handles"));
            }
            Outcome::Created(created.numbers.into_iter().map(Handle).collect())
        }
        Answer::LoginCharged(charged) => {
            Outcome::LoginCharged { user: charged.user.map(user_from).transpose()? }
        }
        Answer::LoginOpened(login) => Outcome::LoginOpened(LoginId(login)),
        Answer::UserCreated(user) => Outcome::UserCreated(UserId(user)),
        Answer::MemberAdded(node) => Outcome::MemberAdded(NodeId(node)),
    };
    Ok(Ok(outcome))
}
