//! What the records of a cache say of responses that a log has dropped by itself: nothing, from its next compaction on.

use crate::{
    entry::{Index, Item, Key, Namespace, UrlEntry, Variants, page_key},
    log::{BookRecord, Bookkeeping, Pruned},
};

/// How long the mark of a URL outlives the last response to it: longer than any answer is on its way that may have to
/// be told from those that came later.
const MARK_KEPT_MS: i64 = 60 * 60 * 1000;

/// The lists of a cache: responses by URL, and aliases by what they lead to.
#[derive(Debug)]
pub(crate) struct Books;

impl Bookkeeping for Books {
    fn prune(&self, record: &BookRecord<'_>, gone: &mut dyn FnMut(&[u8]) -> bool) -> Pruned {
        let namespace = record.key.first();
        if namespace == Some(&(Namespace::Url as u8)) {
            prune::<UrlEntry>(record, gone)
        } else if namespace == Some(&(Namespace::Target as u8)) {
            prune::<Key>(record, gone)
        } else if let Some(variants) = Variants::decode(record.head).filter(|_| !is_salt(record.key)) {
            // Variants that are still there are found again once one is stored anew; until then they are listed.
            if gone(variants.latest.as_bytes()) { Pruned::Drop } else { Pruned::Keep }
        } else {
            // The salt above all: without it nobody would find what was stored for their credentials.
            Pruned::Keep
        }
    }
}

fn is_salt(key: &[u8]) -> bool {
    key.first() == Some(&(Namespace::Salt as u8))
}

fn prune<T: Item>(record: &BookRecord<'_>, gone: &mut dyn FnMut(&[u8]) -> bool) -> Pruned {
    let Some(mut index) = Index::<T>::decode(record.head) else { return Pruned::Keep };
    let before = index.items.len();
    index.items.retain(|item| !gone(item.key().as_bytes()));
    let pages_gone = index.spread && (0..=u8::MAX).all(|page| gone(&page_key(record.key, page)));
    index.spread &= !pages_gone;
    if index.items.is_empty() && !index.spread {
        let old = record.now_ms.saturating_sub(record.created_ms) > MARK_KEPT_MS;
        if index.mark == 0 || old {
            return Pruned::Drop;
        }
    }
    if index.items.len() == before && !pages_gone {
        return Pruned::Keep;
    }
    index.encode().map_or(Pruned::Keep, Pruned::Head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record<'a>(key: &'a [u8], head: &'a [u8], age_ms: i64) -> BookRecord<'a> {
        BookRecord { key, head, created_ms: 1_000_000_000, now_ms: 1_000_000_000 + age_ms }
    }

    fn keys(count: u8) -> Vec<Key> {
        (0..count).map(|n| Key::from_digest([n; 32])).collect()
    }

    type Gone<'a> = &'a dyn Fn(&[u8]) -> bool;

    #[test]
    fn lists_lose_what_is_gone_and_go_when_they_are_empty() {
        let list = |mark, spread, items| Index::<Key> { url: String::new(), mark, spread, items };
        let first_gone = |key: &[u8]| key == Key::from_digest([0; 32]).as_bytes();
        let no_page = |key: &[u8]| first_gone(key) || key.len() == 2;
        for (before, age_ms, gone, after) in [
            (list(0, false, keys(3)), 0, &first_gone as Gone<'_>, Some(list(0, false, keys(3)[1..].to_vec()))),
            (list(0, false, keys(1)), 0, &first_gone, None),
            (list(7, false, keys(1)), 0, &first_gone, Some(list(7, false, Vec::new()))),
            (list(7, false, keys(1)), MARK_KEPT_MS + 1, &first_gone, None),
            (list(7, false, Vec::new()), MARK_KEPT_MS + 1, &first_gone, None),
            (list(0, true, keys(1)), 0, &first_gone, Some(list(0, true, Vec::new()))),
            (list(0, true, keys(1)), 0, &no_page, None),
            (list(0, true, keys(2)), 0, &no_page, Some(list(0, false, keys(2)[1..].to_vec()))),
        ] {
            let head = before.encode().unwrap();
            let pruned = Books.prune(&record(b"t", &head, age_ms), &mut |key| gone(key));
            match after {
                Some(after) => assert_eq!(pruned, Pruned::Head(after.encode().unwrap()), "{before:?}"),
                None => assert_eq!(pruned, Pruned::Drop, "{before:?}"),
            }
        }
        let head = list(7, false, keys(2)).encode().unwrap();
        assert_eq!(Books.prune(&record(b"t", &head, 0), &mut |_| false), Pruned::Keep);
    }

    #[test]
    fn what_leads_to_variants_goes_with_the_latest_of_them() {
        let latest = Key::from_digest([7; 32]);
        let head = Variants::new([1; 32], None, latest).encode().unwrap();
        let home = Key::from_digest([1; 32]);
        let prune = |there: bool| {
            Books.prune(&record(home.as_bytes(), &head, 0), &mut |key| {
                assert_eq!(key, latest.as_bytes());
                !there
            })
        };
        assert_eq!((prune(true), prune(false)), (Pruned::Keep, Pruned::Drop));
    }

    #[test]
    fn what_is_no_list_stays() {
        let salt = [Namespace::Salt as u8];
        for (key, head) in [(&salt[..], &[1; 16][..]), (b"u", b"\x07later"), (b"t", b""), (b"", b"")] {
            assert_eq!(Books.prune(&record(key, head, i64::MAX / 2), &mut |_| true), Pruned::Keep);
        }
    }
}
