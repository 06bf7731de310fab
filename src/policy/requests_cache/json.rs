//! What Python's `json.dumps(json.loads(text))` makes of a text, with the root sorted and filtered as requests-cache
//! does it.

use super::{KeyRules, REDACTED};
use std::{cmp::Ordering, fmt::Write};

/// Deeper documents count as bytes; the recursion stays far from the end of the stack.
const DEPTH_MAX: u32 = 128;

/// A value as Python has it: integers of any length, strings of code points, surrogates included.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Null,
    Bool(bool),
    /// In decimal, without leading zeros.
    Int(String),
    Float(f64),
    Text(Vec<u32>),
    List(Vec<Value>),
    /// In the order of first appearance; a later value of the same name replaces the earlier.
    Dict(Vec<(Vec<u32>, Value)>),
}

/// The normal form; `None` where Python gives up, which then takes the body as it is.
pub(super) fn normal(text: &str, rules: &KeyRules) -> Option<String> {
    let mut reader = Reader { rest: text };
    reader.space();
    let value = reader.value(DEPTH_MAX)?;
    reader.space();
    if !reader.rest.is_empty() {
        return None;
    }
    let is_ignored = |name: &[u32]| rules.ignored.iter().any(|ignored| points(ignored) == name);
    let value = match value {
        Value::Dict(mut members) => {
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            for (name, value) in &mut members {
                if is_ignored(name) {
                    *value = Value::Text(points(REDACTED));
                }
            }
            Value::Dict(members)
        }
        Value::List(items) => Value::List(sorted(items, rules)?),
        // Python sorts the characters of a text.
        Value::Text(text) => {
            let items = text.into_iter().map(|point| Value::Text(vec![point])).collect();
            Value::List(sorted(items, rules)?)
        }
        _ => return None,
    };
    let mut out = String::new();
    write(&mut out, &value);
    Some(out)
}

/// `None` if Python cannot compare two of them, or cannot look one up among the ignored names.
///
/// Lists of lists count as what Python cannot compare: it can, but then fails at the ignored names unless there are
/// none.
fn sorted(mut items: Vec<Value>, rules: &KeyRules) -> Option<Vec<Value>> {
    if items.iter().any(|item| matches!(item, Value::List(_) | Value::Dict(_))) {
        return (items.len() < 2 && rules.ignored.is_empty()).then_some(items);
    }
    if items.len() > 1 {
        sort(&mut items)?;
    }
    let ignored: Vec<_> = rules.ignored.iter().map(|name| Value::Text(points(name))).collect();
    items.retain(|item| !ignored.contains(item));
    Some(items)
}

fn sort(items: &mut [Value]) -> Option<()> {
    if items.iter().all(|item| matches!(item, Value::Text(_))) {
        items.sort_by(|a, b| text(a).cmp(text(b)));
    } else if items.iter().all(|item| matches!(item, Value::Int(_))) {
        items.sort_by(compare_integers);
    } else if items.iter().all(|item| number(item).is_some_and(|number| !number.is_nan())) {
        items.sort_by(|a, b| number(a).partial_cmp(&number(b)).unwrap_or(Ordering::Equal));
    } else {
        return None;
    }
    Some(())
}

fn text(value: &Value) -> &[u32] {
    if let Value::Text(text) = value { text } else { &[] }
}

/// A truth value counts as 0 or 1.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        Value::Int(digits) => digits.parse().ok(),
        Value::Float(value) => Some(*value),
        _ => None,
    }
}

fn compare_integers(a: &Value, b: &Value) -> Ordering {
    let digits = |value: &Value| if let Value::Int(digits) = value { digits.clone() } else { String::new() };
    let (a, b) = (digits(a), digits(b));
    match (a.strip_prefix('-'), b.strip_prefix('-')) {
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (None, None) => (a.len(), &a[..]).cmp(&(b.len(), &b[..])),
        (Some(a), Some(b)) => (b.len(), b).cmp(&(a.len(), a)),
    }
}

