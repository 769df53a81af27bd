//! What other HSMs get from this one on port 2225.

use std::sync::Arc;

use prost::Message;
use strongroom_cluster::DeviceKeyHash;
use strongroom_vault::Replicator as _;
use strongroom_wire::joining::{WelcomeAnswer, WelcomeMessage};
use strongroom_wire::leaving::{LeaveAnswer, LeaveMessage};
use strongroom_wire::peer::{
    Fenced, Leave, LeaveReply, PeerOperation, PeerRefusal, PeerReply, PeerRequest, PeerResult,
    Removed, Welcome, WelcomeReply,
};

use crate::hsm::{Hsm, Member, Part};
use crate::joining::accept_welcome;
use crate::peers::{Answer, Desk};
use crate::{recovery, rejoin, removal};

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
                    Part::Member(member) => asked(hsm, member, from, request).await,
                    Part::Waiting(_) => refused("this HSM is no member"),
                    Part::Retired(why) => refused(why),
                },
            }
        })
    }
}

/// What a member is asked.
async fn asked(
    hsm: Arc<Hsm>,
    member: Arc<Member>,
    from: DeviceKeyHash,
    request: PeerRequest,
) -> PeerReply {
    let fence = member.node.status().fence;
    if member.node.state().read().is_revoked(&from) {
        // One of a life of the cluster that was given up may have what nobody else has: it keeps it.
        let given_up = member.node.state().read().fence() > 0 && request.fence < fence;
        let result = if given_up {
            PeerResult::Fenced(Fenced { fence })
        } else {
            PeerResult::Removed(Removed {})
        };
        return PeerReply { fence, result: Some(result), ..PeerReply::default() };
    }
    // These wait for the disk or for the majority.
    let work: Box<dyn FnOnce() -> PeerResult + Send> = match request.operation {
        Some(PeerOperation::Leave(message)) => Box::new(move || left(&hsm, &member, &message)),
        Some(PeerOperation::Survey(_)) => {
            Box::new(move || PeerResult::Survey(recovery::survey(&member)))
        }
        Some(PeerOperation::Rejoin(_)) => Box::new(move || match rejoin::answer(&member, &from) {
            Ok(reply) => PeerResult::Rejoin(reply),
            Err(reason) => PeerResult::Refused(PeerRefusal { reason, leader: 0 }),
        }),
        _ => return member.node.handle(&from, request).await,
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => PeerReply { fence, result: Some(result), ..PeerReply::default() },
        Err(_) => refused("a bug"),
    }
}

fn left(hsm: &Arc<Hsm>, member: &Member, leave: &Leave) -> PeerResult {
    let message = LeaveMessage::parse(&leave.request).map_err(|e| e.to_string());
    let answer = match message.and_then(|message| removal::leave(hsm, member, &message)) {
        Ok(receipt) => LeaveAnswer { receipt, ..LeaveAnswer::default() },
        Err(refusal) => {
            tracing::warn!("this HSM does not leave: {refusal}");
            LeaveAnswer { refusal, ..LeaveAnswer::default() }
        }
    };
    PeerResult::Leave(LeaveReply { reply: answer.encode_to_vec() })
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
