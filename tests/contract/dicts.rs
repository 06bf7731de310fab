//! Every dict passes the same laws.

use larder::{
    dict::{Dict, LogDict, MemoryDict, Typed},
    log::{Log, Options},
};

fn with_memory(law: fn(&dyn Dict)) {
    law(&MemoryDict::new());
}

fn with_log(law: fn(&dyn Dict)) {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path().join("dicts.larder"), Options::new()).unwrap();
    law(&LogDict::new(&log));
}

mod memory {
    larder::dict_contract!(super::with_memory);
}

mod log {
    larder::dict_contract!(super::with_log);
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use larder::dict::{Dict, SqliteDict};

    fn with_sqlite(law: fn(&dyn Dict)) {
        let folder = tempfile::tempdir().unwrap();
        law(&SqliteDict::open(folder.path().join("test.sqlite")).unwrap());
    }

    fn with_a_connection_of_ones_own(law: fn(&dyn Dict)) {
        law(&SqliteDict::new(rusqlite::Connection::open_in_memory().unwrap(), "own").unwrap());
    }

    larder::dict_contract!(with_sqlite);

    mod handed_in {
        larder::dict_contract!(super::with_a_connection_of_ones_own);
    }
}

/// Two dicts in one place do not mix.
fn do_not_mix(one: &dyn Dict, other: &dyn Dict) {
    for n in 0..20 {
        one.insert(format!("key{n}").as_bytes(), b"one", None).unwrap();
        other.insert(format!("key{n}").as_bytes(), b"other", None).unwrap();
    }
    for n in 0..5 {
        assert!(one.remove(format!("key{n}").as_bytes()).unwrap());
    }
    assert_eq!((one.len().unwrap(), other.len().unwrap()), (15, 20));
    assert_eq!(one.get(b"key7").unwrap().as_deref(), Some(&b"one"[..]));
    one.clear().unwrap();
    assert_eq!((one.len().unwrap(), other.len().unwrap()), (0, 20));
    assert_eq!(other.get(b"key7").unwrap().as_deref(), Some(&b"other"[..]));
}

#[test]
fn dicts_of_one_log_are_cleared_alone() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path().join("dicts.larder"), Options::new()).unwrap();
    // One name is the beginning of another.
    do_not_mix(&LogDict::named(&log, "a").unwrap(), &LogDict::named(&log, "aa").unwrap());
    assert!(LogDict::named(&log, &"x".repeat(256)).is_err());
}

#[test]
fn typed_dicts_keep_any_serde_type() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path().join("dicts.larder"), Options::new()).unwrap();
    let dict: Typed<(String, u32), Option<Vec<f64>>, _> = Typed::new(LogDict::new(&log));
    let key = ("a".to_owned(), 1);
    dict.insert(&key, &Some(vec![1.5, -2.0])).unwrap();
    assert!(dict.compare_and_swap(&key, Some(&Some(vec![1.5, -2.0])), Some(&None)).unwrap());
    assert_eq!(dict.get(&key).unwrap(), Some(None));
    dict.insert_all([(&("b".to_owned(), 2), &None), (&("c".to_owned(), 3), &Some(vec![]))]).unwrap();
    assert_eq!((dict.len().unwrap(), dict.keys().unwrap().len()), (3, 3));
    let items: Vec<_> = dict.items().unwrap().map(Result::unwrap).collect();
    assert_eq!(items[2], (("c".to_owned(), 3), Some(vec![])));
    assert!(dict.remove(&key).unwrap() && !dict.contains(&key).unwrap());
    // A value of another type is an error, not a wrong value.
    let other: Typed<(String, u32), String, _> = Typed::new(dict.dict().clone());
    other.insert(&key, &"text".to_owned()).unwrap();
    assert_eq!(dict.get(&key).unwrap_err().kind(), larder::ErrorKind::Decode);
    // A length that nobody could allocate is an error as well.
    other.dict().insert(&[1, b'a', 1], &[0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], None).unwrap();
    assert_eq!(other.get(&key).unwrap_err().kind(), larder::ErrorKind::Decode);
}