fn points(text: &str) -> Vec<u32> {
    text.chars().map(u32::from).collect()
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn eat(&mut self, text: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    fn value(&mut self, depth: u32) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        match self.rest.as_bytes().first()? {
            b'{' => self.dict(depth),
            b'[' => self.list(depth),
            b'"' => self.text().map(Value::Text),
            _ => self.word(),
        }
    }

    fn dict(&mut self, depth: u32) -> Option<Value> {
        self.eat("{")?;
        let mut members: Vec<(Vec<u32>, Value)> = Vec::new();
        self.space();
        if self.eat("}").is_some() {
            return Some(Value::Dict(members));
        }
        let mut at = std::collections::HashMap::new();
        loop {
            let name = self.text()?;
            self.space();
            self.eat(":")?;
            self.space();
            let value = self.value(depth)?;
            let known: Option<usize> = at.get(&name).copied();
            if let Some(old) = known {
                members.get_mut(old)?.1 = value;
            } else {
                at.insert(name.clone(), members.len());
                members.push((name, value));
            }
            self.space();
            if self.eat("}").is_some() {
                return Some(Value::Dict(members));
            }
            self.eat(",")?;
            self.space();
        }
    }

    fn list(&mut self, depth: u32) -> Option<Value> {
        self.eat("[")?;
        let mut items = Vec::new();
        self.space();
        if self.eat("]").is_some() {
            return Some(Value::List(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.space();
            if self.eat("]").is_some() {
                return Some(Value::List(items));
            }
            self.eat(",")?;
            self.space();
        }
    }

    fn text(&mut self) -> Option<Vec<u32>> {
        self.eat("\"")?;
        let mut out = Vec::new();
        loop {
            let c = self.rest.chars().next()?;
            self.rest = &self.rest[c.len_utf8()..];
            match c {
                '"' => return Some(out),
                '\\' => {
                    let point = self.escaped()?;
                    let pair = out.last().copied().filter(|high| (0xD800..0xDC00).contains(high));
                    match pair {
                        // Only what was escaped can be a surrogate, so that the one before was escaped as well.
                        Some(high) if (0xDC00..0xE000).contains(&point) => {
                            out.pop();
                            out.push(0x1_0000 + ((high - 0xD800) << 10) + (point - 0xDC00));
                        }
                        _ => out.push(point),
                    }
                }
                c if u32::from(c) < 0x20 => return None,
                c => out.push(u32::from(c)),
            }
        }
    }

    fn escaped(&mut self) -> Option<u32> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(u32::from(match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let digits = self.rest.get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
                self.rest = &self.rest[4..];
                return u32::from_str_radix(digits, 16).ok();
            }
            _ => return None,
        }))
    }

    /// A number or one of the words, those of JavaScript included that Python reads.
    fn word(&mut self) -> Option<Value> {
        for (word, value) in [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("NaN", Value::Float(f64::NAN)),
            ("Infinity", Value::Float(f64::INFINITY)),
            ("-Infinity", Value::Float(f64::NEG_INFINITY)),
        ] {
            if self.eat(word).is_some() {
                return Some(value);
            }
        }
        let text = self.rest;
        let digits = |text: &'a str| text.bytes().take_while(u8::is_ascii_digit).count();
        let sign = usize::from(text.starts_with('-'));
        let whole = match digits(&text[sign..]) {
            0 => return None,
            // A number begins with 0 only if that is all of it.
            _ if text[sign..].starts_with('0') => 1,
            count => count,
        };
        let integer = sign + whole;
        let mut end = integer;
        if let Some(fraction) = text[end..].strip_prefix('.').map(digits).filter(|count| *count > 0) {
            end += 1 + fraction;
        }
        if let Some(exponent) = text[end..].strip_prefix(['e', 'E']) {
            let sign = usize::from(exponent.starts_with(['+', '-']));
            if digits(&exponent[sign..]) > 0 {
                end += 1 + sign + digits(&exponent[sign..]);
            }
        }
        self.rest = &text[end..];
        if end > integer {
            return text[..end].parse().ok().map(Value::Float);
        }
        let zero = &text[..end] == "-0";
        // Python refuses longer ones, so as not to spend its time on them.
        (whole <= 4300).then(|| Value::Int(if zero { "0" } else { &text[..end] }.to_owned()))
    }
}

fn write(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Int(digits) => out.push_str(digits),
        Value::Float(value) => write_float(out, *value),
        Value::Text(text) => write_text(out, text),
        Value::List(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                out.push_str(if n == 0 { "" } else { ", " });
                write(out, item);
            }
            out.push(']');
        }
        Value::Dict(members) => {
            out.push('{');
            for (n, (name, value)) in members.iter().enumerate() {
                out.push_str(if n == 0 { "" } else { ", " });
                write_text(out, name);
                out.push_str(": ");
                write(out, value);
            }
            out.push('}');
        }
    }
}

/// In ASCII, everything else escaped.
fn write_text(out: &mut String, text: &[u32]) {
    out.push('"');
    for &point in text {
        match char::from_u32(point) {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some('\u{8}') => out.push_str("\\b"),
            Some('\u{c}') => out.push_str("\\f"),
            Some(c @ ' '..='~') => out.push(c),
            Some(c) => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    // Writing to a String does not fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            None => {
                let _ = write!(out, "\\u{point:04x}");
            }
        }
    }
    out.push('"');
}

/// As `repr` does: the shortest digits, with an exponent below 1e-4 and from 1e16 on.
fn write_float(out: &mut String, value: f64) {
    if value.is_nan() {
        return out.push_str("NaN");
    }
    if value.is_infinite() {
        return out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    let scientific = format!("{value:e}");
    let exponent = scientific.split_once('e').and_then(|(_, exponent)| exponent.parse::<i32>().ok()).unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let _ = write!(out, "{value:?}");
    } else if let Some((digits, _)) = scientific.split_once('e') {
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "{digits}e{sign}{:02}", exponent.unsigned_abs());
    }
}
