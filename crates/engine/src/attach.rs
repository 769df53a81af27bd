//! The beginning of a connection: Hello agrees on what is spoken, Attach on who speaks.
//!
//! A ticket alone is worth nothing: its key has signed this very channel, and the login that it names
//! is still open.

use std::sync::Arc;

use cryptoki_sys::*;
use strongroom_vault::{Actor, ClientId, LoginId, Personality, Phase, Principal, State};
use strongroom_wire::message::{self, Attach, ClusterPhase, Hello, HelloReply, Outcome};

use crate::cluster::hsms_and_zone;
use crate::connection::Connection;
use crate::error::Error;

impl Connection {
    pub(crate) fn hello(&mut self, hello: &Hello) -> Result<Outcome, Error> {
        let level = strongroom_wire::negotiate(hello.api_level_min, hello.api_level_max)
            .ok_or_else(|| {
                Error::arguments(format!(
                    "this HSM speaks levels {} to {}",
                    strongroom_wire::API_LEVEL_MIN,
                    strongroom_wire::API_LEVEL_MAX
                ))
            })?;
        let mut server_nonce = Vec::new();
        if self.channel.local {
            strongroom_crypto::random(&mut self.channel.binding)?;
            server_nonce = self.channel.binding.to_vec();
        }
        self.level = Some(level);
        tracing::debug!(peer = %self.channel.peer, client = ?hello.client_name, "hello");
        let hsm_id = self.engine.identity.hsm_id.clone();
        let (cluster_id, phase, personality, (hsms, zone)) = self.glance(|state| {
            let place = hsms_and_zone(state, &hsm_id);
            (state.cluster_id().to_owned(), state.phase(), state.personality(), place)
        });
        let phase = match phase {
            Phase::Uninitialized => ClusterPhase::Uninitialized,
            Phase::Initialized => ClusterPhase::Initialized,
            Phase::Active => ClusterPhase::Active,
        };
        self.personality = personality;
        let personality = match personality {
            Personality::CloudHsm => message::Personality::CloudHsm,
            Personality::Token => message::Personality::Token,
        };
        Ok(Outcome::Hello(HelloReply {
            api_level: level,
            hsm_id,
            cluster_id,
            phase: phase.into(),
            personality: personality.into(),
            server_nonce,
            fips_mode: self.engine.identity.fips_mode,
            hsms,
            zone,
        }))
    }

    /// Makes the connection one of a client's. A second Attach replaces the first.
    pub(crate) fn attach(&mut self, attach: &Attach) -> Result<(), Error> {
        let client = ClientId::from_slice(&attach.client_id)
            .ok_or_else(|| Error::arguments("a client id has 16 bytes"))?;
        let claim = if attach.ticket.is_empty() {
            None
        } else {
            let domain = self.glance(State::masking_domain);
            let claim = self
                .engine
                .tickets
                .check(&attach.ticket, &attach.proof, &self.channel.binding, client, &domain)
                .map_err(|error| Error::caller(CKR_USER_NOT_LOGGED_IN, error.to_string()))?;
            // The login itself decides: it may have ended since the ticket was issued.
            let (who, client_key) = match self.login_of(claim.login) {
                // It may have been opened a moment ago, by way of another HSM.
                Err(_) => {
                    self.engine.read_barrier(self.call.seen)?;
                    self.login_of(claim.login)?
                }
                known => known?,
            };
            if who.user() != Some(claim.user)
                || who.role() != Some(claim.role)
                || client_key != Some(claim.client_key)
            {
                return Err(Error::caller(CKR_USER_NOT_LOGGED_IN, "the ticket is not the login's"));
            }
            Some(claim)
        };
        self.detach();
        if let Some(claim) = claim {
            let login = self.engine.clients.use_login(claim.login, claim.user);
            // Logged out, though the change has not been made yet.
            self.login = Some(login.ok_or_else(|| {
                Error::caller(CKR_USER_NOT_LOGGED_IN, "the client has logged out")
            })?);
        }
        self.client = Some(self.engine.clients.attach(client));
        Ok(())
    }

    /// Who stands behind a login, and the client key that it was opened with.
    fn login_of(&mut self, login: LoginId) -> Result<(Principal, Option<[u8; 32]>), Error> {
        let engine = Arc::clone(&self.engine);
        self.glance(|state| {
            let who = engine.apart.principal(state, Actor::Login(login))?;
            let known = state.login(login).map(|known| known.client_key);
            Ok((who, known.or_else(|| engine.apart.login(login).map(|apart| apart.client_key))))
        })
    }

    pub(crate) fn detach(&mut self) {
        let now_ms = (self.engine.clock)();
        if let Some(login) = self.login.take() {
            self.engine.clients.leave_login(login.id, now_ms);
        }
        if let Some(client) = self.client.take() {
            self.engine.clients.detach(&client, now_ms);
        }
        self.hot.clear();
    }
}
