//! A batch as one script on the server.

use super::connections::{Lent, RedisConnections};
use crate::{
    Result,
    dict::{Change, Expected, New},
};
use redis::{RedisResult, cmd};
use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

/// What the script is told of each change, after its key: where, field, expected (kind, bytes), new (kind, bytes),
/// drop after.
const ARGUMENTS: usize = 7;

/// Compares everything before it changes anything, and sets before it removes: a server without memory refuses the
/// first value that is set, and then nothing is changed.
///
/// It is sent each time: to know its digest instead would save a KiB on the way, and cost another when it is forgotten.
static SCRIPT: LazyLock<String> = LazyLock::new(|| {
    format!(
        r"
local function holds(key, at)
    local kind, want = ARGV[at + 3], ARGV[at + 4]
    local have
    if kind == '*' then
        return true
    elseif ARGV[at + 1] == 'h' then
        have = redis.call('HGET', key, ARGV[at + 2])
    elseif kind == '=' then
        have = redis.call('GET', key)
    elseif redis.call('EXISTS', key) == 0 then
        have = false
    elseif kind == '^' and #want > 0 then
        have = redis.call('GETRANGE', key, 0, #want - 1)
    else
        have = ''
    end
    if kind == '-' then return have == false end
    if have == false then return false end
    if kind == '^' then have = string.sub(have, 1, #want) end
    return have == want
end
for i = 1, #KEYS do
    if not holds(KEYS[i], (i - 1) * {ARGUMENTS}) then return 0 end
end
for i = 1, #KEYS do
    local at = (i - 1) * {ARGUMENTS}
    if ARGV[at + 5] == 'p' then
        if ARGV[at + 1] == 'h' then
            redis.call('HSET', KEYS[i], ARGV[at + 2], ARGV[at + 6])
        else
            redis.call('SET', KEYS[i], ARGV[at + 6])
            if ARGV[at + 7] ~= '' then redis.call('PEXPIREAT', KEYS[i], ARGV[at + 7]) end
        end
    end
end
for i = 1, #KEYS do
    local at = (i - 1) * {ARGUMENTS}
    if ARGV[at + 5] == 'r' then
        if ARGV[at + 1] == 'h' then
            redis.call('HDEL', KEYS[i], ARGV[at + 2])
        else
            redis.call('DEL', KEYS[i])
        end
    end
end
return 1
"
    )
});

/// Where the value of a change is.
pub(super) enum Place<'a> {
    /// In a field of the hash under this key.
    Hash(&'a [u8]),
    /// In the string under the key, which begins with this.
    String(&'a [u8]),
}

/// Applies changes of several places as one script.
pub(super) fn apply(connections: &RedisConnections, parts: &[(Place<'_>, &[Change<'_>])]) -> Result<bool> {
    if parts.iter().all(|(_, changes)| changes.is_empty()) {
        return Ok(true);
    }
    connections.run(|lent| invoke(lent, parts))
}

fn invoke(lent: &mut Lent<'_>, parts: &[(Place<'_>, &[Change<'_>])]) -> RedisResult<bool> {
    let (mut keys, mut arguments) = (Vec::new(), Vec::new());
    for (place, changes) in parts {
        // The script sets before it removes: of several changes to a key the last counts.
        let effective = changes.iter().enumerate().filter(|(_, change)| change.new != New::Keep);
        let last: HashMap<&[u8], usize> = effective.map(|(at, change)| (change.key, at)).collect();
        for (at, change) in changes.iter().enumerate() {
            let counts = last.get(change.key) == Some(&at);
            if !counts && change.expected == Expected::Any {
                continue;
            }
            match place {
                Place::Hash(key) => {
                    keys.push(Cow::Borrowed(*key));
                    arguments.extend([Cow::Borrowed(&b"h"[..]), change.key.into()]);
                }
                Place::String(prefix) => {
                    keys.push(Cow::Owned([prefix, change.key].concat()));
                    arguments.extend([Cow::Borrowed(&b"s"[..]), Cow::Borrowed(&b""[..])]);
                }
            }
            let (kind, expected): (&[u8], &[u8]) = match change.expected {
                Expected::Any => (b"*", b""),
                Expected::Absent => (b"-", b""),
                Expected::Value(value) => (b"=", value),
                Expected::Prefix(prefix) => (b"^", prefix),
            };
            let (new, value, until): (&[u8], &[u8], _) = match change.new {
                New::Put { value, drop_after_ms: i64::MAX } if counts => (b"p", value, String::new()),
                New::Put { value, drop_after_ms } if counts => (b"p", value, drop_after_ms.max(1).to_string()),
                New::Remove if counts => (b"r", b"", String::new()),
                _ => (b"k", b"", String::new()),
            };
            arguments.extend([kind, expected, new, value].map(Cow::Borrowed));
            arguments.push(Cow::Owned(until.into_bytes()));
        }
    }
    let mut eval = cmd("EVAL");
    eval.arg(&*SCRIPT).arg(keys.len());
    for argument in keys.iter().chain(&arguments) {
        eval.arg(&**argument);
    }
    eval.query::<i64>(lent.link()).map(|done| done == 1)
}
