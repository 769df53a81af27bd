//! Putting a snapshot in the place of a store's state.

use prost::Message;
use strongroom_crypto::SecretBytes;
use strongroom_vault::State;

use super::SnapshotHeader;
use super::stream::{Decoder, Item};
use crate::audit::{InstallRecord, Kind};
use crate::sealing::Table;
use crate::write::Writer;
use crate::{Error, Position, Store, database};

impl Store {
    /// Replaces records, blobs, position and members by a snapshot's, in one transaction, and gives the
    /// state that it is of. The log keeps what follows the snapshot's entry where it has that entry,
    /// and else nothing; the vote and the audit chain stay.
    ///
    /// `position` is where the snapshot must stand: what the replication was told.
    ///
    /// # Errors
    /// [`Error::Snapshot`] where the chunks are no snapshot, or one of another position or older than
    /// what is applied, and [`Error::Io`] where `chunks` gives it: the store is as it was. Any other
    /// error is final, as with [`Store::commit`].
    pub fn install(
        &mut self,
        position: Position,
        chunks: impl IntoIterator<Item = Result<SecretBytes, Error>>,
    ) -> Result<State, Error> {
        database::widen_cache(&self.connection)?;
        let installed = self.transact(false, |writer| {
            let mut install = Install { writer, position, state: State::new(), header: None };
            let digest = install.stream(chunks)?;
            install.finish(digest)
        });
        database::usual_cache(&self.connection)?;
        let (state, membership) = installed?;
        self.membership = Some(membership);
        Ok(state)
    }
}

struct Install<'a, 'b> {
    writer: &'a mut Writer<'b>,
    position: Position,
    state: State,
    header: Option<SnapshotHeader>,
}

impl Install<'_, '_> {
    /// Takes all chunks in, and gives the digest.
    fn stream(
        &mut self,
        chunks: impl IntoIterator<Item = Result<SecretBytes, Error>>,
    ) -> Result<[u8; 32], Error> {
        self.writer.clear()?;
        let mut decoder = Decoder::new();
        let mut digest = None;
        for chunk in chunks {
            decoder.push(chunk?.as_bytes())?;
            while let Some(item) = decoder.next()? {
                match item {
                    Item::Header(header) => self.begin(header)?,
                    Item::Record { key, value } => {
                        self.state
                            .load(key, value)
                            .map_err(|_| Error::Snapshot("the vault does not know a record"))?;
                        let index = self.header()?.index;
                        self.writer.insert_record(key, value, index)?;
                    }
                    Item::Blob { id, blob } => {
                        let index = self.header()?.index;
                        self.writer.insert(Table::Blobs, &id.0, blob, index)?;
                    }
                    Item::End { digest: found } => digest = Some(found),
                }
            }
        }
        match digest {
            Some(digest) if decoder.has_ended() => Ok(digest),
            _ => Err(Error::Snapshot("it is not whole")),
        }
    }

    fn header(&self) -> Result<&SnapshotHeader, Error> {
        self.header.as_ref().ok_or(Error::Bug("a row before the header"))
    }

    fn begin(&mut self, header: SnapshotHeader) -> Result<(), Error> {
        if header.position != self.position {
            return Err(Error::Snapshot("it is of another position"));
        }
        let head = &self.writer.head;
        let newer = |applied: Position| applied.index > header.position.index;
        if head.applied.is_some_and(newer) || head.index > header.index {
            return Err(Error::Snapshot("it is older than what is applied"));
        }
        self.header = Some(header);
        Ok(())
    }

    /// Checks what has come, and says in the head what it is.
    fn finish(mut self, digest: [u8; 32]) -> Result<(State, Vec<u8>), Error> {
        let header = self.header.take().ok_or(Error::Bug("an end without a header"))?;
        self.state
            .finish_load()
            .map_err(|_| Error::Snapshot("the records contradict one another"))?;
        if self.state.applied() != header.index {
            return Err(Error::Snapshot("the records are of another index"));
        }
        let head = &self.writer.head;
        let record =
            InstallRecord { before: head.index.0, index: header.index.0, digest: digest.to_vec() };
        self.writer.membership(&header.membership)?;
        self.writer.audit(Kind::Install, &record.encode_to_vec())?;
        self.writer.forget_log_up_to(header.position)?;
        self.writer.stands_at(header.position);
        self.writer.head.index = header.index;
        Ok((self.state, header.membership))
    }
}
