//! `wasi:random`: bytes from the plan's seed by default, so that a run can be repeated; the machine's where a policy grants it.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;
use sha2::{Digest as _, Sha256};
use wasmtime::Result;
use wasmtime::component::Linker;
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};

use super::Own;
use crate::limits::{self, LimitKind};
use crate::sandbox::ctx::{Live, SkillCtx};
use crate::sandbox::stop::LimitHit;
use crate::sandbox::table::table;

pub(super) fn add_to_linker(linker: &mut Linker<SkillCtx>) -> Result<()> {
    random::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    insecure::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    insecure_seed::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)
}

/// The three streams of bytes that WASI has, so that drawing from one does not change what another gives.
#[derive(Debug)]
pub(crate) struct GuestRandom {
    source: Source,
    /// Made when the guest asks first: most guests never do.
    streams: Option<Streams>,
}

/// Where the streams start.
#[derive(Debug)]
enum Source {
    Seeded { seed: u64, step: String, attempt: u32 },
    Real,
}

#[derive(Debug)]
struct Streams {
    secure: ChaCha20Rng,
    insecure: ChaCha20Rng,
    /// One pair for a whole step: the interface is there to be asked once, and whoever asks again is to be told the same.
    seed: (u64, u64),
}

impl GuestRandom {
    /// Streams that depend on the plan's seed, the step's id and the attempt alone.
    pub(crate) fn seeded(seed: u64, step: &str, attempt: u32) -> Self {
        Self { source: Source::Seeded { seed, step: step.to_owned(), attempt }, streams: None }
    }

    /// Streams that start from the machine's entropy.
    pub(crate) const fn real() -> Self {
        Self { source: Source::Real, streams: None }
    }

    fn streams(&mut self) -> Result<&mut Streams> {
        let streams = match self.streams.take() {
            Some(streams) => streams,
            None => match &self.source {
                Source::Seeded { seed, step, attempt } => {
                    Streams::new(&[&seed.to_le_bytes(), step.as_bytes(), &attempt.to_le_bytes()])
                }
                Source::Real => Streams::new(&[b"real", &crate::clock::entropy()?, &crate::clock::entropy()?]),
            },
        };
        Ok(self.streams.insert(streams))
    }
}

impl Streams {
    fn new(material: &[&[u8]]) -> Self {
        let stream = |label: &[u8]| {
            let mut hash = Sha256::new();
            for part in [b"skillhost random 1".as_slice(), label].into_iter().chain(material.iter().copied()) {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
            ChaCha20Rng::from_seed(hash.finalize().into())
        };
        let mut seed = stream(b"insecure-seed");
        Self { secure: stream(b"random"), insecure: stream(b"insecure"), seed: (seed.next_u64(), seed.next_u64()) }
    }
}

fn draw(from: &mut ChaCha20Rng, len: u64) -> Result<Vec<u8>> {
    if len > limits::RANDOM_BYTES_MAX {
        return Err(LimitHit::new(LimitKind::Random, limits::RANDOM_BYTES_MAX).into());
    }
    let mut bytes = vec![0; usize::try_from(len)?];
    from.fill_bytes(&mut bytes);
    Ok(bytes)
}

impl Live {
    fn random_bytes(&mut self, len: u64) -> Result<Vec<u8>> {
        draw(&mut self.random.streams()?.secure, len)
    }

    fn random_u64(&mut self) -> Result<u64> {
        Ok(self.random.streams()?.secure.next_u64())
    }

    fn insecure_bytes(&mut self, len: u64) -> Result<Vec<u8>> {
        draw(&mut self.random.streams()?.insecure, len)
    }

    fn insecure_u64(&mut self) -> Result<u64> {
        Ok(self.random.streams()?.insecure.next_u64())
    }

    fn insecure_seed(&mut self) -> Result<(u64, u64)> {
        Ok(self.random.streams()?.seed)
    }
}

table! { impl random::Host as "wasi:random/random#" via |live| live.random;
    ours(random_bytes) fn get_random_bytes = "get-random-bytes"(len "len": u64) -> Result<Vec<u8>>;
    ours(random_u64) fn get_random_u64 = "get-random-u64"() -> Result<u64>;
}

table! { impl insecure::Host as "wasi:random/insecure#" via |live| live.random;
    ours(insecure_bytes) fn get_insecure_random_bytes = "get-insecure-random-bytes"(len "len": u64) -> Result<Vec<u8>>;
    ours(insecure_u64) fn get_insecure_random_u64 = "get-insecure-random-u64"() -> Result<u64>;
}

table! { impl insecure_seed::Host as "wasi:random/insecure-seed#" via |live| live.random;
    ours(insecure_seed) fn insecure_seed = "insecure-seed"() -> Result<(u64, u64)>;
}
