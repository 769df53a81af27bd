//! Session objects that outlive their HSM: given to the client with each reply that made or changed
//! one, taken back on another HSM.

use strongroom_vault::{Handle, LoginId, State};
use strongroom_wire::limits;
use strongroom_wire::message::RestoreObjects;

use crate::connection::Connection;
use crate::error::Error;
use crate::kept::Holder;
use crate::session::Kept;

impl Connection {
    /// Puts a session object into the reply, for the client to keep.
    ///
    /// # Errors
    /// CKR_DEVICE_MEMORY where the reply would be larger than a frame.
    pub(crate) fn hand_out(&mut self, kept: &Kept) -> Result<(), Error> {
        let domain = self.glance(State::masking_domain);
        let client = self.client()?.id;
        let object = self.engine.keeping.seal(client, domain, kept)?;
        let bytes: usize = self.handed_out.iter().map(|other| other.blob.len()).sum();
        if bytes + object.blob.len() > limits::SESSION_OBJECT_BLOBS_BYTES_MAX {
            return Err(Error::caller(
                cryptoki_sys::CKR_DEVICE_MEMORY,
                "the session object is too large: make it a token object",
            ));
        }
        self.handed_out.push(object);
        Ok(())
    }

    /// The same, of the session objects among those that a request made, now or when it was sent before.
    /// What is gone since is left out.
    pub(crate) fn hand_out_made(&mut self, handles: &[Handle]) -> Result<(), Error> {
        for handle in handles.iter().filter(|handle| handle.is_session()) {
            if let Some(kept) = self.client()?.objects.kept(*handle) {
                self.hand_out(&kept)?;
            }
        }
        Ok(())
    }

    /// Takes session objects that this client got from an HSM of the cluster: all of them or, where one
    /// is not this client's and login's, none. One that is here in the same or a newer version stays.
    ///
    /// # Errors
    /// CKR_OBJECT_HANDLE_INVALID, and CKR_DEVICE_MEMORY over the limits.
    pub(crate) fn restore_objects(&mut self, request: &RestoreObjects) -> Result<(), Error> {
        if request.objects.len() > limits::SESSION_OBJECTS_MAX {
            return Err(Error::arguments("more objects than a client may have"));
        }
        self.engine.self_tested()?;
        let login = self.login_id();
        // Refused where the login has ended.
        let domain = self.view(|state, _| Ok(state.masking_domain()))?;
        let holder = Holder { client: self.client()?.id, login, domain };
        let mut restored = Vec::with_capacity(request.objects.len());
        for object in &request.objects {
            restored.push(self.engine.keeping.open(holder, object)?);
        }
        self.client()?.objects.restore(restored)
    }

    /// The login of the connection, for what was made under it.
    pub(crate) fn login_id(&self) -> Option<LoginId> {
        self.login().map(|login| login.id)
    }
}
