//! The salt of the partitions, and who gets which partition.

use super::Cache;
use crate::{
    ErrorKind, Result,
    entry::{Namespace, to_ms},
    log::{Times, Write},
    policy::{
        key::Asked,
        partition::{self, Salt},
        redact::{self, Credentials, REDACTED},
    },
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::borrow::Cow;

/// Whom requests with credentials share stored responses with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum PartitionBy {
    /// With requests with the same credentials. The default.
    #[default]
    Credentials,
    /// With requests under the same name, with whatever credentials or none.
    Name(String),
    /// With everybody.
    Nobody,
}

impl PartitionBy {
    /// What the partition is a hash of; `None` if there is no partition.
    fn credentials<'a>(&self, asked: &'a Asked) -> Option<Cow<'a, Credentials>> {
        match self {
            Self::Credentials if asked.credentials.is_empty() => None,
            Self::Credentials => Some(Cow::Borrowed(&asked.credentials)),
            Self::Name(name) => Some(Cow::Owned(partition::named(name))),
            Self::Nobody => None,
        }
    }
}

impl Cache {
    /// Fills in the partition of a request. Returns whether it may use the cache: not if it needs a partition and
    /// the store is read-only and has no salt.
    pub(crate) fn partition(&self, asked: &mut Asked, by: &PartitionBy) -> Result<bool> {
        let Some(credentials) = by.credentials(asked) else { return Ok(true) };
        let Some(salt) = self.salt()? else { return Ok(false) };
        asked.identity.partition = self.inner.partitions.of(&credentials, &salt)?;
        Ok(true)
    }

    /// The same for a look-up of [`Whose::Any`](super::Whose::Any): makes no salt. With it, what was recorded with
    /// these very credentials goes before what others recorded.
    pub(crate) fn partition_for_replay(&self, asked: &mut Asked, by: &PartitionBy) -> Result<()> {
        if let Some(credentials) = by.credentials(asked)
            && let Some(salt) = self.stored_salt()?
        {
            asked.identity.partition = self.inner.partitions.of(&credentials, &salt)?;
        }
        Ok(())
    }

    /// Puts a salted hash of what was sent in the place of each of these headers that is redacted, so that they tell
    /// requests apart. Without a salt it is like no other, and so it is with the keys of requests-cache, where nobody
    /// knows of it.
    pub(crate) fn tell_apart<'a>(
        &self,
        asked: &mut Asked,
        sent: &HeaderMap,
        names: impl Iterator<Item = &'a HeaderName>,
    ) -> Result<()> {
        let is_redacted = |name: &&HeaderName| !sent.get_all(*name).iter().eq(asked.headers.get_all(*name).iter());
        let redacted: Vec<_> = names.filter(is_redacted).collect();
        if redacted.is_empty() {
            return Ok(());
        }
        let salt = if self.inner.foreign.is_some() { None } else { self.salt()? };
        let mut telling = HeaderMap::clone(&asked.headers);
        for name in redacted {
            let mut values = Credentials::default();
            sent.get_all(name).iter().for_each(|value| values.push(name.as_str(), redact::credential(value)));
            let hash = match salt {
                Some(salt) => self.inner.partitions.of(&values, &salt)?.unwrap_or_default(),
                None => partition::random()?,
            };
            let value = HeaderValue::try_from(format!("{REDACTED} {:032x}", u128::from_be_bytes(hash)));
            telling.insert(name, value.unwrap_or(HeaderValue::from_static(REDACTED)));
        }
        asked.telling = Some(telling);
        Ok(())
    }

    pub(super) fn clear_but_salt(&self) -> Result<()> {
        let salt = self.stored_salt()?;
        self.store().clear()?;
        match salt {
            Some(salt) => self.put_salt(salt),
            None => Ok(()),
        }
    }

    /// The salt of the store, made if there is none yet; `None` if there is none and the store is read-only.
    fn salt(&self) -> Result<Option<Salt>> {
        // Read each time: another process may have cleared the store.
        if let Some(salt) = self.stored_salt()? {
            return Ok(Some(salt));
        }
        match self.put_salt(partition::random()?) {
            Ok(()) => self.stored_salt(),
            Err(error) if error.kind() == ErrorKind::ReadOnly => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn stored_salt(&self) -> Result<Option<Salt>> {
        let head = self.store().head(&salt_key())?;
        Ok(head.and_then(|head| Salt::try_from(&head.head[..]).ok()))
    }

    /// Stores the salt unless there is one, or somebody is faster.
    pub(super) fn put_salt(&self, salt: Salt) -> Result<()> {
        let key = salt_key();
        let old = self.store().head(&key)?;
        if old.as_ref().is_some_and(|old| old.head.len() == salt.len()) {
            return Ok(());
        }
        let version = old.map(|old| old.version);
        let put = self.store().commit(vec![
            Write::Expect { key: key.clone(), version },
            Write::Put {
                key,
                head: Bytes::copy_from_slice(&salt),
                body: Bytes::new(),
                times: Times::kept(to_ms(self.now())),
                aux: true,
            },
        ]);
        match put {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            result => result,
        }
    }
}

fn salt_key() -> Bytes {
    Bytes::from_static(&[Namespace::Salt as u8])
}
