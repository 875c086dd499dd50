//! Rules about the sources that no compiler checks. Reads files, runs nothing.

mod documents;
mod files;
mod layers;
mod terminal;
mod versions;