#[cfg(feature = "sqlite")]
mod tables {
    use std::{sync::mpsc, thread, time::Duration};

    use larder::{
        Error, ErrorKind, Result,
        dict::{Change, Dict, SqliteConnection, SqliteDict, SqliteOptions},
    };

    #[test]
    fn tables_of_one_file_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        let one = SqliteDict::open(folder.path().join("test.sqlite")).unwrap();
        super::do_not_mix(&one, &one.table("it's a \"table\"").unwrap());
        // Another handle of the same file sees the same.
        let again = SqliteDict::open(folder.path().join("test.sqlite")).unwrap();
        one.insert(b"k", b"1", None).unwrap();
        assert_eq!(again.get(b"k").unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(one.table("sqlite_master").unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_bulk_is_all_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let dict = SqliteDict::open(folder.path().join("test.sqlite")).unwrap();
        let other = dict.table("other").unwrap();
        dict.insert(b"k", b"before", None).unwrap();
        let failed: Result<()> = dict.bulk_commit(|dict| {
            dict.insert(b"k", b"after", None)?;
            other.insert(b"x", b"1", None)?;
            assert_eq!(dict.get(b"k")?.as_deref(), Some(&b"after"[..]), "the bulk sees its own writes");
            Err(Error::new(ErrorKind::InvalidInput, "enough"))
        });
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(dict.get(b"k").unwrap().as_deref(), Some(&b"before"[..]));
        assert!(other.is_empty().unwrap());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            dict.bulk_commit(|dict| -> Result<()> {
                dict.insert(b"k", b"after", None)?;
                panic!("on purpose")
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(dict.get(b"k").unwrap().as_deref(), Some(&b"before"[..]));
        let len = dict.bulk_commit(|dict| {
            (0..100_u32).try_for_each(|n| dict.insert(&n.to_be_bytes(), b"", None))?;
            // A batch that fails within a bulk is undone alone.
            assert!(!dict.compare_and_swap(b"k", Some(b"wrong"), None)?);
            dict.bulk_commit(Dict::len)
        });
        assert_eq!((len.unwrap(), dict.len().unwrap()), (101, 101));
    }

    #[test]
    fn others_wait_for_the_end_of_a_bulk_and_no_longer_than_they_may() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions::new().busy_timeout(Duration::from_millis(50));
        let dict = SqliteDict::open_table(folder.path().join("test.sqlite"), "data", &options).unwrap();
        let (began, begins) = mpsc::channel();
        let (end, ends) = mpsc::channel();
        thread::scope(|scope| {
            let bulk = dict.clone();
            scope.spawn(move || {
                bulk.bulk_commit(|dict| {
                    dict.insert(b"k", b"bulk", None)?;
                    began.send(()).unwrap();
                    ends.recv().unwrap();
                    Ok(())
                })
                .unwrap();
            });
            begins.recv().unwrap();
            assert_eq!(dict.insert(b"k", b"other", None).unwrap_err().kind(), ErrorKind::Busy);
            assert_eq!(dict.get(b"k").unwrap(), None, "what is not committed is not seen");
            end.send(()).unwrap();
        });
        assert_eq!(dict.get(b"k").unwrap().as_deref(), Some(&b"bulk"[..]));
        dict.insert(b"k", b"other", None).unwrap();
    }

    #[test]
    fn writes_are_pending_while_nothing_can_be_committed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.sqlite");
        let dict = SqliteDict::open(&path).unwrap();
        assert!(dict.can_commit());
        dict.set_can_commit(false);
        dict.insert(b"k", b"1", None).unwrap();
        assert_eq!(dict.get(b"k").unwrap().as_deref(), Some(&b"1"[..]));
        let other = SqliteDict::open(&path).unwrap();
        dict.commit(false).unwrap();
        assert_eq!(other.get(b"k").unwrap(), None);
        dict.commit(true).unwrap();
        assert_eq!(other.get(b"k").unwrap().as_deref(), Some(&b"1"[..]));
        dict.insert(b"k", b"2", None).unwrap();
        dict.set_can_commit(true);
        dict.commit(false).unwrap();
        assert_eq!(other.get(b"k").unwrap().as_deref(), Some(&b"2"[..]));
        dict.set_can_commit(false);
        dict.insert(b"k", b"lost", None).unwrap();
        drop(dict);
        assert_eq!(other.get(b"k").unwrap().as_deref(), Some(&b"2"[..]));
    }

    #[test]
    fn two_tables_change_together() {
        let (a, b) = {
            let connection = SqliteConnection::open(":memory:", &SqliteOptions::new()).unwrap();
            (SqliteDict::new(connection.clone(), "a").unwrap(), SqliteDict::new(connection, "b").unwrap())
        };
        let stranger = SqliteDict::new(rusqlite::Connection::open_in_memory().unwrap(), "b").unwrap();
        let (put, taken) =
            ([Change::put(b"k", b"1")], [Change::remove(b"k").expecting(larder::dict::Expected::Prefix(b""))]);
        assert_eq!(a.batch_with(&put, &b, &taken).unwrap(), Some(false));
        assert!(a.is_empty().unwrap());
        assert_eq!(a.batch_with(&put, &b, &put).unwrap(), Some(true));
        assert_eq!(a.batch_with(&taken, &b, &taken).unwrap(), Some(true));
        assert_eq!((a.len().unwrap(), b.len().unwrap()), (0, 0));
        assert_eq!(a.batch_with(&put, &stranger, &put).unwrap(), None);
    }

    #[test]
    fn two_tables_are_read_together() {
        let connection = SqliteConnection::open(":memory:", &SqliteOptions::new()).unwrap();
        let (a, b) =
            (SqliteDict::new(connection.clone(), "a").unwrap(), SqliteDict::new(connection, "it's \"b\"").unwrap());
        let stranger = SqliteDict::new(rusqlite::Connection::open_in_memory().unwrap(), "a").unwrap();
        a.insert(b"k", b"1", None).unwrap();
        b.insert(b"k", b"2", None).unwrap();
        let (one, two) = a.get_with(&[b"none", b"k"], &b, &[b"k", b"none"]).unwrap().unwrap();
        assert_eq!((one, two), (vec![None, Some("1".into())], vec![Some("2".into()), None]));
        assert_eq!(a.get_with(&[b"k"], &stranger, &[b"k"]).unwrap(), None);
    }

    #[test]
    fn a_file_of_ones_own_keeps_its_pragmas_and_a_new_one_is_durable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.sqlite");
        rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
        for (path, fast, want) in [
            (path, false, ("delete", 2)),
            (folder.path().join("new.sqlite"), false, ("wal", 2)),
            (folder.path().join("fast.sqlite"), true, ("wal", 0)),
        ] {
            let options = SqliteOptions::new().fast_save(fast);
            let dict = SqliteDict::open_table(&path, "data", &options).unwrap();
            dict.insert(b"k", b"1", None).unwrap();
            dict.flush().unwrap();
            let pragmas = dict.connection().with(|connection| {
                let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
                let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
                (mode, synchronous)
            });
            let (mode, synchronous) = pragmas.unwrap();
            assert_eq!((mode.as_str(), synchronous), want);
        }
    }

    #[test]
    fn what_is_no_database_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text.sqlite");
        let text = "this is no database, and has never been one\n".repeat(100);
        std::fs::write(&path, &text).unwrap();
        let error = SqliteDict::open(&path).unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::NotALarder, Some(&*path)));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn only_the_user_can_read_a_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let dict = SqliteDict::open(folder.path().join("test.sqlite")).unwrap();
        dict.insert(b"k", b"1", None).unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
