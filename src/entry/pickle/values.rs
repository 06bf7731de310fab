//! What a pickle builds: values in one list, which name each other by their place in it.

use serde_json::{Map, Number, Value};

/// Values that one pickle may turn into when it is read out: shared values count each time they are met.
const JSON_NODES_MAX: usize = 1 << 20;

/// How deep what is read out may be.
const JSON_DEPTH_MAX: usize = 128;

#[derive(Debug, PartialEq)]
pub(super) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    List(Vec<usize>),
    Tuple(Vec<usize>),
    /// In the order in which they were set; of the same name the last counts.
    Dict(Vec<(usize, usize)>),
}

#[derive(Debug)]
pub(super) struct Values<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) root: usize,
}

impl<'a> Values<'a> {
    pub(super) fn node(&self, at: usize) -> &Node<'a> {
        self.nodes.get(at).unwrap_or(&Node::None)
    }

    /// The value of a name in a dict.
    pub(super) fn member(&self, at: usize, name: &str) -> Option<usize> {
        let Node::Dict(items) = self.node(at) else { return None };
        let found = items.iter().rev().find(|(key, _)| matches!(self.node(*key), Node::Text(text) if *text == name));
        found.map(|(_, value)| *value)
    }

    /// The value as JSON. `None` if it is not that, too deep or too large, or contains itself.
    pub(super) fn to_json(&self, at: usize) -> Option<Value> {
        let mut left = JSON_NODES_MAX;
        self.json(at, JSON_DEPTH_MAX, &mut left)
    }

    fn json(&self, at: usize, depth: usize, left: &mut usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        *left = left.checked_sub(1)?;
        Some(match self.node(at) {
            Node::None => Value::Null,
            Node::Bool(value) => Value::Bool(*value),
            Node::Int(value) => Value::from(*value),
            Node::Float(value) => Value::Number(Number::from_f64(*value)?),
            Node::Text(text) => {
                *left = left.checked_sub(text.len() / 64)?;
                Value::String((*text).to_owned())
            }
            Node::Bytes(_) => return None,
            Node::List(items) | Node::Tuple(items) => {
                items.iter().map(|item| self.json(*item, depth, left)).collect::<Option<Vec<_>>>()?.into()
            }
            Node::Dict(items) => {
                let mut map = Map::new();
                for (name, value) in items {
                    let Node::Text(name) = self.node(*name) else { return None };
                    *left = left.checked_sub(name.len() / 64)?;
                    map.insert((*name).to_owned(), self.json(*value, depth, left)?);
                }
                Value::Object(map)
            }
        })
    }
}
