use std::sync::Arc;

use http::{HeaderValue, Uri};

use super::{SessionKey, SessionName, SessionRecord};
use crate::{
    protocol::ProtocolVersion,
    store::{Owner, StoreError, StoreErrorKind},
};

/// The first byte, for forms that are still to come.
const FORM: u8 = 1;
const HEAD: usize = 1 + 1 + 8 + 16 + 16 + 32 + 32 + 2;

/// What a store that is not in memory writes.
impl SessionRecord {
    /// An established session as bytes, to be read by [`from_bytes`](Self::from_bytes) on any node;
    /// `None` if it has no name.
    ///
    /// They hold its id and what its server calls it: secrets, both.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let name = self.name()?;
        let (key, upstream) = (name.key(), name.upstream());
        // What a server calls it is a header of no more than some kilobytes.
        let len = u16::try_from(upstream.len()).ok()?;
        let path = name.path().map_or("", |path| path.path());
        let version = self.version();
        let nth = ProtocolVersion::ALL
            .iter()
            .position(|one| Some(*one) == version);
        let mut bytes = Vec::with_capacity(HEAD + upstream.len() + path.len());
        bytes.extend([FORM, nth.map_or(0, |nth| nth as u8 + 1)]);
        bytes.extend_from_slice(&key.realm().to_be_bytes());
        bytes.extend_from_slice(key.id());
        bytes.extend_from_slice(name.secret());
        bytes.extend_from_slice(self.owner().as_bytes());
        bytes.extend_from_slice(self.streams().as_bytes());
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(upstream.as_bytes());
        bytes.extend_from_slice(path.as_bytes());
        Some(bytes)
    }

    /// The session that was written as these bytes. It can be leased.
    ///
    /// # Errors
    ///
    /// `Corrupt` if they are anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StoreError> {
        let corrupt = || StoreError::from(StoreErrorKind::Corrupt);
        let mut rest = bytes;
        let [form, version] = take(&mut rest).ok_or_else(corrupt)?;
        let realm = take(&mut rest).ok_or_else(corrupt)?;
        let id = take(&mut rest).ok_or_else(corrupt)?;
        let secret = take(&mut rest).ok_or_else(corrupt)?;
        let owner = take(&mut rest).ok_or_else(corrupt)?;
        let streams = take(&mut rest).ok_or_else(corrupt)?;
        let len = usize::from(u16::from_be_bytes(take(&mut rest).ok_or_else(corrupt)?));
        if form != FORM || len == 0 || usize::from(version) > ProtocolVersion::ALL.len() {
            return Err(corrupt());
        }
        let (upstream, path) = rest.split_at_checked(len).ok_or_else(corrupt)?;
        let mut upstream = HeaderValue::from_bytes(upstream).map_err(|_| corrupt())?;
        upstream.set_sensitive(true);
        let path = match path {
            [] => None,
            path => Some(Arc::new(Uri::try_from(path).map_err(|_| corrupt())?)),
        };
        let record = Self::new(Owner::from_bytes(owner), Owner::from_bytes(streams));
        let key = SessionKey::new(u64::from_be_bytes(realm), id);
        let name = SessionName::new(key, secret, upstream).with_path(path);
        if !record.set_name(name) || !record.establish() {
            return Err(corrupt());
        }
        if let Some(nth) = usize::from(version).checked_sub(1) {
            record.set_version(ProtocolVersion::ALL[nth]);
        }
        Ok(record)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_is_read_as_it_was_written_and_nothing_else_is() {
        let record = SessionRecord::new(
            Owner::new(Some(b"alice"), None),
            Owner::new(Some(b"alice"), Some(b"s")),
        );
        assert_eq!(record.to_bytes(), None);
        let upstream = HeaderValue::from_static("theirs");
        let key = SessionKey::new(7, [1; 16]);
        let path = Some(Arc::new(Uri::from_static("/mcp")));
        let name = SessionName::new(key, [2; 16], upstream.clone()).with_path(path.clone());
        assert!(record.set_name(name));
        record.set_version(ProtocolVersion::V2025_06_18);
        let bytes = record.to_bytes().expect("it has a name");

        let read = SessionRecord::from_bytes(&bytes).expect("it was written so");
        assert_eq!(read.key(), record.key());
        assert_eq!(
            (read.owner(), read.streams()),
            (record.owner(), record.streams())
        );
        assert_eq!(read.upstream(), Some(&upstream));
        assert_eq!(read.path(), path.as_ref());
        assert_eq!(read.version(), Some(ProtocolVersion::V2025_06_18));
        assert!(read.verify(&[2; 16]) && !read.verify(&[3; 16]));
        assert!(read.lease().is_some());

        for len in 0..HEAD + upstream.len() {
            assert!(SessionRecord::from_bytes(&bytes[..len]).is_err(), "{len}");
        }
        for (at, byte) in [(0, 2), (1, 6), (HEAD, b'\n'), (bytes.len() - 1, b' ')] {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            assert!(SessionRecord::from_bytes(&bytes).is_err(), "{at}");
        }
    }
}
