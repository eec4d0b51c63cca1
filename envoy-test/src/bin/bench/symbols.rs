//! The names of a module's functions, by the addresses at which V8 has compiled them.
//!
//! Envoy cannot be made to write V8's perf map. But V8 begins the code of a module with a table that has a jump to each
//! function, in the order of the module, so that the addresses can be read from the memory of the process.

use std::{
    fmt::Write,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
};

use wasmparser::{BinaryReaderError, KnownCustom, Name, Parser, Payload, TypeRef};

#[cfg(test)]
mod tests;

/// The distance between the entries of the table in bytes.
const SLOT_BYTES: usize = 8;
/// The instruction of an entry, a jump by a signed distance of four bytes after it (x86-64).
const JUMP: u8 = 0xe9;
const JUMP_BYTES: usize = 5;
/// More memory than the code of a module takes. V8 reserves more for other purposes.
const MAX_CODE_BYTES: u64 = 256 * 1024 * 1024;
/// The size of the last function, which nothing follows.
const LAST_BYTES: u64 = 4096;
/// What the names of the map begin with.
pub(crate) const PREFIX: &str = "wasm:";

/// Why functions have no names.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SymbolsError {
    #[error("the module: {0}")]
    Module(#[from] BinaryReaderError),
    #[error("the memory of Envoy: {0}")]
    Memory(#[from] io::Error),
    #[error(
        "no table with {functions} functions in the memory of Envoy: another V8, or not x86-64"
    )]
    NoTable { functions: usize },
}

/// The functions of a module that are compiled, in its order.
#[derive(Debug, Default)]
pub(crate) struct Functions {
    names: Vec<String>,
}

// === impl Functions ===

impl Functions {
    /// Reads the names of a module; a function without one has its index.
    pub(crate) fn read(module: &[u8]) -> Result<Self, SymbolsError> {
        let mut imported = 0;
        let mut names = Vec::new();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        imported += usize::from(matches!(import?.ty, TypeRef::Func(_)));
                    }
                }
                Payload::FunctionSection(functions) => {
                    names = (0..functions.count())
                        .map(|index| index.to_string())
                        .collect();
                }
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(subsections) = section.as_known() {
                        for subsection in subsections {
                            if let Name::Function(map) = subsection? {
                                for naming in map {
                                    let naming = naming?;
                                    let index = (naming.index as usize).checked_sub(imported);
                                    if let Some(name) = index.and_then(|it| names.get_mut(it)) {
                                        *name = demangled(naming.name);
                                    }
                                }
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(Self { names })
    }

    /// Writes the map that perf reads for a process, with the functions that this Envoy has compiled.
    pub(crate) fn write_map(&self, pid: u32) -> Result<PathBuf, SymbolsError> {
        let mut addresses = self.addresses(pid)?;
        addresses.sort_unstable();
        let ends = addresses.iter().skip(1).map(|(address, _)| Some(*address));
        let mut map = String::new();
        for ((address, name), end) in addresses.iter().zip(ends.chain([None])) {
            let size = end.map_or(LAST_BYTES, |end| end.saturating_sub(*address));
            let _ = writeln!(map, "{address:x} {size:x} {PREFIX}{name}");
        }
        let path = PathBuf::from(format!("/tmp/perf-{pid}.map"));
        fs::write(&path, map)?;
        Ok(path)
    }

    /// Finds the table in the memory of a process.
    fn addresses(&self, pid: u32) -> Result<Vec<(u64, &str)>, SymbolsError> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let mut memory = File::open(format!("/proc/{pid}/mem"))?;
        for (start, end) in maps.lines().filter_map(code) {
            if end.saturating_sub(start) > MAX_CODE_BYTES {
                continue;
            }
            let mut table = vec![0; self.names.len().saturating_mul(SLOT_BYTES)];
            memory.seek(SeekFrom::Start(start))?;
            if memory.read_exact(&mut table).is_ok()
                && let Some(targets) = targets(&table, start)
            {
                return Ok(targets
                    .into_iter()
                    .zip(self.names.iter().map(String::as_str))
                    .collect());
            }
        }
        Err(SymbolsError::NoTable {
            functions: self.names.len(),
        })
    }
}

/// Returns the range of a line of `/proc/PID/maps` that is code which belongs to no file.
fn code(line: &str) -> Option<(u64, u64)> {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let is_code = fields.next()?.contains('x');
    let has_file = fields.nth(3).is_some();
    let parse = |text| u64::from_str_radix(text, 16).ok();
    (is_code && !has_file).then_some((parse(start)?, parse(end)?))
}

/// Returns where the jumps of a table at this address lead; `None` if it has anything else.
fn targets(table: &[u8], start: u64) -> Option<Vec<u64>> {
    let slots = table
        .chunks_exact(SLOT_BYTES)
        .zip((start..).step_by(SLOT_BYTES));
    slots
        .map(|(slot, address)| {
            let (jump, rest) = slot.split_first()?;
            let (distance, _) = rest.split_first_chunk()?;
            let next = address.checked_add(JUMP_BYTES as u64)?;
            let target = next.checked_add_signed(i32::from_le_bytes(*distance).into());
            target.filter(|_| *jump == JUMP)
        })
        .collect()
}

/// Returns a name as it is written in source, without its hash.
fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}
