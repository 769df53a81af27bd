//! What other HSMs get from this one on port 2225.

use std::sync::Arc;

use prost::Message;
use strongroom_cluster::DeviceKeyHash;
use strongroom_wire::joining::{WelcomeAnswer, WelcomeMessage};
use strongroom_wire::peer::{
    PeerOperation, PeerRefusal, PeerReply, PeerRequest, PeerResult, Welcome, WelcomeReply,
};

use crate::hsm::{Hsm, Part};
use crate::joining::accept_welcome;
use crate::peers::{Answer, Desk};

/// An HSM as the others see it.
pub(crate) struct PeerDesk(pub(crate) Arc<Hsm>);

impl Desk for PeerDesk {
    fn admits(&self, from: &DeviceKeyHash) -> bool {
        self.0.admits(from)
    }

    fn answer(&self, from: DeviceKeyHash, request: PeerRequest) -> Answer {
        let hsm = Arc::clone(&self.0);
        Box::pin(async move {
            match request.operation {
                Some(PeerOperation::Welcome(welcome)) => welcomed(hsm, from, welcome).await,
                _ => match hsm.part() {
                    Part::Member(member) => member.node.handle(&from, request).await,
                    Part::Waiting(_) => refused("this HSM is no member"),
                    Part::Retired(why) => refused(why),
                },
            }
        })
    }
}

async fn welcomed(hsm: Arc<Hsm>, from: DeviceKeyHash, welcome: Welcome) -> PeerReply {
    let message = match WelcomeMessage::parse(&welcome.request) {
        Ok(message) => message,
        Err(e) => return refused(&e.to_string()),
    };
    // It writes files, and opens a store.
    let accepted = tokio::task::spawn_blocking(move || accept_welcome(&hsm, &from, &message)).await;
    let refusal = match accepted {
        Ok(Ok(())) => String::new(),
        Ok(Err(refusal)) => {
            tracing::warn!("a welcome is not taken: {refusal}");
            refusal
        }
        Err(_) => return refused("a bug"),
    };
    let reply = WelcomeAnswer { refusal }.encode_to_vec();
    PeerReply { result: Some(PeerResult::Welcome(WelcomeReply { reply })), ..PeerReply::default() }
}

fn refused(reason: &str) -> PeerReply {
    let refusal = PeerRefusal { reason: reason.to_owned(), ..PeerRefusal::default() };
    PeerReply { result: Some(PeerResult::Refused(refusal)), ..PeerReply::default() }
}
