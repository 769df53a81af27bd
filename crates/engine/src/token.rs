//! What personality `token` has beside CloudHSM's: C_InitToken, C_InitPIN, C_GetTokenInfo.

use strongroom_vault::{Action, Actor, Command, Personality, Phase, Role, State, User};
use strongroom_wire::limits;
use strongroom_wire::message::{InitPin, InitToken, Outcome, TokenInfoReply};

use crate::connection::Connection;
use crate::error::Error;

/// The security officer's name in the vault.
pub(crate) const SO: &str = "so";
/// The normal user's name in the vault.
pub(crate) const USER: &str = "user";
/// CK_TOKEN_INFO.label, in bytes.
const LABEL_BYTES: usize = 32;
/// CK_TOKEN_INFO.serialNumber, in bytes.
const SERIAL_BYTES_MAX: usize = 16;
/// The label of a CloudHSM token: AWS's module shows this one.
const CLOUDHSM_LABEL: &str = "hsm1";

impl Connection {
    /// C_InitToken: "If the token has not been initialized …, then the pPin parameter becomes the
    /// initial value of the SO PIN. If the token is being reinitialized, the pPin parameter is
    /// checked against the existing SO PIN" (PKCS#11 2.40, 5.5). Destroys all objects.
    pub(crate) fn init_token(&mut self, request: &InitToken) -> Result<(), Error> {
        self.only(Personality::Token, "a CloudHSM cluster is initialised by its owner")?;
        if self.already_done()? {
            return Ok(());
        }
        if request.label.len() != LABEL_BYTES {
            return Err(Error::arguments("a token's label has 32 bytes, blank-padded"));
        }
        let label = request.label.clone();
        let command = if self.glance(State::phase) == Phase::Uninitialized {
            let so_verifier = self.new_verifier(&request.so_pin)?;
            Command::InitToken { label, so_verifier, so_epoch: 0 }
        } else {
            let so = self.prove(SO, Role::Admin, &request.so_pin)?;
            let refund = Command::RefundLogin { user: so.id, epoch: so.epoch };
            self.step(Actor::Anonymous, refund)?;
            let so_verifier = so.verifier.clone().ok_or(Error::Bug("no SO PIN"))?;
            Command::InitToken { label, so_verifier, so_epoch: so.epoch }
        };
        self.change(command)?;
        self.engine.clients.destroy_objects_where(|_| true);
        self.engine.contents.retain(|_, _| false);
        self.hot.clear();
        Ok(())
    }

    /// C_InitPIN: the SO sets the normal user's PIN.
    pub(crate) fn init_pin(&mut self, request: &InitPin) -> Result<(), Error> {
        self.only(Personality::Token, "an admin creates users")?;
        if self.already_done()? {
            return Ok(());
        }
        self.may(&Action::InitPin)?;
        let verifier = self.new_verifier(&request.pin)?;
        self.change(Command::InitPin { verifier })?;
        Ok(())
    }

    /// What C_GetTokenInfo shows, without a login.
    pub(crate) fn token_info(&mut self) -> Result<Outcome, Error> {
        let cloudhsm = self.personality() == Personality::CloudHsm;
        let mut serial_number = self.engine.identity.hsm_id.clone();
        serial_number.truncate(serial_number.floor_char_boundary(SERIAL_BYTES_MAX));
        let info = self.glance(|state| {
            let user = state.user_by_name(USER).filter(|_| !cloudhsm);
            let so = state.user_by_name(SO).filter(|_| !cloudhsm);
            let mut label = if cloudhsm {
                CLOUDHSM_LABEL.as_bytes().to_vec()
            } else {
                state.token_label().to_vec()
            };
            label.resize(LABEL_BYTES, b' ');
            let locked = |user: Option<&User>| {
                user.is_some_and(|user| user.failures >= limits::LOGIN_FAILURES_MAX)
            };
            TokenInfoReply {
                label,
                initialized: state.phase() == Phase::Active,
                // In CloudHSM the PIN holds the user's name: some user's is set.
                user_pin_set: if cloudhsm {
                    state.users().any(|user| user.role == Role::CryptoUser)
                } else {
                    user.is_some_and(|user| user.verifier.is_some())
                },
                user_locked: locked(user),
                user_failures: user.map_or(0, |user| user.failures),
                so_locked: locked(so),
                so_failures: so.map_or(0, |user| user.failures),
                serial_number,
            }
        });
        Ok(Outcome::Token(info))
    }
}
