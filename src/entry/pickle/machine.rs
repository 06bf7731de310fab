//! Carries out a pickle: a stack, a memo, and nothing else.

use super::{
    Refused,
    opcode::{self as op, forbidden},
    values::{Node, Values},
};

/// Values in one pickle. A response of requests-cache takes some hundred.
const NODES_MAX: usize = 1 << 20;

/// Places in the memo.
const MEMO_MAX: usize = 1 << 20;

pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node<'a>>,
    stack: Vec<usize>,
    /// Where the stack was at each mark.
    marks: Vec<usize>,
    memo: Vec<Option<usize>>,
}

impl<'a> Machine<'a> {
    pub(super) fn run(bytes: &'a [u8]) -> Result<Values<'a>, Refused> {
        let (nodes, stack, marks, memo) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut machine = Self { bytes, at: 0, nodes, stack, marks, memo };
        loop {
            let opcode = machine.take::<1>()?[0];
            if opcode == op::STOP {
                let root = machine.pop()?;
                return Ok(Values { nodes: machine.nodes, root });
            }
            machine.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), Refused> {
        match opcode {
            op::PROTO => {
                let [version] = self.take()?;
                if !(2..=5).contains(&version) {
                    return Err(self.refuse(&format!("it is of protocol {version}, and 2 to 5 are known")));
                }
            }
            // How much a reader may read at once; all of it is here already.
            op::FRAME => drop(self.take::<8>()?),
            op::MARK => self.marks.push(self.stack.len()),
            op::POP => {
                // At a mark it is the mark that goes.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            op::POP_MARK => drop(self.pop_mark()?),
            op::DUP => {
                let top = self.top()?;
                self.stack.push(top);
            }
            op::NONE => self.push(Node::None)?,
            op::NEWTRUE => self.push(Node::Bool(true))?,
            op::NEWFALSE => self.push(Node::Bool(false))?,
            op::BINFLOAT => {
                let value = f64::from_be_bytes(self.take()?);
                self.push(Node::Float(value))?;
            }
            op::BININT | op::BININT1 | op::BININT2 | op::LONG1 => self.integer(opcode)?,
            op::SHORT_BINUNICODE | op::BINUNICODE | op::BINUNICODE8 => {
                let bytes = self.counted(opcode)?;
                let text = std::str::from_utf8(bytes).map_err(|_| self.refuse("a text in it is not UTF-8"))?;
                self.push(Node::Text(text))?;
            }
            op::SHORT_BINBYTES | op::BINBYTES | op::BINBYTES8 | op::BYTEARRAY8 => {
                let bytes = self.counted(opcode)?;
                self.push(Node::Bytes(bytes))?;
            }
            op::EMPTY_TUPLE | op::TUPLE | op::TUPLE1 | op::TUPLE2 | op::TUPLE3 => self.tuple(opcode)?,
            op::EMPTY_LIST => self.push(Node::List(Vec::new()))?,
            op::EMPTY_DICT => self.push(Node::Dict(Vec::new()))?,
            op::APPEND | op::APPENDS => self.append(opcode)?,
            op::SETITEM | op::SETITEMS => self.set(opcode)?,
            op::MEMOIZE | op::BINPUT | op::LONG_BINPUT => self.memoize(opcode)?,
            op::BINGET | op::LONG_BINGET => self.get(opcode)?,
            _ => return Err(self.unknown(opcode)),
        }
        Ok(())
    }

    fn integer(&mut self, opcode: u8) -> Result<(), Refused> {
        let value = match opcode {
            op::BININT => i64::from(i32::from_le_bytes(self.take()?)),
            op::BININT1 => i64::from(self.take::<1>()?[0]),
            op::BININT2 => i64::from(u16::from_le_bytes(self.take()?)),
            _ => {
                let len = usize::from(self.take::<1>()?[0]);
                let digits = self.slice(len)?;
                if len > 8 {
                    return Err(self.refuse("a number in it is larger than 64 bits"));
                }
                let negative = digits.last().is_some_and(|byte| byte & 0x80 != 0);
                let mut bytes = if negative { [0xFF; 8] } else { [0; 8] };
                bytes[..len].copy_from_slice(digits);
                i64::from_le_bytes(bytes)
            }
        };
        self.push(Node::Int(value))
    }

    /// The bytes behind a length of 1, 4 or 8 bytes.
    fn counted(&mut self, opcode: u8) -> Result<&'a [u8], Refused> {
        let len = match opcode {
            op::SHORT_BINUNICODE | op::SHORT_BINBYTES => u64::from(self.take::<1>()?[0]),
            op::BINUNICODE | op::BINBYTES => u64::from(u32::from_le_bytes(self.take()?)),
            _ => u64::from_le_bytes(self.take()?),
        };
        self.slice(usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn tuple(&mut self, opcode: u8) -> Result<(), Refused> {
        let items = match opcode {
            op::EMPTY_TUPLE => Vec::new(),
            op::TUPLE => self.pop_mark()?,
            _ => {
                let mut items = Vec::new();
                for _ in 0..=opcode - op::TUPLE1 {
                    items.insert(0, self.pop()?);
                }
                items
            }
        };
        self.push(Node::Tuple(items))
    }

    fn append(&mut self, opcode: u8) -> Result<(), Refused> {
        let items = if opcode == op::APPEND { vec![self.pop()?] } else { self.pop_mark()? };
        let top = self.top()?;
        match self.nodes.get_mut(top) {
            Some(Node::List(list)) => list.extend(items),
            _ => return Err(self.refuse("it appends to what is no list")),
        }
        Ok(())
    }

    fn set(&mut self, opcode: u8) -> Result<(), Refused> {
        let items = if opcode == op::SETITEM {
            let value = self.pop()?;
            vec![self.pop()?, value]
        } else {
            self.pop_mark()?
        };
        let pairs = items.chunks_exact(2);
        if !pairs.remainder().is_empty() {
            return Err(self.refuse("it sets a name without a value"));
        }
        let pairs: Vec<_> = pairs.map(|pair| (pair[0], pair[1])).collect();
        let top = self.top()?;
        match self.nodes.get_mut(top) {
            Some(Node::Dict(dict)) => dict.extend(pairs),
            _ => return Err(self.refuse("it sets a member of what is no dict")),
        }
        Ok(())
    }

    fn memoize(&mut self, opcode: u8) -> Result<(), Refused> {
        let place = match opcode {
            op::MEMOIZE => self.memo.len(),
            op::BINPUT => usize::from(self.take::<1>()?[0]),
            _ => usize::try_from(u32::from_le_bytes(self.take()?)).unwrap_or(usize::MAX),
        };
        if place >= MEMO_MAX || place > self.bytes.len() {
            return Err(self.refuse("it remembers more than a response has"));
        }
        if place >= self.memo.len() {
            self.memo.resize(place + 1, None);
        }
        self.memo[place] = Some(self.top()?);
        Ok(())
    }

    fn get(&mut self, opcode: u8) -> Result<(), Refused> {
        let place = match opcode {
            op::BINGET => usize::from(self.take::<1>()?[0]),
            _ => usize::try_from(u32::from_le_bytes(self.take()?)).unwrap_or(usize::MAX),
        };
        match self.memo.get(place).copied().flatten() {
            Some(at) => self.stack.push(at),
            None => return Err(self.refuse("it recalls what it did not remember")),
        }
        Ok(())
    }

    fn push(&mut self, node: Node<'a>) -> Result<(), Refused> {
        if self.nodes.len() >= NODES_MAX {
            return Err(self.refuse("it has more values than a response has"));
        }
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
        Ok(())
    }

    /// The value on top, which must be above the last mark.
    fn top(&self) -> Result<usize, Refused> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(top) if self.stack.len() > floor => Ok(*top),
            _ => Err(self.refuse("its stack is empty")),
        }
    }

    fn pop(&mut self) -> Result<usize, Refused> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_mark(&mut self) -> Result<Vec<usize>, Refused> {
        let mark = self.marks.pop().ok_or_else(|| self.refuse("it has no mark"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let slice = self.slice(N)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(slice);
        Ok(bytes)
    }

    fn slice(&mut self, len: usize) -> Result<&'a [u8], Refused> {
        let end = self.at.checked_add(len);
        let slice = end.and_then(|end| self.bytes.get(self.at..end)).ok_or_else(|| self.refuse("it is cut off"))?;
        self.at += len;
        Ok(slice)
    }

    fn unknown(&self, opcode: u8) -> Refused {
        match forbidden(opcode) {
            Some(name) => self.refuse(&format!("it wants to run code ({name}), and only plain values are read")),
            None => self.refuse(&format!("it has an opcode that plain values do not need ({opcode:#04x})")),
        }
    }

    fn refuse(&self, why: &str) -> Refused {
        Refused { offset: self.at, why: why.to_owned() }
    }
}
