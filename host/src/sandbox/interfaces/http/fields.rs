//! `fields`: header names and values. Values that a guest hands over under a sensitive name are recorded by digest and length alone.

use wasmtime::Result;
use wasmtime_wasi_http::p2::HeaderResult;
use wasmtime_wasi_http::p2::bindings::http::types::HostFields;

use super::Fields;
use crate::sandbox::ctx::{Live, SkillCtx};
use crate::sandbox::table::gated;
use crate::sandbox::wire::{Encode, Encoder};
use crate::trace::redact::is_sensitive;

/// A value under the name of its field.
struct Field<'a>(&'a str, &'a Vec<u8>);

impl Encode for Field<'_> {
    fn encode(&self, to: &mut Encoder<'_>) {
        if !is_sensitive(self.0) {
            return self.1.encode(to);
        }
        to.payload_bytes = to.payload_bytes.saturating_add(self.1.len());
        to.digest(self.1);
    }
}

/// The values of one field.
struct Values<'a>(&'a str, &'a [Vec<u8>]);

impl Encode for Values<'_> {
    fn encode(&self, to: &mut Encoder<'_>) {
        to.raw(b"[");
        for (index, value) in self.1.iter().enumerate() {
            to.raw(if index > 0 { b"," } else { b"" });
            Field(self.0, value).encode(to);
        }
        to.raw(b"]");
    }
}

/// Names with values.
struct Entries<'a>(&'a [(String, Vec<u8>)]);

impl Encode for Entries<'_> {
    fn encode(&self, to: &mut Encoder<'_>) {
        to.raw(b"[");
        for (index, (name, value)) in self.0.iter().enumerate() {
            to.raw(if index > 0 { b",[" } else { b"[" });
            name.encode(to);
            to.raw(b",");
            Field(name, value).encode(to);
            to.raw(b"]");
        }
        to.raw(b"]");
    }
}

impl Live {
    fn new_fields(&mut self) -> Result<Fields> {
        let fields = HostFields::new(&mut self.http())?;
        self.http.count(fields.rep())?;
        Ok(fields)
    }

    fn fields_from_list(&mut self, entries: Vec<(String, Vec<u8>)>) -> HeaderResult<Fields> {
        let fields = HostFields::from_list(&mut self.http(), entries)?;
        self.http.count(fields.rep()).map_err(wasmtime_wasi_http::p2::HeaderError::trap)?;
        Ok(fields)
    }

    fn clone_fields(&mut self, fields: Fields) -> Result<Fields> {
        let copy = HostFields::clone(&mut self.http(), fields)?;
        self.http.count(copy.rep())?;
        Ok(copy)
    }

    fn drop_fields(&mut self, fields: Fields) -> Result<()> {
        self.http.made.remove(&fields.rep());
        HostFields::drop(&mut self.http(), fields)
    }
}

// Not a table: how some arguments are recorded depends on others.
impl HostFields for SkillCtx {
    fn new(&mut self) -> Result<Fields> {
        gated!(self, "wasi:http/types#[constructor]fields", [], |live| live.new_fields())
    }

    fn from_list(&mut self, entries: Vec<(String, Vec<u8>)>) -> HeaderResult<Fields> {
        let shown = Entries(&entries);
        gated!(self, "wasi:http/types#[static]fields.from-list", [shown "entries"], |live| {
            live.fields_from_list(entries)
        })
    }

    fn get(&mut self, this: Fields, name: String) -> Result<Vec<Vec<u8>>> {
        gated!(self, "wasi:http/types#[method]fields.get", [this "self", name "name"], |live| {
            HostFields::get(&mut live.http(), this, name)
        })
    }

    fn has(&mut self, this: Fields, name: String) -> Result<bool> {
        gated!(self, "wasi:http/types#[method]fields.has", [this "self", name "name"], |live| {
            HostFields::has(&mut live.http(), this, name)
        })
    }

    fn set(&mut self, this: Fields, name: String, values: Vec<Vec<u8>>) -> HeaderResult<()> {
        let shown = Values(&name, &values);
        gated!(self, "wasi:http/types#[method]fields.set", [this "self", name "name", shown "value"], |live| {
            HostFields::set(&mut live.http(), this, name, values)
        })
    }

    fn delete(&mut self, this: Fields, name: String) -> HeaderResult<()> {
        gated!(self, "wasi:http/types#[method]fields.delete", [this "self", name "name"], |live| {
            HostFields::delete(&mut live.http(), this, name)
        })
    }

    fn append(&mut self, this: Fields, name: String, value: Vec<u8>) -> HeaderResult<()> {
        let shown = Field(&name, &value);
        gated!(self, "wasi:http/types#[method]fields.append", [this "self", name "name", shown "value"], |live| {
            HostFields::append(&mut live.http(), this, name, value)
        })
    }

    fn entries(&mut self, this: Fields) -> Result<Vec<(String, Vec<u8>)>> {
        gated!(self, "wasi:http/types#[method]fields.entries", [this "self"], |live| {
            HostFields::entries(&mut live.http(), this)
        })
    }

    fn clone(&mut self, this: Fields) -> Result<Fields> {
        gated!(self, "wasi:http/types#[method]fields.clone", [this "self"], |live| live.clone_fields(this))
    }

    fn drop(&mut self, this: Fields) -> Result<()> {
        gated!(self, "wasi:http/types#[resource-drop]fields", [this "self"], |live| live.drop_fields(this))
    }
}
